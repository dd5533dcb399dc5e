// SPDX-License-Identifier: Apache-2.0

package flash

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// device is an open card. Reads come from the card itself, not from memory, for what was written before Sync.
type device interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// open opens a disk for this process alone: the kernel refuses a block device that anybody has mounted or open so, in
// whatever mount namespace.
func open(d Disk) (*card, error) {
	flags := os.O_RDWR
	if d.Device {
		flags |= unix.O_EXCL | unix.O_DIRECT
	}
	f, err := os.OpenFile(d.Path, flags, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("opening %s: it is in use (hint: unmounted everywhere, also by other users and containers?)", d.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the card: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("opening %s: another program has it locked: %w", d.Path, err)
	}
	return &card{File: f, device: d.Device}, nil
}

// card is a block device that is read and written without the page cache, or a file that stands for one.
type card struct {
	*os.File
	device bool
}

// Sync forces out what was written, and has the kernel forget it.
func (c *card) Sync() error {
	if err := c.File.Sync(); err != nil {
		return err
	}
	if c.device {
		return unix.IoctlSetInt(int(c.Fd()), unix.BLKFLSBUF, 0)
	}
	return unix.Fadvise(int(c.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// reread has the kernel take note of the new partition table. Somebody who opens the device meanwhile makes it fail, and then
// takes note of it too.
func (c *card) reread() {
	if c.device {
		_ = unix.IoctlSetInt(int(c.Fd()), unix.BLKRRPART, 0)
	}
}

// buffer is memory as direct access wants it: from a page's start.
func buffer(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("taking memory for the copy: %w", err)
	}
	return b, nil
}

func free(b []byte) { _ = unix.Munmap(b) }
