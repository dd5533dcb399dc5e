// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is a container image of one layer, as an archive that `ctr images import` and `docker load` read. Its reference
// is testbed.local/<Repository>:<Tag>. All files belong to root and are as old as the epoch, so that the same files make
// the same image.
type Image struct {
	Repository string // "nginx"
	Tag        string
	// From is another's image, host/path@sha256:…, that it is a copy of: what can neither be built from source nor unpacked from
	// packages. Files, Entrypoint, Args, Env, User and WorkDir are its own then.
	From       string
	Files      []File // a later file hides an earlier one of the same path
	Entrypoint []string
	Args       []string // what a container's args replace
	Env        []string // NAME=value; PATH is set if it is not here
	User       string   // "uid:gid"; root if empty
	WorkDir    string
	// Probes are commands that start each program of the image once: it says its version or how it is used, and ends. A
	// program may be fit for a processor and yet not for a node's kernel.
	Probes [][]string
}

// File is one thing in an image: exactly one of From, Local and Text says what, and with none of them it is a directory.
type File struct {
	Path  string      // absolute, in the image
	From  Source      // the result of a source: a file, or a tree that is put below Path
	Local string      // a file or tree of the repository, from its root
	Text  string      // the content
	Mode  fs.FileMode // permissions, for a directory also fs.ModeSticky; if zero: those of the file, 0o644 for Text, 0o755 for a directory
}

// Ref returns the image's reference, which pods name.
func (i *Image) Ref() string { return "testbed.local/" + i.Repository + ":" + i.Tag }

// Name implements Source.
func (i *Image) Name() string { return "image/" + i.Repository }

// Place implements Source: the result is a docker-archive.
func (i *Image) Place(key string) string { return "images/" + i.Repository + "-" + key + ".tar" }

// Key implements Source.
func (i *Image) Key(ctx context.Context, s *Store) (string, error) {
	h := newHasher("image", 1)
	h.add(s.Arch, i.Ref(), i.User, i.WorkDir, fmt.Sprintf("%q %q %q", i.Entrypoint, i.Args, i.Env))
	if i.From != "" {
		h.add(i.From)
	}
	for _, f := range i.Files {
		h.add(f.Path, f.Mode.String(), f.Text, f.Local)
		switch {
		case f.From != nil:
			item, err := s.Look(ctx, f.From)
			if err != nil {
				return "", err
			}
			h.add(f.From.Name(), item.Key)
		case f.Local != "":
			root := filepath.Join(s.Repo, filepath.FromSlash(f.Local))
			err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				info, err := d.Info()
				if err != nil {
					return err
				}
				return h.file(p[len(root):]+" "+info.Mode().String(), p)
			})
			if err != nil {
				return "", err
			}
		}
	}
	return h.sum(), nil
}

// Build implements Source.
func (i *Image) Build(ctx context.Context, s *Store, dst string) error {
	layer, made, err := i.content(ctx, s)
	if err != nil {
		return err
	}
	// Not compressed: nothing is fetched over a network, and every node would unpack it on the same cores.
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer, types.DockerUncompressedLayer))
	if err != nil {
		return fmt.Errorf("adding the layer: %w", err)
	}
	config := &v1.ConfigFile{Architecture: s.Arch, OS: "linux", Created: v1.Time{Time: epoch()}, Config: made}
	if config.RootFS, err = rootFS(img); err != nil {
		return err
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return fmt.Errorf("writing the image's configuration: %w", err)
	}
	ref, err := name.NewTag(i.Ref())
	if err != nil {
		return err
	}
	return tarball.WriteToFile(dst, ref, img)
}

// content is the image's one layer, and how it is run.
func (i *Image) content(ctx context.Context, s *Store) (layer []byte, config v1.Config, err error) {
	if i.From != "" {
		return pull(ctx, i.From, s.Arch)
	}
	layer, err = i.layer(ctx, s)
	return layer, v1.Config{Entrypoint: i.Entrypoint, Cmd: i.Args, Env: i.env(), User: i.User, WorkingDir: i.WorkDir}, err
}

