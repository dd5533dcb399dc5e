// SPDX-License-Identifier: Apache-2.0

// Package ext4 reads files of ext4 file systems whose files are mapped by extents, as mkfs.ext4 makes
// them (https://docs.kernel.org/filesystems/ext4). It writes nothing, and does not look into the journal.
package ext4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// FS is a file system to read from.
type FS struct {
	r          io.ReaderAt
	block      int64 // bytes
	blocks     uint64
	inodes     uint32
	inodeSize  int64
	perGroup   uint32 // inodes
	descriptor int64  // bytes of a group's descriptor
	first      int64  // block that the superblock is in
	Label      string
}

// ErrNotExt4 says that there is no ext4 file system.
var ErrNotExt4 = errors.New("no ext4 file system")

// Features that change what is read here ("incompatible" ones).
const (
	featureFileType = 0x2
	featureRecover  = 0x4
	featureExtents  = 0x40
	feature64bit    = 0x80
	featureMMP      = 0x100
	featureFlexBG   = 0x200
	featureEAInode  = 0x400
	featureSeed     = 0x2000
	featureLargeDir = 0x4000
	featureCasefold = 0x20000

	known = featureFileType | featureRecover | featureExtents | feature64bit | featureMMP | featureFlexBG | featureEAInode | featureSeed | featureLargeDir | featureCasefold
)

var le = binary.LittleEndian

