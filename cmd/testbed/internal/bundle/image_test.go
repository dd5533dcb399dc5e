// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// tree is a source of a directory with a program, a link to it and an empty directory.
type tree struct{ note }

func (t *tree) Build(_ context.Context, _ *Store, dst string) error {
	return errors.Join(
		os.MkdirAll(filepath.Join(dst, "usr/bin"), 0o755),
		os.Mkdir(filepath.Join(dst, "empty"), 0o700),
		os.WriteFile(filepath.Join(dst, "usr/bin/x"), []byte("program"), 0o755),
		os.Symlink("x", filepath.Join(dst, "usr/bin/y")),
	)
}

func TestImageHoldsItsFiles(t *testing.T) {
	s := testStore(t)
	img := &Image{
		Repository: "x", Tag: "1", Entrypoint: []string{"/usr/bin/x"}, Args: []string{"-a"}, User: "5:6", Env: []string{"A=b"},
		Files: []File{
			{Path: "/", From: &tree{note{text: "t"}}},
			{Path: "/etc/x.conf", Text: "first"},
			{Path: "/etc/x.conf", Text: "second", Mode: 0o600},
			{Path: "/tmp", Mode: 0o777 | fs.ModeSticky},
			{Path: "/LICENSE", Local: "go.mod"},
		},
	}
	item, err := s.Get(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tarball.ImageFromPath(item.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := got.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Config
	if diff := cmp.Diff([]any{[]string{"/usr/bin/x"}, []string{"-a"}, "5:6", "A=b", s.Arch}, []any{c.Entrypoint, c.Cmd, c.User, c.Env[1], config.Architecture}); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	layers, err := got.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatal(len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var files []string
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch()) || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s: time %s, owner %d:%d", h.Name, h.ModTime, h.Uid, h.Gid)
		}
		files = append(files, fmt.Sprintf("%s %o %s", h.Name, h.Mode, h.Linkname))
		if text, _ := io.ReadAll(archive); h.Name == "etc/x.conf" && string(text) != "second" {
			t.Errorf("%s holds %q", h.Name, text)
		}
	}
	want := []string{
		"LICENSE 644 ", "empty/ 700 ", "etc/ 755 ", "etc/x.conf 600 ", "tmp/ 1777 ", "usr/ 755 ", "usr/bin/ 755 ", "usr/bin/x 755 ", "usr/bin/y 777 x",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestImageIsTheSameEveryTime(t *testing.T) {
	var archives [2][]byte
	var keys [2]string
	for i := range archives {
		item, err := testStore(t).Get(t.Context(), pause())
		if err != nil {
			t.Fatal(err)
		}
		if archives[i], err = os.ReadFile(item.Path); err != nil {
			t.Fatal(err)
		}
		keys[i] = item.Key
	}
	if keys[0] != keys[1] || !bytes.Equal(archives[0], archives[1]) {
		t.Errorf("keys %v, archives equal: %v", keys, bytes.Equal(archives[0], archives[1]))
	}
}

func TestImageKeyFollowsItsInputs(t *testing.T) {
	s := testStore(t)
	base := func() *Image {
		return &Image{Repository: "x", Tag: "1", Files: []File{{Path: "/a", From: &note{text: "1"}}, {Path: "/b", Text: "b"}}}
	}
	want, err := base().Key(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Image){
		"source":     func(i *Image) { i.Files[0].From = &note{text: "2"} },
		"text":       func(i *Image) { i.Files[1].Text = "c" },
		"path":       func(i *Image) { i.Files[1].Path = "/c" },
		"mode":       func(i *Image) { i.Files[1].Mode = 0o600 },
		"tag":        func(i *Image) { i.Tag = "2" },
		"entrypoint": func(i *Image) { i.Entrypoint = []string{"/a"} },
		"user":       func(i *Image) { i.User = "1:1" },
		"local":      func(i *Image) { i.Files[1] = File{Path: "/b", Local: "go.mod"} },
	} {
		img := base()
		change(img)
		if got, err := img.Key(t.Context(), s); err != nil || got == want {
			t.Errorf("%s: key %s as before, error %v", name, got, err)
		}
	}
}

func TestImageRefusesOddPaths(t *testing.T) {
	for _, path := range []string{"a", "/a/", "/../a", ""} {
		img := &Image{Repository: "x", Tag: "1", Files: []File{{Path: path, Text: "t"}}}
		if _, err := testStore(t).Get(t.Context(), img); err == nil {
			t.Errorf("%q was taken", path)
		}
	}
}
