// SPDX-License-Identifier: Apache-2.0

package ext4_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/ext4"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/imagetest"
)

// files are what the file systems hold; one is larger than an extent of small blocks.
func files() map[string][]byte {
	list := map[string][]byte{
		"etc/hostname":             []byte("raspberrypi\n"),
		"usr/lib/os-release":       []byte("ID=debian\n"),
		"var/lib/dpkg/status":      imagetest.Noise(1<<20+3, 1),
		"large":                    imagetest.Noise(9<<20, 2),
		"empty":                    nil,
		"deep/er/and/deeper/still": []byte("x"),
	}
	for i := range 1500 { // a directory with an index
		list[fmt.Sprintf("many/a file with a name of some length, number %d", i)] = fmt.Appendf(nil, "%d", i)
	}
	return list
}

var links = map[string]string{
	"etc/os-release": "../usr/lib/os-release",
	"bin":            "usr/bin",
	"usr/bin":        "/deep",
	"long":           strings.Repeat("./", 40) + "etc/hostname", // does not fit the inode
	"loop":           "loop",
	"outside":        "../../../../etc/hostname",
}

func tree(t testing.TB) string {
	dir := filepath.Join(t.TempDir(), "tree")
	for name, content := range files() {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if _, err := sparse.WriteAt([]byte("end"), 5<<20); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Whatever mkfs.ext4 makes of a directory is read byte for byte.
func TestReadFile(t *testing.T) {
	imagetest.Need(t, "mkfs.ext4")
	dir := tree(t)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"as Debian 12 makes it", nil},
		{"small blocks", []string{"-b", "1024"}},
		{"no checksums, 32 bits", []string{"-O", "^metadata_csum,^64bit"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fs")
			imagetest.Run(t, "", "mkfs.ext4", append(c.args, "-q", "-L", "rootfs", "-d", dir, path, "48M")...)
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			v, err := ext4.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			if v.Label != "rootfs" {
				t.Errorf("label %q", v.Label)
			}
			all := files()
			want := map[string][]byte{
				"/etc/os-release": all["usr/lib/os-release"], "bin/er/and/deeper/still": all["deep/er/and/deeper/still"],
				"long": all["etc/hostname"], "outside": all["etc/hostname"], "sparse": append(make([]byte, 5<<20), "end"...),
			}
			for name, content := range all {
				if !strings.HasPrefix(name, "many/") || strings.HasSuffix(name, "77") {
					want[name] = content
				}
			}
			for name, content := range want {
				if got, err := v.ReadFile(name); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(content))
				}
			}
			for _, name := range []string{"nothing", "etc/nothing", "etc/hostname/x", "many/a file"} {
				if _, err := v.ReadFile(name); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", name, err)
				}
				if there, err := v.Exists(name); there || err != nil {
					t.Errorf("%s is there: %t, %v", name, there, err)
				}
			}
			if there, err := v.Exists("bin/er"); !there || err != nil {
				t.Errorf("bin/er is there: %t, %v", there, err)
			}
			for name, part := range map[string]string{"etc": "it is no file", "loop": "too many symbolic links"} {
				if _, err := v.ReadFile(name); err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %v, want …%s", name, err, part)
				}
			}
		})
	}
}

func TestNotExt4(t *testing.T) {
	imagetest.Need(t, "mkfs.ext4")
	if _, err := ext4.Open(bytes.NewReader(make([]byte, 1<<16))); !errors.Is(err, ext4.ErrNotExt4) {
		t.Errorf("zeros: %v", err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-t", "ext2"}, "no ext4 file system: its files are not mapped by extents"},
		{[]string{"-t", "ext4", "-O", "inline_data"}, "features that are not known here: 0x8000"},
	} {
		path := filepath.Join(t.TempDir(), "fs")
		imagetest.Run(t, "", "mke2fs", append(c.args, "-q", path, "4M")...)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := ext4.Open(f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want …%s", c.args, err, c.want)
		}
	}
}

// The seed is a file system of 256 KiB that mkfs.ext4 made.
func FuzzOpen(f *testing.F) {
	z, err := os.Open("testdata/small.gz")
	if err != nil {
		f.Fatal(err)
	}
	defer z.Close()
	r, err := gzip.NewReader(z)
	if err != nil {
		f.Fatal(err)
	}
	seed, err := io.ReadAll(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ext4.Open(bytes.NewReader(b))
		if err != nil {
			return
		}
		_, _ = v.ReadFile("/etc/os-release")
		_, _ = v.ReadFile("dir/file")
	})
}