// Open reads the superblock.
func Open(r io.ReaderAt) (*FS, error) {
	b := make([]byte, 1024)
	if _, err := r.ReadAt(b, 1024); err != nil {
		return nil, fmt.Errorf("reading the superblock: %w", err)
	}
	if le.Uint16(b[56:]) != 0xef53 {
		return nil, ErrNotExt4
	}
	incompatible := le.Uint32(b[96:])
	if incompatible&featureExtents == 0 {
		return nil, fmt.Errorf("%w: its files are not mapped by extents", ErrNotExt4)
	}
	if unknown := incompatible &^ known; unknown != 0 {
		return nil, fmt.Errorf("the file system has features that are not known here: %#x", unknown)
	}
	shift := le.Uint32(b[24:])
	f := &FS{
		r: r, block: 1024 << min(shift, 7), blocks: uint64(le.Uint32(b[4:])), inodes: le.Uint32(b[0:]),
		inodeSize: int64(le.Uint16(b[88:])), perGroup: le.Uint32(b[40:]), descriptor: 32, first: int64(le.Uint32(b[20:])),
		Label: strings.TrimRight(string(b[120:136]), "\x00"),
	}
	if incompatible&feature64bit != 0 {
		f.descriptor = int64(le.Uint16(b[254:]))
		f.blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	if shift > 6 || f.perGroup == 0 || f.inodes == 0 || f.inodeSize < 128 || f.inodeSize > f.block || f.descriptor < 32 || f.descriptor > 1024 || f.first > 1 {
		return nil, fmt.Errorf("%w: its superblock makes no sense", ErrNotExt4)
	}
	return f, nil
}

// inode is what is known of a file.
type inode struct {
	mode  fs.FileMode
	size  int64
	flags uint32
	block []byte // the 60 bytes of the map
}

const (
	rootInode  = 2
	flagExtent = 0x80000
)

func (f *FS) inode(number uint32) (inode, error) {
	if number == 0 || number > f.inodes {
		return inode{}, fmt.Errorf("inode %d of %d", number, f.inodes)
	}
	group, index := (number-1)/f.perGroup, (number-1)%f.perGroup
	d := make([]byte, f.descriptor)
	if _, err := f.r.ReadAt(d, (f.first+1)*f.block+int64(group)*f.descriptor); err != nil {
		return inode{}, fmt.Errorf("reading the descriptor of group %d: %w", group, err)
	}
	table := uint64(le.Uint32(d[8:]))
	if f.descriptor >= 64 {
		table |= uint64(le.Uint32(d[40:])) << 32
	}
	if table >= f.blocks {
		return inode{}, fmt.Errorf("group %d has its inodes at block %d of %d", group, table, f.blocks)
	}
	b := make([]byte, 128)
	if _, err := f.r.ReadAt(b, int64(table)*f.block+int64(index)*f.inodeSize); err != nil {
		return inode{}, fmt.Errorf("reading inode %d: %w", number, err)
	}
	i := inode{
		size: int64(le.Uint32(b[4:])) | int64(le.Uint32(b[108:])&0x7fffffff)<<32, flags: le.Uint32(b[32:]), block: b[40:100],
	}
	switch le.Uint16(b) & 0xf000 {
	case 0x4000:
		i.mode = fs.ModeDir
	case 0xa000:
		i.mode = fs.ModeSymlink
	case 0x8000:
	default:
		i.mode = fs.ModeIrregular // devices, sockets: nobody reads them
	}
	return i, nil
}

// most bytes of a file or directory that are read.
const most = 16 << 20

// content reads a file whole.
func (f *FS) content(i inode) ([]byte, error) {
	if i.size > most {
		return nil, fmt.Errorf("%d bytes are more than are read here", i.size)
	}
	if i.mode == fs.ModeSymlink && i.size < 60 && i.flags&flagExtent == 0 {
		return i.block[:i.size], nil
	}
	if i.flags&flagExtent == 0 {
		return nil, errors.New("it is not mapped by extents")
	}
	b := make([]byte, i.size)
	return b, f.extents(i.block, b, 5) // the tree's depth is 5 at most
}

// extents fills b from the tree of extents that begins in node; what no extent has is a hole.
func (f *FS) extents(node, b []byte, deepest int) error {
	if le.Uint16(node) != 0xf30a {
		return errors.New("a node of its extents is damaged")
	}
	count, depth := int(le.Uint16(node[2:])), int(le.Uint16(node[6:]))
	if 12+12*count > len(node) || depth > deepest {
		return errors.New("a node of its extents is damaged")
	}
	for n := range count {
		e := node[12+12*n:][:12]
		if depth > 0 {
			child := uint64(le.Uint32(e[4:])) | uint64(le.Uint16(e[8:]))<<32
			if child >= f.blocks {
				return errors.New("an extent is outside of the file system")
			}
			next := make([]byte, f.block)
			if _, err := f.r.ReadAt(next, int64(child)*f.block); err != nil {
				return err
			}
			if err := f.extents(next, b, depth-1); err != nil {
				return err
			}
			continue
		}
		length := int64(le.Uint16(e[4:]))
		if length > 32768 {
			continue // allocated and never written: zeros
		}
		from := int64(le.Uint32(e)) * f.block
		start := uint64(le.Uint16(e[6:]))<<32 | uint64(le.Uint32(e[8:]))
		if start+uint64(length) > f.blocks {
			return errors.New("an extent is outside of the file system")
		}
		if from >= int64(len(b)) {
			continue
		}
		if _, err := f.r.ReadAt(b[from:min(from+length*f.block, int64(len(b)))], int64(start)*f.block); err != nil {
			return err
		}
	}
	return nil
}

// lookup returns the inode of a name in a directory. Directories with an index are also whole lists:
// what belongs to the index looks like entries without an inode.
func (f *FS) lookup(dir inode, name string) (uint32, error) {
	b, err := f.content(dir)
	if err != nil {
		return 0, err
	}
	for at := int64(0); at+8 <= int64(len(b)); {
		number, length, nameLength := le.Uint32(b[at:]), int64(le.Uint16(b[at+4:])), int64(b[at+6])
		if length < 8 || at+length > int64(len(b)) {
			return 0, errors.New("the directory is damaged")
		}
		if number != 0 && 8+nameLength <= length && string(b[at+8:at+8+nameLength]) == name {
			return number, nil
		}
		at += length
	}
	return 0, fs.ErrNotExist
}

// find returns the inode of a slash-separated path, following links.
func (f *FS) find(name string) (inode, error) {
	at, err := f.inode(rootInode)
	if err != nil {
		return inode{}, err
	}
	here := "/"
	words := strings.Split(strings.Trim(path.Clean("/"+name), "/"), "/")
	for links := 0; len(words) > 0; {
		word := words[0]
		words = words[1:]
		if word == "" {
			continue
		}
		if at.mode != fs.ModeDir {
			return inode{}, fs.ErrNotExist
		}
		number, err := f.lookup(at, word)
		if err != nil {
			return inode{}, err
		}
		next, err := f.inode(number)
		if err != nil {
			return inode{}, err
		}
		if next.mode != fs.ModeSymlink {
			at, here = next, path.Join(here, word)
			continue
		}
		target, err := f.content(next)
		if err != nil {
			return inode{}, err
		}
		if links++; links > 40 {
			return inode{}, errors.New("too many symbolic links")
		}
		whole := path.Join(here, string(target))
		if path.IsAbs(string(target)) {
			whole = path.Clean(string(target))
		}
		words = append(strings.Split(strings.Trim(whole, "/"), "/"), words...)
		if at, err = f.inode(rootInode); err != nil {
			return inode{}, err
		}
		here = "/"
	}
	return at, nil
}

// ReadFile returns the content of a file, of 16 MiB at most; symbolic links are followed. One that is
// not there is fs.ErrNotExist.
func (f *FS) ReadFile(name string) ([]byte, error) {
	i, err := f.find(name)
	if err == nil && i.mode != 0 {
		err = errors.New("it is no file")
	}
	var b []byte
	if err == nil {
		b, err = f.content(i)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return b, nil
}

// Exists says whether there is something of that path.
func (f *FS) Exists(name string) (bool, error) {
	_, err := f.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for %s: %w", name, err)
	}
	return true, nil
}
