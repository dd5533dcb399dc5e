// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// blockSize is what reads and writes are aligned to: no disk has larger logical sectors.
const blockSize = 4096

// chunkSize is how much is written and read at once: the erase unit of SD cards.
const chunkSize = 4 << 20

// Disk is a block device, or a file in a test, that is written and read past the page cache where it allows so.
type Disk struct {
	f    device
	size int64
	buf  []byte // of sector writes, aligned
}

// device is what a Disk needs of an *os.File.
type device interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
}

// OpenDisk opens a block device or a file.
func OpenDisk(path string) (*Disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT|unix.O_EXCL, 0)
	if errors.Is(err, unix.EINVAL) { // some file systems have no direct access
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the disk: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("asking for the size of %s: %w", path, err)
	}
	buf, err := alignedBuffer(2 * blockSize)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Disk{f: f, size: size / blockSize * blockSize, buf: buf}, nil
}

// Size is in bytes, a multiple of a block.
func (d *Disk) Size() int64 { return d.size }

// Close closes the device.
func (d *Disk) Close() error { return d.f.Close() }

// alignedBuffer returns memory at a page's begin, as direct access wants it.
func alignedBuffer(size int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("getting memory: %w", err)
	}
	return b, nil
}

// write writes an aligned buffer at an aligned offset.
func (d *Disk) write(b []byte, at int64) error {
	if _, err := d.f.WriteAt(b, at); err != nil {
		return fmt.Errorf("writing the disk at byte %d: %w", at, err)
	}
	return nil
}

// read reads into an aligned buffer from an aligned offset.
func (d *Disk) read(b []byte, at int64) error {
	if _, err := d.f.ReadAt(b, at); err != nil {
		return fmt.Errorf("reading the disk at byte %d: %w", at, err)
	}
	return nil
}

// writeSector replaces 512 bytes and is back when they are on the disk. The other sectors of their block are
// written with what they have.
func (d *Disk) writeSector(sector int64, b []byte) error {
	block := d.buf[:blockSize]
	at := sector * sectorSize / blockSize * blockSize
	if err := d.read(block, at); err != nil {
		return err
	}
	copy(block[sector*sectorSize-at:], b[:sectorSize])
	if err := d.write(block, at); err != nil {
		return err
	}
	return d.sync()
}

// sync is back when all that was written is on the disk, and not only in its cache.
func (d *Disk) sync() error {
	if err := d.f.Sync(); err != nil {
		return fmt.Errorf("writing the disk: %w", err)
	}
	return nil
}

// forget makes the kernel drop what it remembers of the disk's content, for disks without direct access.
func (d *Disk) forget() error {
	if err := d.sync(); err != nil {
		return err
	}
	f, ok := d.f.(*os.File)
	if !ok || unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0) == nil {
		return nil
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
