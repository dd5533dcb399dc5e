// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Archives are the nodes' Debian packages as they are, and all that they depend on: what a node installs without network.
type Archives struct{}

// Name implements Source.
func (*Archives) Name() string { return "packages" }

// Place implements Source: the result is a directory of .deb files.
func (*Archives) Place(key string) string { return "packages/" + key }

// Key implements Source: the versions that apt would install now.
func (*Archives) Key(ctx context.Context, s *Store) (string, error) {
	d, err := nodes(s)
	if err != nil {
		return "", err
	}
	names, err := d.archives(ctx, s)
	if err != nil {
		return "", err
	}
	h := newHasher("archives", 1)
	h.add(s.Arch)
	h.add(names...)
	return h.sum(), nil
}

// Build implements Source.
func (*Archives) Build(ctx context.Context, s *Store, dst string) error {
	d, err := nodes(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dst, "partial"), 0o755); err != nil {
		return err
	}
	if _, err := d.apt(ctx, s, "--download-only", "-o", "Dir::Cache::archives="+dst); err != nil {
		return err
	}
	if err := errors.Join(os.Remove(filepath.Join(dst, "partial")), removeExcept(dst, ".deb")); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(dst, "*.deb"))
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("apt fetched nothing for %s", strings.Join(d.Packages, ", "))
	}
	return err
}

func nodes(s *Store) (*Debian, error) {
	packages, err := NodePackages(s.Repo)
	return &Debian{Packages: packages}, err
}

// removeExcept removes the files of a directory that do not end so, as apt's lock.
func removeExcept(dir, suffix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// NodePackages returns the Debian packages of the nodes: the list of the repository that the Ansible roles install from, so
// that on the twin they find everything there.
func NodePackages(repo string) ([]string, error) {
	path := filepath.Join(repo, "ansible/group_vars/all.yml")
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the nodes' packages: %w", err)
	}
	var vars struct {
		Packages []string `yaml:"packages"`
	}
	if err := yaml.Unmarshal(src, &vars); err != nil {
		return nil, fmt.Errorf("reading the nodes' packages from %s: %w", path, err)
	}
	if len(vars.Packages) == 0 {
		return nil, fmt.Errorf("reading the nodes' packages: %s has no list %q", path, "packages")
	}
	packageName := regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]+$`)
	for _, name := range vars.Packages {
		if !packageName.MatchString(name) {
			return nil, fmt.Errorf("reading the nodes' packages: %s: %q is no name of a Debian package", path, name)
		}
	}
	return vars.Packages, nil
}
