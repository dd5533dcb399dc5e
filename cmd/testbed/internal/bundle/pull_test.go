// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// publish has a registry on this machine hold an image for two architectures, of several layers each, and returns it by its digest.
func publish(t *testing.T) (from string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(1000, 3)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		config.OS, config.Architecture, config.Config = "linux", arch, v1.Config{Entrypoint: []string{"/run-" + arch}, User: "101"}
		if img, err = mutate.ConfigFile(img, config); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	tag, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/maker/proxy:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return tag.Context().Digest(digest.String()).String()
}

// TestPulledImage: an image of a registry is the nodes' architecture's, has one layer with all its files, and runs as its maker says.
func TestPulledImage(t *testing.T) {
	from := publish(t)
	for _, arch := range []string{"amd64", "arm64"} {
		s := testStore(t)
		s.Arch = arch
		item, err := s.Get(t.Context(), &Image{Repository: "proxy", Tag: "1", From: from})
		if err != nil {
			t.Fatal(err)
		}
		tag, err := name.NewTag("testbed.local/proxy:1")
		if err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(item.Path, &tag)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]any{arch, []string{"/run-" + arch}, "101", 1}, []any{config.Architecture, config.Config.Entrypoint, config.Config.User, len(config.RootFS.DiffIDs)}); diff != "" {
			t.Errorf("configuration (-want +got):\n%s", diff)
		}
		if err := validateLayers(img); err != nil {
			t.Error(err)
		}
	}
}

// validateLayers reads an image's layers, which are held against their digests.
func validateLayers(img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
		if n < 3*1000 {
			return errors.New("not all files are in it")
		}
	}
	return nil
}

func TestPullRefuses(t *testing.T) {
	from := publish(t)
	for name, test := range map[string]struct {
		from, arch, want string
	}{
		"a tag":                      {strings.Replace(from, from[strings.Index(from, "@"):], ":1", 1), "arm64", "hint: host/path@sha256:…, since a tag can be moved"},
		"an architecture it lacks":   {from, "riscv64", "for riscv64"},
		"a digest that is not there": {from[:len(from)-64] + strings.Repeat("0", 64), "arm64", "no image from its registry"},
		"a registry that is away":    {"localhost:1/maker/proxy" + from[strings.Index(from, "@"):], "arm64", "hint: this machine must reach localhost:1"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := pull(t.Context(), test.from, test.arch); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
