// SPDX-License-Identifier: Apache-2.0

package fat_test

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
	"testing/fstest"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/fat"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/imagetest"
)

var kinds = []struct {
	name string
	kib  int
	args []string
}{
	{"12", 2048, []string{"-F", "12"}},
	{"16", 16384, []string{"-F", "16"}},
	{"32", 40960, []string{"-F", "32", "-s", "1"}},
	{"32 with large clusters", 300000, []string{"-F", "32", "-s", "8"}},
	{"16 with large sectors", 65536, []string{"-F", "16", "-S", "2048"}},
}

// volume makes a file system with mkfs.fat and mtools.
func volume(t *testing.T, kib int, args ...string) string {
	imagetest.Need(t, "mkfs.fat", "fsck.fat", "mtools")
	path := filepath.Join(t.TempDir(), "fat")
	imagetest.Run(t, "", "mkfs.fat", append(args, "--invariant", "-C", path, fmt.Sprint(kib))...)
	imagetest.Run(t, "", "mtools", "-c", "mmd", "-i", path, "::/overlays")
	for name, content := range theirs {
		imagetest.Copy(t, path, "::/"+name, content)
	}
	return path
}

// theirs is what mtools writes before us.
var theirs = map[string][]byte{
	"config.txt": []byte("arm_64bit=1\n"),
	"KERNEL.IMG": imagetest.Noise(200_001, 1),
	"a long name with blanks and ümläut.txt": imagetest.Noise(513, 2),
	"empty":                          nil,
	"overlays/disable-wifi-pi5.dtbo": imagetest.Noise(2000, 3),
}

func open(t *testing.T, path string) *fat.FS {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	v, err := fat.Open(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What is written is read by mtools byte for byte, fsck.fat finds nothing, and what was there is as it was.
func TestWrite(t *testing.T) {
	ours := map[string][]byte{
		"user-data":                  []byte("#cloud-config\n"),
		"meta-data":                  imagetest.Noise(4096, 4),
		"network-config":             imagetest.Noise(70_000, 5),
		"UPPER.TXT":                  []byte("no long name\n"),
		"lower.txt":                  []byte("short, but lower case\n"),
		"testbed/packages/a_1_b.deb": imagetest.Noise(300_000, 6),
		"testbed/naïve ☃.txt":        []byte("UTF-16\n"),
		"config.txt":                 imagetest.Noise(30_000, 7), // grows
		"KERNEL.IMG":                 imagetest.Noise(999, 8),    // shrinks
		"empty":                      []byte("no more\n"),
		"overlays/now empty.dtbo":    nil,
	}
	for i := range 60 { // more than a cluster of a directory
		ours[fmt.Sprintf("testbed/a file of many with a long name %d.txt", i)] = fmt.Appendf(nil, "%d", i)
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			path := volume(t, k.kib, k.args...)
			v := open(t, path)
			free := v.Free()
			for _, dir := range []string{"testbed", "testbed/packages", "testbed"} {
				if err := v.Mkdir(dir); err != nil {
					t.Fatal(err)
				}
			}
			for name := range ours { // what is replaced gives its clusters back
				if err := v.WriteFile(name, bytes.NewReader(make([]byte, 5000)), 5000); err != nil {
					t.Fatal(err)
				}
			}
			for name, content := range ours {
				if err := v.WriteFile(name, bytes.NewReader(content), int64(len(content))); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.SetLabel("CIDATA"); err != nil {
				t.Fatal(err)
			}
			if err := v.Flush(); err != nil {
				t.Fatal(err)
			}
			if now := v.Free(); now >= free || free-now > 800_000+120*4096 {
				t.Errorf("%d bytes were free, now %d", free, now)
			}
			if out := imagetest.Run(t, "", "fsck.fat", "-n", "-v", path); strings.Contains(out, "Free cluster summary wrong") || strings.Contains(out, "differ") {
				t.Errorf("fsck.fat: %s", out)
			}
			if out := imagetest.Run(t, "", "mtools", "-c", "mlabel", "-i", path, "-s", "::"); !strings.Contains(out, "CIDATA") {
				t.Errorf("label: %s", out)
			}
			want := map[string][]byte{}
			for name, content := range theirs {
				want[name] = content
			}
			for name, content := range ours {
				want[name] = content
			}
			again, all := open(t, path), imagetest.ExtractAll(t, path)
			for name, content := range want {
				if got, err := os.ReadFile(filepath.Join(all, name)); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s: mtools reads %d bytes, %v; written were %d", name, len(got), err, len(content))
				}
				if got, err := again.ReadFile(name); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s: %d bytes, %v; written were %d", name, len(got), err, len(content))
				}
			}
			if err := fstest.TestFS(again.Files(), "config.txt", "overlays/disable-wifi-pi5.dtbo", "testbed/packages/a_1_b.deb"); err != nil {
				t.Error(err)
			}
		})
	}
}

