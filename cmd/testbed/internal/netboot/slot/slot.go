// SPDX-License-Identifier: Apache-2.0

// Package slot lays two systems beside each other on one disk, of which one boots and the other is what the node
// can be put back to.
//
// A disk has two halves. A system's boot and root partitions are in one of them, at the places relative to the
// half's start where its image has them. The master boot record names the booting system's partitions as 1 and 2,
// whichever half they are in, and the other's as 3 and 4: the firmware finds the boot partition first, and
// root=PARTUUID=…-02 and an fstab with PARTUUIDs hold for both. Which system boots is therefore one sector, and
// disks write a sector whole or not at all. A sector before the first partition keeps what the table cannot: the
// images' ids and the signature that the other system's PARTUUIDs begin with.
package slot

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// Sectors before the first partition.
const (
	RecordSector = 2047 // the record; a PC's boot loader may be in those between it and the table
	firstSector  = 2048 // where partitions may begin
)

// align is what halves begin at: 4 MiB, the erase unit of SD cards (SD Physical Layer §4.13, "AU").
const align = 4 << 20 / SectorSize

// Half is one of the two places for a system.
type Half struct {
	Image     string  `json:"image"`     // id; empty: nothing that could boot
	Signature [4]byte `json:"signature"` // of its disk
}

// Record says what is in the halves.
type Record struct {
	Halves [2]Half `json:"halves"`
}

// Disk is how a disk is shared: its table, its record and its size in sectors.
type Disk struct {
	Table   Table
	Record  Record
	Sectors uint64
}

// half returns the first sector of the second half: the first has the sectors before it.
func half(sectors uint64) uint64 { return sectors / 2 / align * align }

// Read says how a disk is shared. Its head is what it begins with, (RecordSector+1)×SectorSize bytes; a disk that
// this package has not laid out is an error.
func Read(head []byte, sectors uint64) (Disk, error) {
	d := Disk{Sectors: sectors}
	if len(head) < (RecordSector+1)*SectorSize {
		return d, errors.New("the disk's head is too short")
	}
	var err error
	if d.Table, err = ReadTable(head); err != nil {
		return d, err
	}
	if d.Record, err = readRecord(head[RecordSector*SectorSize:][:SectorSize]); err != nil {
		return d, err
	}
	e := d.Table.Entries()
	if e[0].Type == 0 || e[1].Type == 0 || d.of(e[0]) != d.of(e[1]) {
		return d, errors.New("the partition table is not one of two systems")
	}
	return d, nil
}

// Active returns the half that boots: 0 or 1.
func (d Disk) Active() int { return d.of(d.Table.Entries()[0]) }

// ActiveImage returns the id of the image that boots.
func (d Disk) ActiveImage() string { return d.Record.Halves[d.Active()].Image }

// PreviousImage returns the id of the image that the disk can be put back to; empty: none.
func (d Disk) PreviousImage() string {
	if d.Table.Entries()[3].Type == 0 {
		return ""
	}
	return d.Record.Halves[1-d.Active()].Image
}

func (d Disk) of(e Entry) int {
	if uint64(e.Start) >= half(d.Sectors) {
		return 1
	}
	return 0
}

// Plan says where an image goes on a disk, and what the disk's first sectors are before and after.
type Plan struct {
	Half   int
	Shift  uint64 // sectors by which the image's partitions move
	Before Disk   // while the image is written: what boots still boots, and the half that is written is nobody's
	After  Disk   // once it is verified
	Kept   string // id of the image that the disk can be put back to; empty: none
}

// ErrNoRoom tells that a disk is too small for two systems, or an image not made for sharing.
var ErrNoRoom = errors.New("no room for a second system")

