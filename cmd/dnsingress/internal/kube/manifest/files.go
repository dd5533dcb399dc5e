// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
)

// Read reads the manifests of files, and of directories with all below them; - is stdin. It always gives a set: what
// cannot be read is among its Errors.
func Read(paths []string, stdin io.Reader, settings *objects.Settings) *Set {
	s := NewSet(settings)
	for _, path := range paths {
		switch info, err := os.Stat(path); {
		case path == "-":
			data, err := io.ReadAll(stdin)
			if err != nil {
				s.errs = append(s.errs, fmt.Errorf("reading standard input: %w", err))
				continue
			}
			s.Add("standard input", data)
		case err != nil:
			s.errs = append(s.errs, fmt.Errorf("reading manifests: %w", err))
		case !info.IsDir():
			s.open(path)
		default:
			files, _, err := walk(path)
			if err != nil {
				s.errs = append(s.errs, err)
			}
			if err == nil && len(files) == 0 {
				s.errs = append(s.errs, fmt.Errorf("reading manifests: %s holds none (hint: %s)", path, strings.Join(extensions, ", ")))
			}
			for _, f := range files {
				s.open(f)
			}
		}
	}
	return s
}

func (s *Set) open(path string) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) { // it has just gone
		return
	}
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("reading manifests: %w", err))
		return
	}
	s.Add(path, data)
}

// extensions are what the names of manifests in a directory end with.
var extensions = []string{"*.yaml", "*.yml", "*.json"}

// walk finds the manifests in and below a directory, in order, and the directories. What begins with a dot does not count,
// as in a mounted ConfigMap, nor does what tells Kustomize of the others.
func walk(root string) (found, dirs []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != root: // it has just gone
			return nil
		case err != nil:
			return err
		case path != root && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir():
			dirs = append(dirs, path)
		case d.Name() == "kustomization.yaml" || d.Name() == "kustomization.yml":
		case slices.ContainsFunc(extensions, func(e string) bool { ok, _ := filepath.Match(e, d.Name()); return ok }):
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return found, dirs, fmt.Errorf("reading manifests: %w", err)
	}
	return found, dirs, nil
}
