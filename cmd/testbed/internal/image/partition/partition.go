// SPDX-License-Identifier: Apache-2.0

// Package partition reads how a disk is divided: by a master boot record or a GUID partition table
// (UEFI 2.10 §5). Sectors have 512 bytes.
package partition

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
)

// Sector is the size of a sector in bytes.
const Sector = 512

// ErrNone says that a disk has no partition table.
var ErrNone = errors.New("no partition table")

// Kinds of tables.
const (
	MBR = "mbr"
	GPT = "gpt"
)

// Table is a partition table whose partitions are inside of the disk and apart from each other.
type Table struct {
	Kind       string      // MBR or GPT
	Partitions []Partition // in the order of their numbers
}

// Partition is a piece of a disk.
type Partition struct {
	Number int    // from 1, as Linux counts
	Start  int64  // in bytes from the start of the disk
	Size   int64  // in bytes
	Type   string // MBR: two hexadecimal digits; GPT: the GUID; all lower case
	UUID   string // what root=PARTUUID= of a kernel command line names
}

// Types that firmware reads its files from.
const (
	typeSystem    = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" // GPT: EFI system partition
	typeSystemMBR = "ef"
)

// System says whether firmware is told to boot from the partition.
func (p Partition) System() bool { return p.Type == typeSystem || p.Type == typeSystemMBR }

// Read reads the partition table of a disk of size bytes.
func Read(disk io.ReaderAt, size int64) (*Table, error) {
	first := make([]byte, Sector)
	if _, err := disk.ReadAt(first, 0); err != nil {
		return nil, fmt.Errorf("reading the partition table: %w", err)
	}
	if first[510] != 0x55 || first[511] != 0xaa {
		return nil, ErrNone
	}
	table, protective := readMBR(first)
	if protective {
		var err error
		if table, err = readGPT(disk, size); err != nil {
			return nil, fmt.Errorf("reading the GUID partition table: %w", err)
		}
	}
	if len(table.Partitions) == 0 {
		return nil, ErrNone
	}
	return table, table.check(size)
}

// check refuses partitions that do not fit the disk, or each other.
func (t *Table) check(size int64) error {
	ordered := slices.Clone(t.Partitions)
	slices.SortFunc(ordered, func(a, b Partition) int { return cmp.Compare(a.Start, b.Start) })
	for i, p := range ordered {
		switch {
		case p.Start < Sector || p.Size <= 0:
			return fmt.Errorf("partition %d: %d bytes at %d are no partition", p.Number, p.Size, p.Start)
		case p.Start > size || p.Size > size-p.Start:
			return fmt.Errorf("partition %d ends at byte %d, the disk at %d (hint: the image is cut short)", p.Number, p.Start+p.Size, size)
		case i > 0 && p.Start < ordered[i-1].Start+ordered[i-1].Size:
			return fmt.Errorf("partitions %d and %d overlap", ordered[i-1].Number, p.Number)
		}
	}
	return nil
}

// extended partitions hold others, which nothing here needs.
var extended = []byte{0x05, 0x0f, 0x85}

// readMBR reads the four entries of a master boot record; protective: they only keep old programs
// off a GUID partition table.
func readMBR(sector []byte) (table *Table, protective bool) {
	table = &Table{Kind: MBR}
	id := binary.LittleEndian.Uint32(sector[440:])
	for i := range 4 {
		e := sector[446+16*i:][:16]
		kind, start, count := e[4], binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		if kind == 0xee {
			return table, true
		}
		if kind == 0 || count == 0 || slices.Contains(extended, kind) {
			continue
		}
		table.Partitions = append(table.Partitions, Partition{
			Number: i + 1, Start: int64(start) * Sector, Size: int64(count) * Sector,
			Type: fmt.Sprintf("%02x", kind), UUID: fmt.Sprintf("%08x-%02d", id, i+1),
		})
	}
	return table, false
}

// Bounds of what a header may say; usual are 128 entries of 128 bytes.
const (
	maxEntries   = 1024
	maxEntrySize = 4096
)

// readGPT reads the primary header and its entries; both carry checksums.
func readGPT(disk io.ReaderAt, size int64) (*Table, error) {
	h := make([]byte, Sector)
	if _, err := disk.ReadAt(h, Sector); err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	if string(h[:8]) != "EFI PART" {
		return nil, errors.New("no header behind the protective master boot record")
	}
	length := binary.LittleEndian.Uint32(h[12:])
	if length < 92 || length > Sector {
		return nil, fmt.Errorf("a header of %d bytes", length)
	}
	want := binary.LittleEndian.Uint32(h[16:])
	unsigned := bytes.Clone(h[:length])
	clear(unsigned[16:20])
	if crc32.ChecksumIEEE(unsigned) != want {
		return nil, errors.New("the header's checksum is wrong")
	}
	at, count, each := binary.LittleEndian.Uint64(h[72:]), binary.LittleEndian.Uint32(h[80:]), binary.LittleEndian.Uint32(h[84:])
	if count > maxEntries || each < 128 || each > maxEntrySize || at > uint64(size/Sector) {
		return nil, fmt.Errorf("%d entries of %d bytes at sector %d", count, each, at)
	}
	entries := make([]byte, count*each)
	if _, err := disk.ReadAt(entries, int64(at)*Sector); err != nil {
		return nil, fmt.Errorf("reading the entries: %w", err)
	}
	if crc32.ChecksumIEEE(entries) != binary.LittleEndian.Uint32(h[88:]) {
		return nil, errors.New("the entries' checksum is wrong")
	}
	table := &Table{Kind: GPT}
	for i := range int(count) {
		e := entries[i*int(each):][:each]
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		if last < first || last >= uint64(size/Sector) {
			return nil, fmt.Errorf("partition %d: sectors %d to %d of a disk of %d (hint: the image is cut short)", i+1, first, last, size/Sector)
		}
		table.Partitions = append(table.Partitions, Partition{
			Number: i + 1, Start: int64(first) * Sector, Size: int64(last-first+1) * Sector,
			Type: guid(e[:16]), UUID: guid(e[16:32]),
		})
	}
	return table, nil
}

// guid writes a GUID as people do: its first three fields are little endian (UEFI 2.10 appendix A).
func guid(b []byte) string {
	return strings.ToLower(fmt.Sprintf("%08x-%04x-%04x-%x-%x",
		binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16]))
}
