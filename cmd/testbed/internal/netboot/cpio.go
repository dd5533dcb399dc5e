// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"fmt"
	"io"
	"io/fs"
)

// entry is one file of an archive.
type entry struct {
	name    string // without a leading slash
	mode    uint32 // type and permissions, as in struct stat
	device  [2]int // major and minor, of devices
	content []byte
}

// Types of entries (cpio, as in inode(7)).
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeChar = 0o020000
)

// writeArchive writes a cpio archive in the form that the kernel unpacks ("newc", the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst). The same entries give the same bytes.
func writeArchive(w io.Writer, entries []entry) error {
	for i, e := range entries {
		if !fs.ValidPath(e.name) {
			return fmt.Errorf("%q is no name in an archive", e.name)
		}
		if err := writeEntry(w, i+1, e); err != nil {
			return err
		}
	}
	return writeEntry(w, 0, entry{name: "TRAILER!!!"})
}

func writeEntry(w io.Writer, inode int, e entry) error {
	links := 1
	if e.mode&0o170000 == modeDir {
		links = 2
	}
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, e.mode, 0, 0, links, 0, len(e.content), 0, 0, e.device[0], e.device[1], len(e.name)+1, 0)
	head := []byte(header + e.name + "\x00")
	if _, err := w.Write(pad(head)); err != nil {
		return err
	}
	_, err := w.Write(pad(e.content))
	return err
}

// pad fills up to a multiple of four bytes; header and content each begin at one.
func pad(b []byte) []byte {
	if rest := len(b) % 4; rest > 0 {
		return append(b[:len(b):len(b)], make([]byte, 4-rest)...)
	}
	return b
}
