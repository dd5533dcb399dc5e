// SPDX-License-Identifier: Apache-2.0

// Package serial keeps the SOA serials of zones that are made here moving forward (RFC 1982), also over restarts.
//
// With a directory, a file a zone holds a mark that is ahead of every serial in use; a start begins at the mark.
// It is moved, and on the disk, before a serial reaches it, once in thousands of changes. Without a directory a
// start begins at the Unix time, which is ahead of all serials before as long as the zone has changed, since the
// start before, at most once a second on average.
package serial

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/disk"
)

// ahead is how far the mark is moved at once: a restart skips as many serials at most.
const ahead = 4096

// beyond is how many serials a process has until another that has begun beside it must have taken its place: at a
// thousand changes a second a quarter of an hour.
const beyond = 1 << 20

// Counter gives the serials of one zone. It is for one goroutine.
type Counter struct {
	path  string // "": none
	start uint32
	mark  uint32 // no serial from here on is in use
}

// Open prepares the serials of a zone. dir must exist; "" is none. beside tells that another process may still use the
// mark and move it: with a directory, the start is then far beyond.
func Open(dir, origin string, now time.Time, beside bool) (*Counter, error) {
	c := &Counter{start: uint32(now.Unix())}
	if dir == "" {
		return c, nil
	}
	c.path = filepath.Join(dir, url.PathEscape(origin)+"serial")
	mark, found, err := c.read()
	if err != nil {
		return nil, fmt.Errorf("reading the serial of %s: %w", origin, err)
	}
	if found {
		c.start = mark
		if beside {
			c.start += beyond
		}
	}
	c.mark = c.start
	return c, c.Use(c.start)
}

// read returns the mark in the file, if there is one.
func (c *Counter) read() (mark uint32, found bool, err error) {
	text, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	wide, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return 0, false, fmt.Errorf("%s:1:1: %q is no serial (hint: a number of 32 bits above all that secondaries have seen; or remove the file)", c.path, strings.TrimSpace(string(text)))
	}
	return uint32(wide), true, nil
}

// Start is the serial to begin with.
func (c *Counter) Start() uint32 { return c.start }

// Use makes sure that no later start gives a serial again; it must return before the serial is told anybody.
// On an error the serial may be used all the same, at the risk that a restart repeats it.
func (c *Counter) Use(serial uint32) error {
	if c.path == "" || int32(serial-c.mark) < 0 {
		return nil
	}
	mark := serial + ahead
	if other, found, err := c.read(); err == nil && found && int32(other-mark) >= 0 {
		c.mark = mark // a process that takes our place has moved the mark in the file further
		return nil
	}
	err := disk.Replace(c.path, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, mark)
		return err
	})
	if err != nil {
		return fmt.Errorf("keeping the serial: %w", err)
	}
	c.mark = mark
	return nil
}
