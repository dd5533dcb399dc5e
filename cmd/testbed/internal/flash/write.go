// SPDX-License-Identifier: Apache-2.0

package flash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Source is what is written: all of it is read twice.
type Source interface {
	io.ReaderAt
	Size() int64
}

// Steps of a write.
const (
	Probing   = "probing"
	Writing   = "writing"
	Verifying = "verifying"
)

// Progress is a report on a write; there is one with each step's beginning, and then about one a second.
type Progress struct {
	Step    string
	Done    int64 // bytes of this step
	Total   int64
	Elapsed time.Duration // of this step
}

// Options say what a write is of, and who is told of it.
type Options struct {
	Node   string // whose card it is
	Image  string // the image's id
	Report func(Progress)
}

// Result says what a write was like.
type Result struct {
	Bytes     int64         // of the image
	Writing   time.Duration // until all was on the card
	Verifying time.Duration
	Torn      *Mark // what the card said before: a write that ended in the middle
}

const (
	head  = 1 << 20 // what is written last: the partition table, and what boot loaders keep behind it
	chunk = 4 << 20
)

// Write writes an image to a disk and reads it back. It has been checked that the disk may be written to. When it returns an
// error, or never returns, the card has the mark and no partition table, unless nothing was written.
func Write(ctx context.Context, d Disk, src Source, o Options) (Result, error) {
	dev, err := open(d)
	if err != nil {
		return Result{}, err
	}
	defer dev.Close()
	result, err := write(ctx, dev, d, src, o)
	if err != nil {
		return result, err
	}
	dev.reread()
	return result, nil
}

// writer is one write.
type writer struct {
	dev  device
	path string
	size int64 // of the card
	src  Source
	o    Options
	a, b []byte // two chunks
}

func write(ctx context.Context, dev device, d Disk, src Source, o Options) (result Result, err error) {
	w := &writer{dev: dev, path: d.Path, size: d.Size, src: src, o: o}
	if src.Size() < block || src.Size()%512 != 0 {
		return result, fmt.Errorf("the image of %s has %d bytes: that is no disk", o.Node, src.Size())
	}
	if w.a, err = buffer(chunk); err != nil {
		return result, err
	}
	defer free(w.a)
	if w.b, err = buffer(chunk); err != nil {
		return result, err
	}
	defer free(w.b)

	first := w.a[:block]
	if _, err := dev.ReadAt(first, 0); err != nil {
		return result, fmt.Errorf("reading the card: %w", err)
	}
	before := bytes.Clone(first)
	if m, ok := parseMark(before); ok {
		result.Torn = &m
	}
	mark := Mark{Node: o.Node, Image: o.Image, Began: time.Now()}
	if err := w.put(mark.block(), 0); err != nil {
		return result, err
	}
	p, err := w.probe(ctx, before)
	if err != nil {
		return result, err
	}
	end := src.Size()
	defer func() {
		if e := p.restore(dev, end); err == nil {
			err = e
		}
	}()

	start := time.Now()
	if err := w.copy(ctx, min(head, end), end); err != nil {
		return result, err
	}
	result.Writing = time.Since(start)
	start = time.Now()
	if err := w.compare(ctx, min(head, end), end); err != nil {
		return result, err
	}
	// By now whatever memory the card has is full of the image: what is behind it shows once more that it is there.
	if err := p.verify(dev, d.Path, end); err != nil {
		return result, err
	}
	if err := w.finish(); err != nil {
		return result, err
	}
	result.Verifying = time.Since(start)
	result.Bytes = end
	return result, nil
}

// probe finds out whether the card holds what it says. One that lies gets back what it had.
func (w *writer) probe(ctx context.Context, before []byte) (*probes, error) {
	w.report(Progress{Step: Probing, Total: w.size})
	p, err := probe(ctx, w.dev, w.path, w.size)
	if err == nil {
		return p, nil
	}
	if p != nil {
		err = errors.Join(err, p.restore(w.dev, 0))
	}
	return nil, errors.Join(err, w.put(before, 0))
}

// put writes a small piece and forces it out.
func (w *writer) put(content []byte, at int64) error {
	b := w.a[:len(content)]
	copy(b, content)
	if _, err := w.dev.WriteAt(b, at); err != nil {
		return fmt.Errorf("writing to the card at byte %d: %w", at, err)
	}
	if err := w.dev.Sync(); err != nil {
		return fmt.Errorf("writing to the card: %w", err)
	}
	return nil
}

// copy writes the bytes from one to another, and forces them out.
func (w *writer) copy(ctx context.Context, from, to int64) error {
	err := w.each(ctx, Writing, from, to, func(b []byte, at int64) error {
		if _, err := w.dev.WriteAt(b, at); err != nil {
			return fmt.Errorf("writing to the card at byte %d: %w", at, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.dev.Sync(); err != nil {
		return fmt.Errorf("writing to the card: %w", err)
	}
	return nil
}

// compare reads the card and the image side by side.
func (w *writer) compare(ctx context.Context, from, to int64) error {
	return w.each(ctx, Verifying, from, to, func(want []byte, at int64) error {
		got := w.b[:len(want)]
		if _, err := w.dev.ReadAt(got, at); err != nil {
			return fmt.Errorf("reading the card at byte %d: %w", at, err)
		}
		if bytes.Equal(want, got) {
			return nil
		}
		i := 0
		for want[i] == got[i] {
			i++
		}
		return fmt.Errorf("%s does not keep what is written to it: at byte %d there is %#02x, not %#02x (hint: the card or its reader is bad; try another)", w.path, at+int64(i), got[i], want[i])
	})
}

// each reads the image in chunks.
func (w *writer) each(ctx context.Context, step string, from, to int64, do func(b []byte, at int64) error) error {
	start := time.Now()
	said := start
	w.report(Progress{Step: step, Total: to - from})
	for at := from; at < to; {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := w.a[:min(chunk, to-at)]
		if n, err := w.src.ReadAt(b, at); n < len(b) {
			return fmt.Errorf("reading the image of %s: %w", w.o.Node, err)
		}
		if err := do(b, at); err != nil {
			return err
		}
		at += int64(len(b))
		if now := time.Now(); now.Sub(said) >= time.Second || at == to {
			said = now
			w.report(Progress{Step: step, Done: at - from, Total: to - from, Elapsed: now.Sub(start)})
		}
	}
	return nil
}

// finish writes the first mebibyte, its first block last of all, and reads it back.
func (w *writer) finish() error {
	n := min(head, w.src.Size())
	content := make([]byte, n)
	if k, err := w.src.ReadAt(content, 0); k < len(content) {
		return fmt.Errorf("reading the image of %s: %w", w.o.Node, err)
	}
	if n > block {
		if err := w.put(content[block:], block); err != nil {
			return err
		}
	}
	if err := w.put(content[:block], 0); err != nil {
		return err
	}
	got := w.a[:n]
	if _, err := w.dev.ReadAt(got, 0); err != nil {
		return fmt.Errorf("reading the card: %w", err)
	}
	if !bytes.Equal(got, content) {
		return fmt.Errorf("%s does not keep its first bytes (hint: the card or its reader is bad; try another)", w.path)
	}
	return nil
}

func (w *writer) report(p Progress) {
	if w.o.Report != nil {
		w.o.Report(p)
	}
}
