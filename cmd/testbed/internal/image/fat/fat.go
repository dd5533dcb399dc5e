// SPDX-License-Identifier: Apache-2.0

// Package fat changes FAT12, FAT16 and FAT32 file systems where they are, as Microsoft's "FAT: General
// Overview of On-Disk Format" (version 1.03) has them. The same changes give the same bytes: times of
// what is written are constant, and clusters are given out from the first free one on.
package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Device is what a file system is on.
type Device interface {
	io.ReaderAt
	io.WriterAt
}

// FS is a file system. What is changed reaches the device whole with Flush. It is not safe for
// concurrent use.
type FS struct {
	dev  Device
	bits int // 12, 16 or 32: of an entry of the table

	sector   int64 // bytes a sector
	cluster  int64 // bytes a cluster
	clusters int   // of data, numbered from 2

	tables    []int64 // offsets of the copies that are kept
	table     []byte  // the first of them
	dirty     map[int64]bool
	root      uint32 // FAT32: the root directory's first cluster
	rootAt    int64  // FAT12 and FAT16: its place
	rootSize  int64  // FAT12 and FAT16
	data      int64  // where cluster 2 is
	info      int64  // FAT32: the FSInfo sector, 0 if there is none
	labels    []int64
	allocated bool // the table was changed
}

// ErrNotFAT says that there is no FAT file system.
var ErrNotFAT = errors.New("no FAT file system")

// Open reads the boot sector and the table of the file system on dev, which has size bytes.
func Open(dev Device, size int64) (*FS, error) {
	b := make([]byte, 512)
	if _, err := dev.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("reading the boot sector: %w", err)
	}
	le := binary.LittleEndian
	sector, perCluster := int64(le.Uint16(b[11:])), int64(b[13])
	reserved, copies, rootEntries := int64(le.Uint16(b[14:])), int64(b[16]), int64(le.Uint16(b[17:]))
	sectors, tableSectors := int64(le.Uint16(b[19:])), int64(le.Uint16(b[22:]))
	if sectors == 0 {
		sectors = int64(le.Uint32(b[32:]))
	}
	wide := tableSectors == 0
	if wide {
		tableSectors = int64(le.Uint32(b[36:]))
	}
	jump := b[0] == 0xeb || b[0] == 0xe9
	if !jump || b[510] != 0x55 || b[511] != 0xaa || !power(sector, 512, 4096) || !power(perCluster, 1, 128) ||
		reserved == 0 || copies == 0 || copies > 4 || tableSectors == 0 || sectors == 0 {
		return nil, ErrNotFAT
	}
	if sectors*sector > size {
		return nil, fmt.Errorf("the file system has %d bytes, its partition %d", sectors*sector, size)
	}
	f := &FS{dev: dev, sector: sector, cluster: sector * perCluster, dirty: map[int64]bool{}}
	f.rootSize = (rootEntries*32 + sector - 1) / sector * sector
	f.rootAt = (reserved + copies*tableSectors) * sector
	f.data = f.rootAt + f.rootSize
	f.clusters = int((sectors*sector - f.data) / f.cluster)
	if f.clusters <= 0 || f.data >= sectors*sector {
		return nil, ErrNotFAT
	}
	switch { // the count alone decides (page 14)
	case wide:
		f.bits = 32
	case f.clusters < 4085:
		f.bits = 12
	case f.clusters < 65525:
		f.bits = 16
	default:
		f.bits = 32
	}
	f.labels = []int64{43}
	if f.bits == 32 {
		if rootEntries != 0 || !wide {
			return nil, ErrNotFAT
		}
		f.root = le.Uint32(b[44:])
		if at := int64(le.Uint16(b[48:])); at > 0 && at < reserved {
			f.info = at * sector
		}
		f.labels = []int64{71}
		if at := int64(le.Uint16(b[50:])); at > 0 && at < reserved {
			f.labels = append(f.labels, at*sector+71)
		}
	}
	first, kept := int64(0), copies
	if flags := le.Uint16(b[40:]); f.bits == 32 && flags&0x80 != 0 { // one copy alone is in use
		first, kept = int64(flags&0x0f), 1
		if first >= copies {
			return nil, ErrNotFAT
		}
	}
	for i := range kept {
		f.tables = append(f.tables, (reserved+(first+i)*tableSectors)*sector)
	}
	if int64(f.clusters+2)*int64(f.bits) > tableSectors*sector*8 {
		return nil, fmt.Errorf("the table of %d sectors is too small for %d clusters", tableSectors, f.clusters)
	}
	f.table = make([]byte, tableSectors*sector)
	if _, err := dev.ReadAt(f.table, f.tables[0]); err != nil {
		return nil, fmt.Errorf("reading the table: %w", err)
	}
	if f.bits == 32 && !f.valid(f.root) {
		return nil, ErrNotFAT
	}
	return f, nil
}