// Place plans to write an image, of which table is the first sector and size the sectors, beside what a disk boots.
// Old is nil for a disk that this package has not laid out: all that is on it goes.
func Place(table Table, id string, size, sectors uint64, old *Disk) (Plan, error) {
	parts := table.Entries()
	middle := half(sectors)
	switch {
	case parts[0].Type == 0 || parts[1].Type == 0 || parts[2].Type != 0 || parts[3].Type != 0:
		return Plan{}, fmt.Errorf("%w: the image has not two partitions", ErrNoRoom)
	case parts[0].Start < firstSector || uint64(parts[1].Start) < parts[0].end():
		return Plan{}, fmt.Errorf("%w: the image's partitions begin before sector %d, or out of order", ErrNoRoom, firstSector)
	case parts[1].end() > size:
		return Plan{}, fmt.Errorf("the image has %d sectors, its second partition ends at %d", size, parts[1].end())
	case size > middle || middle > 1<<31:
		return Plan{}, fmt.Errorf("%w: the image has %d MB, half of the disk %d MB", ErrNoRoom, size/2048, middle/2048)
	}
	p := Plan{After: Disk{Table: table, Sectors: sectors}}
	if old != nil {
		p.Half = 1 - old.Active()
		p.Before, p.Kept = *old, old.ActiveImage()
		p.After.Record = old.Record
	}
	if p.Half == 1 {
		p.Shift = middle
	}
	end := middle
	if p.Half == 1 {
		end = sectors
	}
	p.After.Record.Halves[p.Half] = Half{Image: id, Signature: table.Signature()}
	entries := [4]Entry{parts[0], parts[1]}
	for i := range 2 {
		entries[i].Start += uint32(p.Shift)
	}
	// The root takes what is left of its half now: a partition that shares its disk is not one that a first boot
	// knows how to stretch.
	entries[1].Length = uint32(end - uint64(entries[1].Start))
	if old == nil {
		// Keeps a first boot from stretching the root over the other half.
		entries[2] = Entry{Type: typeReserved, Start: uint32(middle), Length: uint32(sectors - middle)}
	} else {
		was := old.Table.Entries()
		entries[2], entries[3] = was[0], was[1]
		entries[2].Boot, entries[3].Boot = false, false
		// What is written over is no longer anything to go back to.
		p.Before.Record.Halves[p.Half] = Half{}
		written := Entry{Type: typeReserved, Start: uint32(p.Shift), Length: uint32(end - p.Shift)}
		if p.Half == 0 {
			written.Start, written.Length = firstSector, uint32(end-firstSector)
		}
		p.Before.Table = old.Table.with(old.Table.Signature(), [4]Entry{was[0], was[1], written})
	}
	p.After.Table = table.with(table.Signature(), entries)
	return p, nil
}

// Revert returns the disk with the other system booting.
func (d Disk) Revert() (Disk, error) {
	if d.PreviousImage() == "" {
		return d, errors.New("there is no previous system on the disk")
	}
	e := d.Table.Entries()
	other := d.Record.Halves[1-d.Active()]
	e[0].Boot, e[2].Boot = false, e[0].Boot
	d.Table = d.Table.with(other.Signature, [4]Entry{e[2], e[3], e[0], e[1]})
	return d, nil
}

// recordMagic begins the record's sector; a checksum and JSON follow.
const recordMagic = "testbed\x01"

// Bytes returns the record's sector.
func (r Record) Bytes() ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	sector := make([]byte, SectorSize)
	n := copy(sector, recordMagic)
	binary.LittleEndian.PutUint32(sector[n:], crc32.ChecksumIEEE(body))
	if copy(sector[n+4:], body) < len(body) {
		return nil, fmt.Errorf("a record of %d bytes does not fit into a sector", len(body))
	}
	return sector, nil
}

func readRecord(sector []byte) (Record, error) {
	var r Record
	rest, ok := bytes.CutPrefix(sector, []byte(recordMagic))
	if !ok || len(rest) < 4 {
		return r, errors.New("the disk has no record of two systems")
	}
	body := bytes.TrimRight(rest[4:], "\x00")
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(rest) {
		return r, errors.New("the record of two systems is damaged")
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("reading the record of two systems: %w", err)
	}
	return r, nil
}
