// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"io"
)

// overlay is a disk whose changes stay in memory: what was written hides what is below.
type overlay struct {
	below io.ReaderAt
	size  int64
	pages map[int64][]byte // by number
}

const page = 4096

func newOverlay(below io.ReaderAt, size int64) *overlay {
	return &overlay{below: below, size: size, pages: map[int64][]byte{}}
}

var errOutside = errors.New("outside of the disk")

// ReadAt implements io.ReaderAt.
func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > o.size {
		return 0, errOutside
	}
	var short error
	if int64(len(p)) > o.size-off {
		p, short = p[:o.size-off], io.EOF
	}
	if len(p) == 0 {
		return 0, short
	}
	if n, err := o.below.ReadAt(p, off); n < len(p) {
		return n, err
	}
	for at := off / page * page; at < off+int64(len(p)); at += page {
		b, ok := o.pages[at/page]
		if !ok {
			continue
		}
		if at < off {
			copy(p, b[off-at:])
		} else {
			copy(p[at-off:], b)
		}
	}
	return len(p), short
}

// WriteAt implements io.WriterAt.
func (o *overlay) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > o.size-off {
		return 0, errOutside
	}
	for done := 0; done < len(p); {
		at := off + int64(done)
		number := at / page
		b, ok := o.pages[number]
		if !ok {
			b = make([]byte, page)
			if _, err := o.below.ReadAt(b, number*page); err != nil && !errors.Is(err, io.EOF) {
				return done, err
			}
			o.pages[number] = b
		}
		done += copy(b[at%page:], p[done:])
	}
	return len(p), nil
}

// section is a part of a disk as a disk of its own.
type section struct {
	disk  *overlay
	start int64
	size  int64
}

func (s section) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(s.disk, s.start, s.size).ReadAt(p, off)
}

func (s section) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > s.size-off {
		return 0, errOutside
	}
	return s.disk.WriteAt(p, s.start+off)
}
