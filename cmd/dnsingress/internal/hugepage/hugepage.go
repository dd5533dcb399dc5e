// SPDX-License-Identifier: Apache-2.0

// Package hugepage puts the heap of a process on huge pages where they pay. A lookup among a million cold names waits for
// memory a few times, and with pages of 4 KiB each time for the page table too, which costs about as much again. Most
// systems give huge pages to those alone who ask for them, and the Go runtime does not.
package hugepage

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	size = 2 << 20 // octets of a huge page on amd64, and on arm64 with pages of 4 KiB
	page = 4 << 10
	// dense is how many pages of a block must be in memory already: one put on a huge page is whole from then on.
	dense = size / page * 3 / 4
	// smallest mapping worth a look.
	smallest = 16 * size
)

// Collapse puts what is in memory of large anonymous mappings, which the heap is, on huge pages, and returns how many
// octets now are. It copies them, about a millisecond for 4 MB, beside all else that runs. The error is errors.ErrUnsupported
// where the system cannot (Linux before 6.1, other page sizes); nothing is lost then but speed.
func Collapse() (int, error) {
	if os.Getpagesize() != page {
		return 0, fmt.Errorf("collapsing pages of %d octets: %w", os.Getpagesize(), errors.ErrUnsupported)
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return 0, fmt.Errorf("listing mappings: %w", err)
	}
	defer f.Close()
	var spans [][2]uintptr
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// begin-end permissions offset device inode [path]
		var begin, end uintptr
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x", &begin, &end); err != nil {
			return 0, fmt.Errorf("listing mappings: %q: %w", lines.Text(), err)
		}
		// Where a kernel lets mappings have names, the Go runtime names its own: [anon: Go: heap].
		fields := strings.Fields(lines.Text())
		anonymous := len(fields) == 5 || len(fields) > 5 && strings.HasPrefix(fields[5], "[anon:")
		if anonymous && fields[1] == "rw-p" && end-begin >= smallest {
			spans = append(spans, [2]uintptr{begin, end})
		}
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("listing mappings: %w", err)
	}
	done, refused := 0, false
spans:
	for _, s := range spans {
		for at := (s[0] + size - 1) &^ (size - 1); at+size <= s[1]; at += size {
			if !resident(at) {
				continue
			}
			switch _, _, errno := unix.Syscall(unix.SYS_MADVISE, at, size, unix.MADV_COLLAPSE); errno {
			case 0:
				done += size
			case unix.EINVAL:
				refused = true // this mapping cannot have them, or none can
				continue spans
			default: // gone meanwhile, or no huge page is free
			}
		}
	}
	if refused && done == 0 {
		return 0, fmt.Errorf("collapsing: %w", errors.ErrUnsupported)
	}
	return done, nil
}

// resident tells whether nearly all of the block at an address is in memory.
func resident(at uintptr) bool {
	var in [size / page]byte
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, at, size, uintptr(unsafe.Pointer(&in[0]))); errno != 0 {
		return false
	}
	n := 0
	for _, b := range in {
		n += int(b & 1)
	}
	return n >= dense
}
