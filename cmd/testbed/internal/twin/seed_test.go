// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
)

// testImage writes an image with one file, and returns it as a seed's.
func testImage(t *testing.T, dir, repository, content string) SeedImage {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: repository, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer.Bytes(), types.DockerUncompressedLayer))
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Architecture, config.OS = "amd64", "linux"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	i := SeedImage{Ref: "testbed.local/" + repository + ":1", File: filepath.Join(dir, repository+"-"+content+".tar"), Label: "key=" + content}
	tag, err := name.NewTag(i.Ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(i.File, tag, image); err != nil {
		t.Fatal(err)
	}
	return i
}

// files returns the content of all files that containerd has unpacked.
func files(t *testing.T, state string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(state, "io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/*"))
	if err != nil {
		t.Fatal(err)
	}
	var contents []string
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, filepath.Base(path)+" "+string(b))
	}
	slices.Sort(contents)
	return contents
}

func inode(t *testing.T, pattern string) uint64 {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) != 1 {
		t.Fatalf("%s: %q, error %v", pattern, paths, err)
	}
	info, err := os.Stat(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// A seed has the images that it shall have and no others, whatever the last one had; nodes share its files but its databases.
func TestSeed(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("containerd needs root")
		}
		t.Skip("NOT RUN: containerd needs root (hint: sudo make test)")
	}
	packages, err := bundle.NodePackages("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(home, "dnsingress")
	if dir := os.Getenv("TESTBED_CACHE_DIR"); dir != "" {
		cache = dir
	}
	base := BaseBuild{Cache: cache, Packages: packages, Mirror: os.Getenv("TESTBED_DEBIAN_MIRROR"), Out: t.Output()}
	if err := base.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	seed := SeedBuild{Cache: dir, Base: base.Path(), Out: t.Output()}
	build := func(images ...SeedImage) string {
		t.Helper()
		seed.Images = images
		if err := seed.Build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !seed.Cached() {
			t.Fatal("not cached after it was built")
		}
		return seed.Path()
	}
	first := build(testImage(t, dir, "a", "1"), testImage(t, dir, "b", "1"))
	if got := files(t, first); !slices.Equal(got, []string{"a 1", "b 1"}) {
		t.Errorf("the first seed has %q", got)
	}
	second := build(testImage(t, dir, "a", "1"), testImage(t, dir, "b", "2"), testImage(t, dir, "c", "1"))
	if got := files(t, second); !slices.Equal(got, []string{"a 1", "b 2", "c 1"}) {
		t.Errorf("the second seed has %q", got)
	}
	third := build(testImage(t, dir, "c", "1"))
	if got := files(t, third); !slices.Equal(got, []string{"c 1"}) {
		t.Errorf("the third seed has %q", got)
	}
	if got := files(t, first); !slices.Equal(got, []string{"a 1", "b 1"}) {
		t.Errorf("later seeds have changed the first: %q", got)
	}
	for _, n := range []string{"one", "two"} {
		tw := &Twin{dir: dir}
		for range 2 { // the second time it is there
			if err := tw.plant(t.Context(), n, third); err != nil {
				t.Fatal(err)
			}
		}
		state := filepath.Join(tw.nodeDir(n), "containerd")
		if got := files(t, state); !slices.Equal(got, []string{"c 1"}) {
			t.Errorf("node %s has %q", n, got)
		}
		const file, database = "io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/c", "io.containerd.snapshotter.v1.overlayfs/metadata.db"
		if inode(t, filepath.Join(state, file)) != inode(t, filepath.Join(third, file)) {
			t.Error("a node has a copy of what it could share")
		}
		if inode(t, filepath.Join(state, database)) == inode(t, filepath.Join(third, database)) {
			t.Error("a node shares a database")
		}
		if left, _ := filepath.Glob(filepath.Join(tw.nodeDir(n), "*.new")); len(left) > 0 {
			t.Errorf("left beside it: %q", left)
		}
	}
	if left := slices.DeleteFunc(entries(t, seed.parent()), func(name string) bool { return strings.HasPrefix(name, filepath.Base(seed.Base)+"-") }); !slices.Equal(left, []string{".root"}) {
		t.Errorf("left beside the seeds: %q", left)
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
