// SPDX-License-Identifier: Apache-2.0

package fat

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Files returns the file system for reading, safe for concurrent use as long as nothing writes. Names are not told apart by
// case, as on FAT.
func (f *FS) Files() fs.FS { return &files{f: f} }

type files struct {
	mu sync.Mutex
	f  *FS
}

// Open implements fs.FS.
func (v *files) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	fail := func(err error) (fs.File, error) { return nil, &fs.PathError{Op: "open", Path: name, Err: err} }
	at := Entry{Name: ".", Dir: true}
	if name != "." {
		list, err := v.f.List(path.Dir("/" + name))
		if err != nil {
			return fail(err)
		}
		i := slices.IndexFunc(list, func(e Entry) bool { return strings.EqualFold(e.Name, path.Base(name)) })
		if i < 0 {
			return fail(fs.ErrNotExist)
		}
		at = list[i]
	}
	if at.Dir {
		list, err := v.f.List(name)
		if err != nil {
			return fail(err)
		}
		slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
		return &openDir{at, list}, nil
	}
	content, err := v.f.ReadFile(name)
	if err != nil {
		return fail(err)
	}
	return &openFile{bytes.NewReader(content), at}, nil
}

// openFile is a file whose content has been read.
type openFile struct {
	*bytes.Reader
	e Entry
}

func (o *openFile) Stat() (fs.FileInfo, error) { return info{o.e}, nil }
func (o *openFile) Close() error               { return nil }

// openDir is a directory, and what is left to list of it.
type openDir struct {
	e    Entry
	left []Entry
}

func (o *openDir) Stat() (fs.FileInfo, error) { return info{o.e}, nil }
func (o *openDir) Close() error               { return nil }
func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.e.Name, Err: fs.ErrInvalid}
}

// ReadDir implements fs.ReadDirFile.
func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	count := len(o.left)
	if n > 0 && count == 0 {
		return nil, io.EOF
	}
	if n > 0 {
		count = min(n, count)
	}
	list := make([]fs.DirEntry, count)
	for i, e := range o.left[:count] {
		list[i] = fs.FileInfoToDirEntry(info{e})
	}
	o.left = o.left[count:]
	return list, nil
}

// info is what there is to say of an entry; everything has one time.
type info struct{ e Entry }

func (i info) Name() string { return i.e.Name }
func (i info) Size() int64  { return i.e.Size }
func (i info) Mode() fs.FileMode {
	if i.e.Dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
func (i info) ModTime() time.Time { return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) }
func (i info) IsDir() bool        { return i.e.Dir }
func (i info) Sys() any           { return nil }
