// SPDX-License-Identifier: Apache-2.0

package slot

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// SectorSize is what partition tables count in, whatever the disk.
const SectorSize = 512

// Offsets in the master boot record.
const (
	signatureAt = 440 // four bytes, part of the PARTUUIDs by which Linux finds its root
	entriesAt   = 446 // four entries of 16 bytes
	entrySize   = 16
	magicAt     = 510
)

// Partition types.
const (
	typeProtective = 0xee // the disk has a GUID partition table
	typeReserved   = 0xda // no file system that anybody would mount
)

// Entry is one of the four partitions of a master boot record.
type Entry struct {
	Boot   bool
	Type   byte   // 0: no partition
	Start  uint32 // sector
	Length uint32 // sectors
}

// end is the first sector behind the partition.
func (e Entry) end() uint64 { return uint64(e.Start) + uint64(e.Length) }

// Table is a disk's first sector: the code that a PC's firmware runs, the disk's signature and four partitions.
type Table struct {
	sector [SectorSize]byte
}

// ReadTable reads a master boot record. One without the magic number at its end is an error, as is a disk with
// a GUID partition table.
func ReadTable(sector []byte) (Table, error) {
	var t Table
	if len(sector) < SectorSize {
		return t, fmt.Errorf("a partition table has %d bytes, not %d", SectorSize, len(sector))
	}
	copy(t.sector[:], sector)
	if binary.LittleEndian.Uint16(t.sector[magicAt:]) != 0xaa55 {
		return t, errNoTable
	}
	for _, e := range t.Entries() {
		if e.Type == typeProtective {
			return t, ErrGUID
		}
	}
	return t, nil
}

var errNoTable = errors.New("there is no partition table")

// ErrGUID tells that a disk has a GUID partition table, which this package does not share between two systems.
var ErrGUID = errors.New("the partition table is a GPT")

// Bytes returns the sector.
func (t Table) Bytes() []byte { return t.sector[:] }

// Signature returns the disk's signature.
func (t Table) Signature() [4]byte { return [4]byte(t.sector[signatureAt:]) }

// Entries returns the four partitions.
func (t Table) Entries() [4]Entry {
	var entries [4]Entry
	for i := range entries {
		b := t.sector[entriesAt+i*entrySize:]
		entries[i] = Entry{Boot: b[0]&0x80 != 0, Type: b[4], Start: binary.LittleEndian.Uint32(b[8:]), Length: binary.LittleEndian.Uint32(b[12:])}
	}
	return entries
}

// with returns the table with another signature and other partitions.
func (t Table) with(signature [4]byte, entries [4]Entry) Table {
	copy(t.sector[signatureAt:], signature[:])
	for i, e := range entries {
		b := t.sector[entriesAt+i*entrySize:][:entrySize]
		clear(b)
		if e.Type == 0 {
			continue
		}
		if e.Boot {
			b[0] = 0x80
		}
		// Cylinders, heads and sectors are long past their use: "see the LBA".
		copy(b[1:], []byte{0xfe, 0xff, 0xff})
		b[4] = e.Type
		copy(b[5:], []byte{0xfe, 0xff, 0xff})
		binary.LittleEndian.PutUint32(b[8:], e.Start)
		binary.LittleEndian.PutUint32(b[12:], e.Length)
	}
	return t
}