// The same changes give the same bytes, whenever they are made.
func TestReproducible(t *testing.T) {
	path := volume(t, 40960, "-F", "32", "-s", "1")
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var made [2][]byte
	for i := range made {
		path := filepath.Join(t.TempDir(), "copy")
		if err := os.WriteFile(path, src, 0o644); err != nil {
			t.Fatal(err)
		}
		v := open(t, path)
		for _, err := range []error{
			v.Mkdir("testbed"),
			v.WriteFile("testbed/file", strings.NewReader("content"), 7),
			v.WriteFile("config.txt", strings.NewReader("more"), 4),
			v.Flush(),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if made[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("two copies differ")
	}
}

func TestErrors(t *testing.T) {
	path := volume(t, 2048, "-F", "12", "-r", "16")
	v := open(t, path)
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"no space", v.WriteFile("big", bytes.NewReader(make([]byte, 4<<20)), 4<<20), "writing big: no space"},
		{"short source", v.WriteFile("short", strings.NewReader("x"), 2), "writing short: unexpected EOF"},
		{"no directory", v.WriteFile("nowhere/x", strings.NewReader("x"), 1), "directory nowhere: file does not exist"},
		{"a file as directory", v.WriteFile("config.txt/x", strings.NewReader("x"), 1), "config.txt is no directory"},
		{"a directory as file", v.WriteFile("overlays", strings.NewReader("x"), 1), "it is a directory"},
		{"name", v.WriteFile("a:b", strings.NewReader("x"), 1), "invalid argument as a name on FAT"},
		{"too large", v.WriteFile("x", strings.NewReader("x"), 1<<32), "more than a file on FAT can have"},
		{"label", v.SetLabel("lower"), "invalid argument as a label"},
		{"directory over file", v.Mkdir("config.txt"), "there is a file of that name"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", c.name, c.err, c.want)
		}
	}
	if _, err := v.ReadFile("nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	var err error
	for i := 0; err == nil && i < 20; i++ {
		err = v.WriteFile(fmt.Sprintf("a name that needs slots %d", i), strings.NewReader(""), 0)
	}
	if err == nil || !strings.Contains(err.Error(), "the root directory is full: it holds 16 entries") {
		t.Errorf("a full root directory: %v", err)
	}
}

// memory is a device that lasts as long as a fuzz input.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[off:], p), nil
}

// The seed is a file system of 64 KiB that mkfs.fat and mtools made.
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
		v, err := fat.Open(memory(bytes.Clone(b)), int64(len(b)))
		if err != nil {
			return
		}
		list, err := v.List("/")
		if err != nil {
			return
		}
		for _, e := range list {
			if _, err := v.List(e.Name); e.Dir && err != nil {
				continue
			}
			_, _ = v.ReadFile(e.Name)
		}
		if err := v.WriteFile("user-data", strings.NewReader("content"), 7); err != nil || v.Flush() != nil {
			return
		}
		if got, err := v.ReadFile("user-data"); err != nil || string(got) != "content" {
			t.Errorf("written and read: %q, %v", got, err)
		}
	})
}
