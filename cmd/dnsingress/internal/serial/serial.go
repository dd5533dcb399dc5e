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
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ahead is how far the mark is moved at once: a restart skips as many serials at most.
const ahead = 4096

// Counter gives the serials of one zone. It is for one goroutine.
type Counter struct {
	path  string // "": none
	start uint32
	mark  uint32 // no serial from here on is in use
}

// Open prepares the serials of a zone. dir must exist; "" is none.
func Open(dir, origin string, now time.Time) (*Counter, error) {
	c := &Counter{start: uint32(now.Unix())}
	if dir == "" {
		return c, nil
	}
	c.path = filepath.Join(dir, url.PathEscape(origin)+"serial")
	switch text, err := os.ReadFile(c.path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("reading the serial of %s: %w", origin, err)
	default:
		mark, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s:1:1: %q is no serial (hint: a number of 32 bits above all that secondaries have seen; or remove the file)", c.path, strings.TrimSpace(string(text)))
		}
		c.start = uint32(mark)
	}
	c.mark = c.start
	return c, c.Use(c.start)
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
	if err := write(c.path, strconv.FormatUint(uint64(mark), 10)+"\n"); err != nil {
		return fmt.Errorf("keeping the serial: %w", err)
	}
	c.mark = mark
	return nil
}

// write puts a new file in the place of an old one, whole or not at all, and on the disk.
func write(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails where it has its place
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path)) // the name is on the disk when its directory is
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
