// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Manifest is a file of Kubernetes objects that another project ships in its Go module: custom resource definitions
// that its controller needs. They are applied once to a cluster, not copied into the repository.
type Manifest struct {
	Module string // directory of the go.mod that requires the other module: "tools/contour"
	Of     string // path of the other module
	File   string // in the other module
	As     string // name of the result
}

// Manifests returns the manifests among the sources.
func Manifests(sources []Source) []*Manifest {
	var manifests []*Manifest
	for _, src := range sources {
		if m, ok := src.(*Manifest); ok {
			manifests = append(manifests, m)
		}
	}
	return manifests
}

// Name implements Source.
func (m *Manifest) Name() string { return "manifest/" + m.As }

// Place implements Source: the result is one YAML file.
func (m *Manifest) Place(key string) string { return "manifests/" + m.As + "-" + key + ".yaml" }

// Key implements Source. The module's version is in go.mod, and go.sum answers for its content.
func (m *Manifest) Key(_ context.Context, s *Store) (string, error) {
	h := newHasher("manifest", 1)
	h.add(m.Of, m.File)
	dir := filepath.Join(s.Repo, filepath.FromSlash(m.Module))
	err := errors.Join(h.file("go.mod", filepath.Join(dir, "go.mod")), h.file("go.sum", filepath.Join(dir, "go.sum")))
	return h.sum(), err
}

// Build implements Source.
func (m *Manifest) Build(ctx context.Context, s *Store, dst string) error {
	dir := filepath.Join(s.Repo, filepath.FromSlash(m.Module))
	if _, err := output(ctx, dir, goEnv(s), "go", "mod", "download", m.Of); err != nil {
		return err
	}
	out, err := output(ctx, dir, goEnv(s), "go", "list", "-m", "-f", "{{.Dir}}", m.Of)
	if err != nil {
		return err
	}
	root := strings.TrimSpace(string(out))
	if root == "" {
		return fmt.Errorf("%s is not required by %s/go.mod", m.Of, m.Module)
	}
	return copyFile(filepath.Join(root, filepath.FromSlash(m.File)), dst, 0o644)
}
