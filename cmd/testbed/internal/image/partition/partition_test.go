// SPDX-License-Identifier: Apache-2.0

package partition_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/imagetest"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/partition"
)

const mib = 1 << 20

// disk makes a disk of 64 MiB with sfdisk.
func disk(t testing.TB, script string) string {
	imagetest.Need(t, "sfdisk")
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64*mib); err != nil {
		t.Fatal(err)
	}
	imagetest.Run(t, script, "sfdisk", "-q", path)
	return path
}

const (
	mbr = "label: dos\nlabel-id: 0x5ce7a1b0\n2048,16384,c\n18432,32768,83\n"
	gpt = "label: gpt\n2048,2048,21686148-6449-6E6F-744E-656564454649\n4096,16384,U\n,,L\n"
)

// What sfdisk wrote is read as sfdisk itself tells it.
func TestRead(t *testing.T) {
	for name, script := range map[string]string{"mbr": mbr, "gpt": gpt, "extended": mbr + "51200,,E\n"} {
		t.Run(name, func(t *testing.T) {
			path := disk(t, script)
			var said struct {
				PartitionTable struct {
					Label      string
					Partitions []struct {
						Start, Size int64
						Type, UUID  string
					}
				}
			}
			if err := json.Unmarshal([]byte(imagetest.Run(t, "", "sfdisk", "-J", path)), &said); err != nil {
				t.Fatal(err)
			}
			want := &partition.Table{Kind: strings.ReplaceAll(said.PartitionTable.Label, "dos", "mbr")}
			for i, p := range said.PartitionTable.Partitions {
				kind := strings.ToLower(p.Type)
				if len(kind) == 1 {
					kind = "0" + kind
				}
				if kind == "05" {
					continue
				}
				uuid := strings.ToLower(p.UUID)
				if uuid == "" {
					uuid = "5ce7a1b0-0" + string(rune('1'+i))
				}
				want.Partitions = append(want.Partitions, partition.Partition{Number: i + 1, Start: p.Start * 512, Size: p.Size * 512, Type: kind, UUID: uuid})
			}
			got, err := partition.Read(open(t, path), 64*mib)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("table (-sfdisk +read):\n%s", d)
			}
		})
	}
}

func open(t testing.TB, path string) *os.File {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestBad(t *testing.T) {
	change := func(at int64, b ...byte) func(t *testing.T, f *os.File) {
		return func(t *testing.T, f *os.File) {
			if _, err := f.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, script string
		change       func(t *testing.T, f *os.File)
		size         int64
		want         string
	}{
		{"none", mbr, change(510, 0), 64 * mib, "no partition table"},
		{"cut short", mbr, nil, 20 * mib, "partition 2 ends at byte 26214400, the disk at 20971520 (hint: the image is cut short)"},
		{"overlap", mbr, change(446+16+8, 0, 16), 64 * mib, "partitions 1 and 2 overlap"},
		{"header", gpt, change(512+60, 0xff), 64 * mib, "the header's checksum is wrong"},
		{"entries", gpt, change(1024+200, 0xff), 64 * mib, "the entries' checksum is wrong"},
		{"no header", gpt, change(512, 'X'), 64 * mib, "no header behind the protective master boot record"},
		{"gpt cut short", gpt, nil, 20 * mib, "(hint: the image is cut short)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := os.OpenFile(disk(t, c.script), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if c.change != nil {
				c.change(t, f)
			}
			if _, err := partition.Read(f, c.size); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want …%s…", err, c.want)
			}
		})
	}
	if _, err := partition.Read(bytes.NewReader(make([]byte, mib)), mib); !errors.Is(err, partition.ErrNone) {
		t.Errorf("an empty disk: %v", err)
	}
}

// Seeds are the first 34 sectors of disks that sfdisk made.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"testdata/mbr.gz", "testdata/gpt.gz"} {
		f.Add(unzip(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := partition.Read(bytes.NewReader(b), 64*mib)
		if err != nil {
			return
		}
		for _, p := range table.Partitions {
			if p.Start < 512 || p.Size <= 0 || p.Start+p.Size > 64*mib {
				t.Errorf("%+v is not inside of the disk", p)
			}
		}
	})
}

// unzip reads a seed; UPDATE_GOLDEN makes them anew.
func unzip(f *testing.F, name string) []byte {
	if os.Getenv("UPDATE_GOLDEN") != "" {
		script := map[string]string{"testdata/mbr.gz": mbr, "testdata/gpt.gz": gpt}[name]
		b := make([]byte, 34*512)
		if _, err := open(f, disk(f, script)).ReadAt(b, 0); err != nil {
			f.Fatal(err)
		}
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(b); err != nil || w.Close() != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(name, z.Bytes(), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	z, err := gzip.NewReader(open(f, name))
	if err != nil {
		f.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		f.Fatal(err)
	}
	return b
}