// power says whether n is a power of two from least to most.
func power(n, least, most int64) bool { return n >= least && n <= most && n&(n-1) == 0 }

func (f *FS) valid(cluster uint32) bool { return cluster >= 2 && cluster < uint32(f.clusters)+2 }

// get returns what the table says of a cluster: 0 that it is free, the next one of its chain, or
// something that is not valid at the chain's end.
func (f *FS) get(cluster uint32) uint32 {
	le := binary.LittleEndian
	switch f.bits {
	case 12:
		v := uint32(le.Uint16(f.table[cluster+cluster/2:]))
		if cluster%2 == 1 {
			return v >> 4
		}
		return v & 0xfff
	case 16:
		return uint32(le.Uint16(f.table[2*cluster:]))
	default:
		return le.Uint32(f.table[4*cluster:]) & 0x0fffffff // the first four bits are reserved
	}
}

func (f *FS) set(cluster, value uint32) {
	le := binary.LittleEndian
	var at, length uint32
	switch f.bits {
	case 12:
		at, length = cluster+cluster/2, 2
		v := le.Uint16(f.table[at:])
		if cluster%2 == 1 {
			v = v&0x000f | uint16(value<<4)
		} else {
			v = v&0xf000 | uint16(value&0xfff)
		}
		le.PutUint16(f.table[at:], v)
	case 16:
		at, length = 2*cluster, 2
		le.PutUint16(f.table[at:], uint16(value))
	default:
		at, length = 4*cluster, 4
		le.PutUint32(f.table[at:], le.Uint32(f.table[at:])&0xf0000000|value&0x0fffffff)
	}
	f.dirty[int64(at)/f.sector] = true
	f.dirty[int64(at+length-1)/f.sector] = true
	f.allocated = true
}

const endOfChain = 0x0fffffff

// chain returns the clusters of a file or directory.
func (f *FS) chain(first uint32) ([]uint32, error) {
	var list []uint32
	for c := first; f.valid(c); c = f.get(c) {
		if len(list) > f.clusters {
			return nil, fmt.Errorf("the clusters from %d on go in a circle", first)
		}
		list = append(list, c)
	}
	return list, nil
}

// allocate takes n free clusters, the first ones that there are, as a chain that goes on from last
// (0: from nowhere).
func (f *FS) allocate(n int, last uint32) ([]uint32, error) {
	list := make([]uint32, 0, n)
	for c := uint32(2); len(list) < n; c++ {
		if !f.valid(c) {
			return nil, fmt.Errorf("no space: %d clusters of %d bytes are needed, %d are free", n, f.cluster, len(list))
		}
		if f.get(c) == 0 {
			list = append(list, c)
		}
	}
	for _, c := range list {
		if last != 0 {
			f.set(last, c)
		}
		last = c
	}
	if n > 0 {
		f.set(last, endOfChain)
	}
	return list, nil
}

// release gives a chain back.
func (f *FS) release(first uint32) error {
	list, err := f.chain(first)
	if err != nil {
		return err
	}
	for _, c := range list {
		f.set(c, 0)
	}
	return nil
}

// Free returns how many bytes are in free clusters.
func (f *FS) Free() int64 {
	free := int64(0)
	for c := uint32(2); f.valid(c); c++ {
		if f.get(c) == 0 {
			free += f.cluster
		}
	}
	return free
}

func (f *FS) offset(cluster uint32) int64 { return f.data + int64(cluster-2)*f.cluster }

// Flush writes the changed sectors of the table to all its copies, and how much is free.
func (f *FS) Flush() error {
	sectors := make([]int64, 0, len(f.dirty))
	for s := range f.dirty {
		sectors = append(sectors, s)
	}
	slices.Sort(sectors)
	for _, at := range f.tables {
		for _, s := range sectors {
			if _, err := f.dev.WriteAt(f.table[s*f.sector:(s+1)*f.sector], at+s*f.sector); err != nil {
				return fmt.Errorf("writing the table: %w", err)
			}
		}
	}
	clear(f.dirty)
	if f.info == 0 || !f.allocated {
		return nil
	}
	b := make([]byte, 512)
	if _, err := f.dev.ReadAt(b, f.info); err != nil {
		return fmt.Errorf("reading the FSInfo sector: %w", err)
	}
	le := binary.LittleEndian
	if le.Uint32(b) != 0x41615252 || le.Uint32(b[484:]) != 0x61417272 {
		return nil // it holds only hints: without them everything works
	}
	le.PutUint32(b[488:], uint32(f.Free()/f.cluster))
	le.PutUint32(b[492:], 0xffffffff) // where to look for free clusters: unknown
	if _, err := f.dev.WriteAt(b, f.info); err != nil {
		return fmt.Errorf("writing the FSInfo sector: %w", err)
	}
	return nil
}
