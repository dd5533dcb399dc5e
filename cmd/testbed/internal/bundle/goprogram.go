// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// GoProgram is a static program, built by the go command without cgo.
type GoProgram struct {
	Module  string   // directory of the go.mod, from the repository's root: ".", "tools/contour"
	Package string   // "./cmd/dnsingress", "./" for the module's root, or the import path of a package that the module requires
	LDFlags string   // besides -s -w
	Tags    []string // build tags
}

// Name implements Source.
func (p *GoProgram) Name() string { return "program/" + p.base() }

func (p *GoProgram) base() string {
	if p.Package == "./" {
		return filepath.Base(p.Module)
	}
	return filepath.Base(p.Package)
}

// Place implements Source: the result is one executable file.
func (p *GoProgram) Place(key string) string { return "bin/" + p.base() + "-" + key }

// Key implements Source. Packages of the repository count with their files, those of other modules with the module's
// version, for which go.sum answers.
func (p *GoProgram) Key(ctx context.Context, s *Store) (string, error) {
	h := newHasher("go program", 1)
	h.add(s.Arch, p.Package, p.LDFlags, strings.Join(p.Tags, ","))
	dir := filepath.Join(s.Repo, p.Module)
	version, err := output(ctx, dir, goEnv(s), "go", "env", "GOVERSION")
	if err != nil {
		return "", err
	}
	h.add(string(version))
	if !strings.HasPrefix(p.Package, "./") {
		// Nothing of it is in the repository: its go.mod and go.sum say all, and are read in no time.
		err := errors.Join(h.file("go.mod", filepath.Join(dir, "go.mod")), h.file("go.sum", filepath.Join(dir, "go.sum")))
		return h.sum(), err
	}
	list, err := output(ctx, dir, goEnv(s), "go", "list", "-deps", "-tags="+strings.Join(p.Tags, ","),
		"-json=ImportPath,Dir,Standard,Module,GoFiles,SFiles,EmbedFiles", p.Package)
	if err != nil {
		return "", err
	}
	if err := addPackages(h, list); err != nil {
		return "", err
	}
	return h.sum(), nil
}

// addPackages puts the packages that `go list -json` printed into the key.
func addPackages(h *hasher, list []byte) error {
	type module struct {
		Path, Version string
		Main          bool
		Replace       *module
	}
	for dec := json.NewDecoder(bytes.NewReader(list)); ; {
		var pkg struct {
			ImportPath, Dir             string
			Standard                    bool
			Module                      *module
			GoFiles, SFiles, EmbedFiles []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading go list's output: %w", err)
		}
		if pkg.Standard {
			continue
		}
		h.add(pkg.ImportPath)
		if m := pkg.Module; !m.Main {
			if m.Replace != nil {
				m = m.Replace
			}
			h.add(m.Path, m.Version)
			continue
		}
		for _, name := range slices.Concat(pkg.GoFiles, pkg.SFiles, pkg.EmbedFiles) {
			if err := h.file(name, filepath.Join(pkg.Dir, name)); err != nil {
				return err
			}
		}
	}
}

// Build implements Source.
func (p *GoProgram) Build(ctx context.Context, s *Store, dst string) error {
	// -buildvcs=false: the result must be the same for the same key, whatever commit it is built at.
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags=" + strings.Join(p.Tags, ","), "-ldflags", strings.TrimSpace("-s -w " + p.LDFlags), "-o", dst, p.Package}
	_, err := output(ctx, filepath.Join(s.Repo, p.Module), goEnv(s), "go", args...)
	return err
}

// goEnv is the environment of every build: a static program for the nodes, from the module's own go.mod alone.
func goEnv(s *Store) []string {
	return []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + s.Arch, "GOFLAGS=", "GOWORK=off"}
}
