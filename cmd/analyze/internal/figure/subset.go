// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/image/font/sfnt"
)

// first and last are the characters that figures may hold: printable ASCII, which the PDF's encoding shares with UTF-8.
const (
	first = ' '
	last  = '~'
)

// subset returns a TrueType font that holds only the glyphs of printable ASCII: 20 kB in place of 400 kB
// in every figure. Tables: "OpenType specification" 1.9, chapters glyf, loca, cmap, hmtx, maxp, head.
func subset(ttf []byte) ([]byte, error) {
	tables, err := tablesOf(ttf)
	if err != nil {
		return nil, err
	}
	whole, err := sfnt.Parse(ttf)
	if err != nil {
		return nil, fmt.Errorf("parsing font: %w", err)
	}
	var buf sfnt.Buffer
	glyphs := map[rune]uint16{}
	keep := map[uint16]bool{0: true} // .notdef
	for r := rune(first); r <= last; r++ {
		g, err := whole.GlyphIndex(&buf, r)
		if err != nil || g == 0 {
			return nil, fmt.Errorf("finding glyph of %q: %w", r, errors.Join(err, errors.New("the font has none")))
		}
		glyphs[r] = uint16(g)
		keep[uint16(g)] = true
	}
	outlines := outlinesOf(tables)
	for grown := true; grown; { // a composite glyph needs its parts
		grown = false
		for g := range keep {
			for _, part := range components(outlines(g)) {
				grown = grown || !keep[part]
				keep[part] = true
			}
		}
	}
	count := uint16(0)
	for g := range keep {
		count = max(count, g+1)
	}
	var glyf, loca []byte
	for g := range count {
		loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))
		if keep[g] {
			glyf = append(glyf, outlines(g)...)
			glyf = append(glyf, make([]byte, -len(glyf)&3)...)
		}
	}
	loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))

	head, hhea, maxp, post := slices.Clone(tables["head"]), slices.Clone(tables["hhea"]), slices.Clone(tables["maxp"]), slices.Clone(tables["post"][:32])
	binary.BigEndian.PutUint32(head[8:], 0)           // checkSumAdjustment, set by assemble
	binary.BigEndian.PutUint16(head[50:], 1)          // long offsets in loca
	binary.BigEndian.PutUint32(post[0:], 0x0003_0000) // no glyph names
	metrics := min(binary.BigEndian.Uint16(hhea[34:]), count)
	oldMetrics := binary.BigEndian.Uint16(hhea[34:])
	binary.BigEndian.PutUint16(hhea[34:], metrics)
	binary.BigEndian.PutUint16(maxp[4:], count)
	hmtx := tables["hmtx"][:int(metrics)*4]
	if count > oldMetrics {
		hmtx = tables["hmtx"][:int(oldMetrics)*4+2*int(count-oldMetrics)]
	}
	return assemble(map[string][]byte{
		"OS/2": tables["OS/2"], "cmap": characterMap(glyphs), "cvt ": tables["cvt "], "fpgm": tables["fpgm"], "prep": tables["prep"],
		"glyf": glyf, "head": head, "hhea": hhea, "hmtx": hmtx, "loca": loca, "maxp": maxp, "name": tables["name"], "post": post,
	}), nil
}

func tablesOf(ttf []byte) (map[string][]byte, error) {
	if len(ttf) < 12 {
		return nil, errors.New("parsing font: no TrueType file")
	}
	out := map[string][]byte{}
	for i := range int(binary.BigEndian.Uint16(ttf[4:])) {
		entry := ttf[12+16*i:]
		from, size := binary.BigEndian.Uint32(entry[8:]), binary.BigEndian.Uint32(entry[12:])
		if uint64(from)+uint64(size) > uint64(len(ttf)) {
			return nil, fmt.Errorf("parsing font: table %q reaches beyond the file", entry[:4])
		}
		out[string(entry[:4])] = ttf[from : from+size]
	}
	for _, name := range []string{"head", "hhea", "hmtx", "loca", "glyf", "maxp", "name", "post", "OS/2"} {
		if out[name] == nil {
			return nil, fmt.Errorf("parsing font: no table %q", name)
		}
	}
	return out, nil
}