func rootFS(img v1.Image) (v1.RootFS, error) {
	c, err := img.ConfigFile()
	if err != nil {
		return v1.RootFS{}, fmt.Errorf("reading the image's layers: %w", err)
	}
	return c.RootFS, nil
}

func (i *Image) env() []string {
	if slices.ContainsFunc(i.Env, func(e string) bool { return len(e) > 5 && e[:5] == "PATH=" }) {
		return i.Env
	}
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, i.Env...)
}

func epoch() time.Time { return time.Unix(0, 0).UTC() }

// entry is one path of a layer.
type entry struct {
	header tar.Header
	source string // file to read the content from
	text   string // the content, if there is no source
}

// layer returns the image's files as a tar archive, sorted by path.
func (i *Image) layer(ctx context.Context, s *Store) ([]byte, error) {
	entries := map[string]entry{}
	for _, f := range i.Files {
		if err := f.collect(ctx, s, entries); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	for p := range entries { // directories that only a file's path names
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if _, ok := entries[dir]; !ok {
				entries[dir] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
			}
		}
	}
	paths := make([]string, 0, len(entries))
	for p := range entries {
		paths = append(paths, p)
	}
	slices.Sort(paths)

	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, p := range paths {
		e := entries[p]
		e.header.Name, e.header.ModTime, e.header.Format = p, epoch(), tar.FormatPAX
		if e.header.Typeflag == tar.TypeDir {
			e.header.Name += "/"
		}
		if err := e.write(w); err != nil {
			return nil, fmt.Errorf("/%s: %w", p, err)
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

func (e *entry) write(w *tar.Writer) error {
	if e.header.Typeflag != tar.TypeReg {
		return w.WriteHeader(&e.header)
	}
	if e.source == "" {
		e.header.Size = int64(len(e.text))
		if err := w.WriteHeader(&e.header); err != nil {
			return err
		}
		_, err := io.WriteString(w, e.text)
		return err
	}
	f, err := os.Open(e.source)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	e.header.Size = info.Size()
	if err := w.WriteHeader(&e.header); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// collect adds what f stands for to the entries, by path without the leading slash.
func (f *File) collect(ctx context.Context, s *Store, entries map[string]entry) error {
	if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path {
		return errors.New("a path in an image must be absolute and clean")
	}
	at := f.Path[1:]
	switch {
	case f.From != nil:
		item, err := s.Get(ctx, f.From)
		if err != nil {
			return err
		}
		return collectTree(item.Path, at, f.Mode, entries)
	case f.Local != "":
		return collectTree(filepath.Join(s.Repo, filepath.FromSlash(f.Local)), at, f.Mode, entries)
	case f.Text != "":
		entries[at] = entry{header: tar.Header{Typeflag: tar.TypeReg, Mode: int64(cmp.Or(f.Mode.Perm(), 0o644))}, text: f.Text}
	default:
		mode := int64(cmp.Or(f.Mode.Perm(), 0o755))
		if f.Mode&fs.ModeSticky != 0 {
			mode |= 0o1000
		}
		entries[at] = entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: mode}}
	}
	return nil
}

// collectTree adds a file, or all that is below a directory. A mode other than zero replaces that of the files.
func collectTree(root, at string, mode fs.FileMode, entries map[string]entry) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		to := path.Join(at, filepath.ToSlash(rel))
		info, err := d.Info()
		if err != nil {
			return err
		}
		header := tar.Header{Typeflag: tar.TypeReg, Mode: int64(info.Mode().Perm())}
		switch {
		case d.IsDir():
			header.Typeflag = tar.TypeDir
		case d.Type() == fs.ModeSymlink:
			header.Typeflag, header.Mode = tar.TypeSymlink, 0o777
			if header.Linkname, err = os.Readlink(p); err != nil {
				return err
			}
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is neither file, directory nor link", p)
		case mode != 0:
			header.Mode = int64(mode.Perm())
		}
		if to != "." && to != "" {
			entries[to] = entry{header: header, source: p}
		}
		return nil
	})
}
