// SPDX-License-Identifier: Apache-2.0

package fat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf16"
)

const (
	slotSize = 32
	free     = 0xe5 // first byte of a slot that is free
	end      = 0x00 // of the first slot behind all entries

	attrLabel     = 0x08
	attrDirectory = 0x10
	attrArchive   = 0x20
	attrLong      = 0x0f // a piece of a long name

	epochDate = 1<<5 | 1 // 1980-01-01, the first day that FAT knows
)

// directory is one that has been read whole.
type directory struct {
	first    uint32 // 0: the root directory of FAT12 or FAT16
	clusters []uint32
	slots    []byte
}

// entry is a file or a directory as its directory has it.
type entry struct {
	name    string // the long one where it has one
	short   [11]byte
	attr    byte
	cluster uint32
	size    uint32
	at      int // the slot of the short name
	from    int // the first slot of the long name, or at
}

func (e entry) is(name string) bool {
	return strings.EqualFold(e.name, name) || strings.EqualFold(shortName(e.short), name)
}

// load reads a directory.
func (f *FS) load(first uint32) (*directory, error) {
	d := &directory{first: first}
	if first == 0 && f.bits != 32 {
		d.slots = make([]byte, f.rootSize)
		if _, err := f.dev.ReadAt(d.slots, f.rootAt); err != nil {
			return nil, fmt.Errorf("reading the root directory: %w", err)
		}
	} else {
		if first == 0 {
			d.first = f.root
		}
		var err error
		if d.clusters, err = f.chain(d.first); err != nil {
			return nil, err
		}
		const most = 65536 * slotSize // a directory has no more entries (page 22)
		if int64(len(d.clusters))*f.cluster > most {
			return nil, fmt.Errorf("a directory of %d clusters", len(d.clusters))
		}
		d.slots = make([]byte, int64(len(d.clusters))*f.cluster)
		for i, c := range d.clusters {
			if _, err := f.dev.ReadAt(d.slots[int64(i)*f.cluster:][:f.cluster], f.offset(c)); err != nil {
				return nil, fmt.Errorf("reading a directory: %w", err)
			}
		}
	}
	// What is behind the end may be anything, and would come back as entries once there are more slots.
	for at := 0; at < len(d.slots); at += slotSize {
		if d.slots[at] == end {
			clear(d.slots[at:])
			break
		}
	}
	return d, nil
}

func (f *FS) store(d *directory) error {
	if len(d.clusters) == 0 {
		if _, err := f.dev.WriteAt(d.slots, f.rootAt); err != nil {
			return fmt.Errorf("writing the root directory: %w", err)
		}
		return nil
	}
	for i, c := range d.clusters {
		if _, err := f.dev.WriteAt(d.slots[int64(i)*f.cluster:][:f.cluster], f.offset(c)); err != nil {
			return fmt.Errorf("writing a directory: %w", err)
		}
	}
	return nil
}

// entries lists what a directory holds, without "." and "..", and the volume's label.
func (d *directory) entries() []entry {
	var (
		list []entry
		long []byte // of the name's pieces, which come in reverse
		from int
		sum  byte
	)
	for at := 0; at < len(d.slots); at += slotSize {
		s := d.slots[at:][:slotSize]
		switch {
		case s[0] == end:
			return list
		case s[0] == free:
			long = nil
			continue
		case s[11]&0x3f == attrLong:
			if s[0]&0x40 != 0 { // the name's last piece comes first
				long, from, sum = nil, at, s[13]
			}
			piece := append(append(append([]byte{}, s[1:11]...), s[14:26]...), s[28:32]...)
			long = append(piece, long...)
			continue
		}
		e := entry{short: [11]byte(s[:11]), attr: s[11], size: binary.LittleEndian.Uint32(s[28:]), at: at, from: at}
		e.cluster = uint32(binary.LittleEndian.Uint16(s[20:]))<<16 | uint32(binary.LittleEndian.Uint16(s[26:]))
		e.name = shortName(e.short)
		if s[12]&0x08 != 0 { // Windows NT: the base is lower case
			base, ext, _ := strings.Cut(e.name, ".")
			e.name = strings.TrimSuffix(strings.ToLower(base)+"."+ext, ".")
		}
		if s[12]&0x10 != 0 { // the extension is
			base, ext, _ := strings.Cut(e.name, ".")
			e.name = strings.TrimSuffix(base+"."+strings.ToLower(ext), ".")
		}
		if long != nil && sum == checksum(e.short) {
			e.name, e.from = longName(long), from
		}
		long = nil
		if e.name != "." && e.name != ".." {
			list = append(list, e)
		}
	}
	return list
}

func (d *directory) find(name string) (entry, bool) {
	for _, e := range d.entries() {
		if e.attr&attrLabel == 0 && e.is(name) {
			return e, true
		}
	}
	return entry{}, false
}

// shortName is how people write a name of 8 and 3 bytes.
func shortName(b [11]byte) string {
	if b[0] == 0x05 { // stands for 0xe5
		b[0] = 0xe5
	}
	base, ext := strings.TrimRight(string(b[:8]), " "), strings.TrimRight(string(b[8:]), " ")
	if ext == "" {
		return base
	}
	return base + "." + ext
}

