// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"archive/tar"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
)

// TestArm64 builds or fetches for arm64 all that nodes need, and starts each program once under QEMU's user emulation. It
// takes half an hour with an empty build cache: make bundle-arm64. TESTBED_ARM64 names what to take of the bundle, "all" for
// everything.
func TestArm64(t *testing.T) {
	only := os.Getenv("TESTBED_ARM64")
	if only == "" {
		t.Skip("SKIPPED: it takes long (hint: make bundle-arm64)")
	}
	qemu, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		t.Fatalf("%v (hint: tools/bootstrap arm64)", err)
	}
	cache, err := cluster.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(cache, "../../../..")
	if err != nil {
		t.Fatal(err)
	}
	s.Arch = "arm64"
	sources := Catalog()
	for _, name := range []string{"testbed", "loadgen", "analyze"} { // dnsingress is in an image
		sources = append(sources, &GoProgram{Module: ".", Package: "./cmd/" + name})
	}
	if only != "all" {
		if sources, err = Choose(sources, strings.Split(only, ",")); err != nil {
			t.Fatal(err)
		}
	}
	for _, src := range sources {
		t.Run(strings.ReplaceAll(src.Name(), "/", "-"), func(t *testing.T) {
			item, err := s.Get(t.Context(), src)
			if errors.Is(err, errRegistry) { // where none is reached, all but one image still can be made
				t.Skip("NOT TESTED: ", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			root, probes := "", [][]string(nil)
			switch src := src.(type) {
			case *Kubernetes:
				root, probes = item.Path, src.Probes()
			case *GoProgram:
				root, probes = filepath.Dir(item.Path), [][]string{{filepath.Base(item.Path), "--help"}}
			case *Image:
				root, probes = unpackImage(t, item.Path), src.Probes
				if len(probes) == 0 {
					t.Error("nothing says how its programs are started")
				}
			}
			for _, probe := range probes {
				start(t, qemu, root, probe)
			}
		})
	}
}

// start runs a program of a tree under emulation.
func start(t *testing.T, qemu, root string, probe []string) {
	t.Helper()
	program := filepath.Join(root, probe[0])
	f, err := elf.Open(program)
	if err != nil {
		t.Error(err)
		return
	}
	f.Close()
	if f.Machine != elf.EM_AARCH64 {
		t.Errorf("%s is for %v", probe[0], f.Machine)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	begin := time.Now()
	out, err := exec.CommandContext(ctx, qemu, append([]string{"-L", root, program}, probe[1:]...)...).CombinedOutput()
	says, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || says == "" {
		t.Errorf("%s: %v\n%s", strings.Join(probe, " "), err, out)
		return
	}
	t.Logf("%-52s %5.1f s  %s", strings.Join(probe, " "), time.Since(begin).Seconds(), says)
}

// unpackImage returns a directory with the files of an image's archive.
func unpackImage(t *testing.T, archive string) string {
	t.Helper()
	img, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, error %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	root := t.TempDir()
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return root
		}
		if err == nil {
			err = unpackFile(files, h, filepath.Join(root, h.Name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func unpackFile(r io.Reader, h *tar.Header, path string) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(path, 0o755)
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, path)
	case tar.TypeReg:
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, h.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	}
	return fmt.Errorf("%s is neither file, directory nor link", h.Name)
}
