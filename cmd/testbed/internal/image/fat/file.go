// SPDX-License-Identifier: Apache-2.0

package fat

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strings"
)

// Entry is a file or a directory.
type Entry struct {
	Name string
	Dir  bool
	Size int64 // of a file, in bytes
}

// walk returns the directory of a slash-separated path without its last element.
func (f *FS) walk(name string) (d *directory, base string, err error) {
	name = strings.Trim(path.Clean("/"+name), "/")
	d, err = f.load(0)
	for err == nil {
		first, rest, more := strings.Cut(name, "/")
		if !more {
			return d, first, nil
		}
		e, ok := d.find(first)
		if !ok {
			return nil, "", fmt.Errorf("directory %s: %w", first, fs.ErrNotExist)
		}
		if e.attr&attrDirectory == 0 {
			return nil, "", fmt.Errorf("%s is no directory", first)
		}
		d, err = f.load(e.cluster)
		name = rest
	}
	return nil, "", err
}

// List returns what a directory holds, in its order.
func (f *FS) List(name string) ([]Entry, error) {
	d, _, err := f.walk(strings.Trim(name, "/") + "/x")
	if err != nil {
		return nil, err
	}
	var list []Entry
	for _, e := range d.entries() {
		if e.attr&attrLabel == 0 {
			list = append(list, Entry{e.name, e.attr&attrDirectory != 0, int64(e.size)})
		}
	}
	return list, nil
}

// ReadFile returns the content of a file; one that is not there is fs.ErrNotExist.
func (f *FS) ReadFile(name string) ([]byte, error) {
	d, base, err := f.walk(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	e, ok := d.find(base)
	switch {
	case !ok:
		return nil, fmt.Errorf("reading %s: %w", name, fs.ErrNotExist)
	case e.attr&attrDirectory != 0:
		return nil, fmt.Errorf("reading %s: it is a directory", name)
	}
	clusters, err := f.chain(e.cluster)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(clusters))*f.cluster < int64(e.size) {
		return nil, fmt.Errorf("reading %s: it has %d bytes and clusters for %d", name, e.size, int64(len(clusters))*f.cluster)
	}
	content := make([]byte, e.size)
	for i, c := range clusters {
		from := int64(i) * f.cluster
		if from >= int64(e.size) {
			break
		}
		if _, err := f.dev.ReadAt(content[from:min(from+f.cluster, int64(e.size))], f.offset(c)); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	return content, nil
}

// WriteFile makes a file, or replaces the content of one, with size bytes of r. Its directory must be
// there.
func (f *FS) WriteFile(name string, r io.Reader, size int64) error {
	if err := f.writeFile(name, r, size); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

func (f *FS) writeFile(name string, r io.Reader, size int64) error {
	if size > math.MaxUint32 {
		return fmt.Errorf("%d bytes are more than a file on FAT can have", size)
	}
	d, base, err := f.walk(name)
	if err != nil {
		return err
	}
	if err := nameError(base); err != nil {
		return err
	}
	e, ok := d.find(base)
	at := e.at
	switch {
	case ok && e.attr&attrDirectory != 0:
		return errors.New("it is a directory")
	case ok:
		if err := f.release(e.cluster); err != nil {
			return err
		}
	default:
		if at, err = f.add(d, base, attrArchive); err != nil {
			return err
		}
	}
	clusters, err := f.allocate(int((size+f.cluster-1)/f.cluster), 0)
	if err != nil {
		return err
	}
	first := uint32(0)
	if len(clusters) > 0 {
		first = clusters[0]
	}
	d.point(at, first, uint32(size))
	if err := f.store(d); err != nil {
		return err
	}
	block := make([]byte, f.cluster)
	for _, c := range clusters {
		n := min(size, f.cluster)
		clear(block[n:]) // what was there before does not stay behind the file's end
		if _, err := io.ReadFull(r, block[:n]); err != nil {
			return err
		}
		if _, err := f.dev.WriteAt(block, f.offset(c)); err != nil {
			return err
		}
		size -= n
	}
	return nil
}

// Mkdir makes a directory, unless it is there, in one that must be.
func (f *FS) Mkdir(name string) error {
	if err := f.mkdir(name); err != nil {
		return fmt.Errorf("making directory %s: %w", name, err)
	}
	return nil
}

func (f *FS) mkdir(name string) error {
	d, base, err := f.walk(name)
	if err != nil {
		return err
	}
	if err := nameError(base); err != nil {
		return err
	}
	if e, ok := d.find(base); ok {
		if e.attr&attrDirectory == 0 {
			return errors.New("there is a file of that name")
		}
		return nil
	}
	at, err := f.add(d, base, attrDirectory)
	if err != nil {
		return err
	}
	clusters, err := f.allocate(1, 0)
	if err != nil {
		return err
	}
	d.point(at, clusters[0], 0)
	if err := f.store(d); err != nil {
		return err
	}
	made := &directory{first: clusters[0], clusters: clusters, slots: make([]byte, f.cluster)}
	parent := d.first
	if f.bits == 32 && parent == f.root {
		parent = 0 // ".." names the root directory so
	}
	for i, dots := range []struct {
		name    string
		cluster uint32
	}{{".          ", clusters[0]}, {"..         ", parent}} {
		s := made.slots[i*slotSize:]
		copy(s, dots.name)
		s[11], s[16] = attrDirectory, epochDate
		made.point(i*slotSize, dots.cluster, 0)
	}
	return f.store(made)
}

// SetLabel gives the volume a label: 11 bytes at most, upper case.
func (f *FS) SetLabel(label string) error {
	if len(label) == 0 || len(label) > 11 || strings.ContainsFunc(label, func(r rune) bool { return r > 0x7f || !shortByte(byte(r)) }) {
		return fmt.Errorf("labelling the file system: %q: %w as a label", label, fs.ErrInvalid)
	}
	padded := []byte(label + strings.Repeat(" ", 11-len(label)))
	d, err := f.load(0)
	if err != nil {
		return fmt.Errorf("labelling the file system: %w", err)
	}
	at := -1
	for _, e := range d.entries() {
		if e.attr&attrLabel != 0 {
			at = e.at
			break
		}
	}
	if at < 0 {
		if at, err = f.room(d, 1); err != nil {
			return fmt.Errorf("labelling the file system: %w", err)
		}
		clear(d.slots[at:][:slotSize])
		d.slots[at+11] = attrLabel
	}
	copy(d.slots[at:], padded)
	d.point(at, 0, 0)
	if err := f.store(d); err != nil {
		return fmt.Errorf("labelling the file system: %w", err)
	}
	for _, where := range f.labels {
		if _, err := f.dev.WriteAt(padded, where); err != nil {
			return fmt.Errorf("labelling the file system: %w", err)
		}
	}
	return nil
}