func longName(utf []byte) string {
	var units []uint16
	for i := 0; i+1 < len(utf); i += 2 {
		u := binary.LittleEndian.Uint16(utf[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// checksum ties the pieces of a long name to the short one.
func checksum(short [11]byte) byte {
	sum := byte(0)
	for _, c := range short {
		sum = sum<<7 | sum>>1
		sum += c
	}
	return sum
}

// add makes an entry of that name and returns the offset of its short slot in d.slots.
func (f *FS) add(d *directory, name string, attr byte) (int, error) {
	short, exact := d.shorten(name)
	var pieces [][]byte
	if !exact {
		pieces = longSlots(name, checksum(short))
	}
	at, err := f.room(d, len(pieces)+1)
	if err != nil {
		return 0, err
	}
	for _, p := range pieces {
		copy(d.slots[at:], p)
		at += slotSize
	}
	s := d.slots[at:][:slotSize]
	clear(s)
	copy(s, short[:])
	s[11] = attr
	binary.LittleEndian.PutUint16(s[16:], epochDate)
	return at, nil
}

// room finds n free slots beside each other, where need be in another cluster.
func (f *FS) room(d *directory, n int) (int, error) {
	run := 0
	for at := 0; ; at += slotSize {
		if at == len(d.slots) {
			if len(d.clusters) == 0 {
				return 0, fmt.Errorf("the root directory is full: it holds %d entries", len(d.slots)/slotSize)
			}
			more, err := f.allocate(1, d.clusters[len(d.clusters)-1])
			if err != nil {
				return 0, err
			}
			d.clusters = append(d.clusters, more...)
			d.slots = append(d.slots, make([]byte, f.cluster)...)
		}
		if d.slots[at] != free && d.slots[at] != end {
			run = 0
			continue
		}
		if run++; run == n {
			return at - (n-1)*slotSize, nil
		}
	}
}

// point sets where the content of the entry at a slot is.
func (d *directory) point(at int, cluster, size uint32) {
	s := d.slots[at:][:slotSize]
	le := binary.LittleEndian
	le.PutUint16(s[20:], uint16(cluster>>16))
	le.PutUint16(s[26:], uint16(cluster))
	le.PutUint32(s[28:], size)
	le.PutUint16(s[18:], epochDate)
	le.PutUint16(s[22:], 0)
	le.PutUint16(s[24:], epochDate)
}

// valid bytes of a short name, besides letters and digits.
const shortPunctuation = "$%'-_@~`!(){}^#&"

func shortByte(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(shortPunctuation, c) >= 0
}

// shorten returns a short name that the directory does not have yet; exact: it is the name itself.
func (d *directory) shorten(name string) (short [11]byte, exact bool) {
	base, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		base, ext = name[:i], name[i+1:]
	}
	plain := func(s string, most int) []byte {
		b := make([]byte, 0, most)
		for _, c := range []byte(strings.ToUpper(s)) {
			if len(b) < most && c != ' ' && c != '.' {
				if !shortByte(c) {
					c = '_'
				}
				b = append(b, c)
			}
		}
		return b
	}
	b, e := plain(base, 8), plain(ext, 3)
	fill := func(base []byte) {
		short = [11]byte(bytes.Repeat([]byte(" "), 11))
		copy(short[:8], base)
		copy(short[8:], e)
	}
	fill(b)
	if shortName(short) == name {
		return short, true
	}
	// Firmware that knows no long names finds config.txt only as CONFIG.TXT.
	if _, there := d.find(shortName(short)); !there && strings.EqualFold(shortName(short), name) {
		return short, false
	}
	for n := 1; ; n++ {
		tail := fmt.Sprintf("~%d", n)
		fill(append(b[:min(len(b), 8-len(tail)):min(len(b), 8-len(tail))], tail...))
		if _, there := d.find(shortName(short)); !there {
			return short, false
		}
	}
}

// longSlots returns the slots of a long name, in the order in which they stand: the last piece first.
func longSlots(name string, sum byte) [][]byte {
	units := utf16.Encode([]rune(name))
	const each = 13
	n := (len(units) + each - 1) / each
	if len(units)%each != 0 {
		units = append(units, 0)
	}
	for len(units) < n*each {
		units = append(units, 0xffff)
	}
	slots := make([][]byte, n)
	for i := range n {
		s := make([]byte, slotSize)
		s[0] = byte(i + 1)
		if i == n-1 {
			s[0] |= 0x40
		}
		s[11], s[13] = attrLong, sum
		for j, u := range units[i*each:][:each] {
			at := 1 + 2*j
			switch {
			case j >= 11:
				at = 28 + 2*(j-11)
			case j >= 5:
				at = 14 + 2*(j-5)
			}
			binary.LittleEndian.PutUint16(s[at:], u)
		}
		slots[n-1-i] = s
	}
	return slots
}

// nameError says why a file cannot have a name; nil: it can.
func nameError(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") ||
		strings.ContainsAny(name, `"*/:<>?\|`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%q: %w as a name on FAT", name, fs.ErrInvalid)
	}
	return nil
}