func outlinesOf(tables map[string][]byte) func(glyph uint16) []byte {
	loca, glyf := tables["loca"], tables["glyf"]
	long := binary.BigEndian.Uint16(tables["head"][50:]) == 1
	at := func(i int) uint32 {
		if long {
			return binary.BigEndian.Uint32(loca[4*i:])
		}
		return 2 * uint32(binary.BigEndian.Uint16(loca[2*i:]))
	}
	return func(glyph uint16) []byte { return glyf[at(int(glyph)):at(int(glyph)+1)] }
}

// components returns the glyphs that a composite glyph is made of.
func components(outline []byte) []uint16 {
	if len(outline) < 10 || int16(binary.BigEndian.Uint16(outline)) >= 0 {
		return nil
	}
	const words, scale, more, xyScale, matrix = 0x1, 0x8, 0x20, 0x40, 0x80
	var out []uint16
	for rest := outline[10:]; ; {
		flags := binary.BigEndian.Uint16(rest)
		out = append(out, binary.BigEndian.Uint16(rest[2:]))
		size := 6
		if flags&words != 0 {
			size += 2
		}
		switch {
		case flags&scale != 0:
			size += 2
		case flags&xyScale != 0:
			size += 4
		case flags&matrix != 0:
			size += 8
		}
		if flags&more == 0 {
			return out
		}
		rest = rest[size:]
	}
}

// characterMap is a cmap of one format 4 subtable for Unicode (platform 3, encoding 1), one segment a character.
func characterMap(glyphs map[rune]uint16) []byte {
	var ends, starts, deltas, offsets []byte
	n := uint16(0)
	segment := func(from, to, delta uint16) {
		ends = binary.BigEndian.AppendUint16(ends, to)
		starts = binary.BigEndian.AppendUint16(starts, from)
		deltas = binary.BigEndian.AppendUint16(deltas, delta)
		offsets = append(offsets, 0, 0)
		n++
	}
	for r := rune(first); r <= last; r++ {
		segment(uint16(r), uint16(r), glyphs[r]-uint16(r))
	}
	segment(0xffff, 0xffff, 1)
	power, log := uint16(1), uint16(0)
	for power*2 <= n {
		power, log = power*2, log+1
	}
	body := bytes.Join([][]byte{ends, {0, 0}, starts, deltas, offsets}, nil)
	out := []byte{0, 0, 0, 1, 0, 3, 0, 1, 0, 0, 0, 12}
	for _, v := range []uint16{4, uint16(14 + len(body)), 0, 2 * n, 2 * power, log, 2*n - 2*power} {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	return append(out, body...)
}

func assemble(tables map[string][]byte) []byte {
	var names []string
	for name, table := range tables {
		if len(table) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	n := uint16(len(names))
	power, log := uint16(1), uint16(0)
	for power*2 <= n {
		power, log = power*2, log+1
	}
	out := []byte{0, 1, 0, 0}
	for _, v := range []uint16{n, 16 * power, log, 16*n - 16*power} {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	var body []byte
	headAt := 0
	for _, name := range names {
		from := 12 + 16*len(names) + len(body)
		if name == "head" {
			headAt = from
		}
		out = append(out, name...)
		for _, v := range []uint32{checksum(tables[name]), uint32(from), uint32(len(tables[name]))} {
			out = binary.BigEndian.AppendUint32(out, v)
		}
		body = append(body, tables[name]...)
		body = append(body, make([]byte, -len(body)&3)...)
	}
	out = append(out, body...)
	binary.BigEndian.PutUint32(out[headAt+8:], 0xb1b0afba-checksum(out))
	return out
}

func checksum(b []byte) uint32 {
	sum := uint32(0)
	for len(b) >= 4 {
		sum += binary.BigEndian.Uint32(b)
		b = b[4:]
	}
	var rest [4]byte
	copy(rest[:], b)
	return sum + binary.BigEndian.Uint32(rest[:])
}
