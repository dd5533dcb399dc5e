// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Debian is a tree of files out of packages of this machine's distribution: all that the packages ship (but for
// documentation), and the shared libraries that their programs need, out of the packages that they depend on. No
// maintainer script runs. apt checks signatures and hashes.
type Debian struct {
	Packages []string
	// For, when set, is a program from elsewhere: then the tree is only the libraries that it needs, out of Packages and
	// what they depend on.
	For Source
}

// Name implements Source.
func (d *Debian) Name() string {
	if d.For != nil {
		return "libraries/" + filepath.Base(d.For.Name())
	}
	return "debian/" + d.Packages[0]
}

// Place implements Source: the result is a directory.
func (d *Debian) Place(key string) string {
	return "trees/" + strings.ReplaceAll(d.Name(), "/", "-") + "-" + key
}

// archiveLine matches the file name in a line of apt-get --print-uris: 'URI' NAME SIZE HASH.
var archiveLine = regexp.MustCompile(`(?m)^'\S+' (\S+\.deb) `)

// Key implements Source: the versions of the packages and of all that they depend on, as apt would install them now.
func (d *Debian) Key(ctx context.Context, s *Store) (string, error) {
	names, err := d.archives(ctx, s)
	if err != nil {
		return "", err
	}
	h := newHasher("debian", 1)
	h.add(s.Arch)
	h.add(d.Packages...)
	h.add(names...)
	if d.For != nil {
		item, err := s.Look(ctx, d.For)
		if err != nil {
			return "", err
		}
		h.add(item.Key)
	}
	return h.sum(), nil
}

// archives returns the file names of the packages and of all that they depend on, sorted; they have the versions.
func (d *Debian) archives(ctx context.Context, s *Store) ([]string, error) {
	uris, err := d.apt(ctx, s, "--print-uris")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range archiveLine.FindAllStringSubmatch(string(uris), -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("apt names no archives for %s", strings.Join(d.Packages, ", "))
	}
	slices.Sort(names)
	return names, nil
}

// apt resolves the packages as if nothing were installed, so that the answer has all that they depend on.
func (d *Debian) apt(ctx context.Context, s *Store, options ...string) ([]byte, error) {
	args := []string{
		"-o", "Dir::State::status=/dev/null", "-o", "APT::Architecture=" + s.Arch, "-o", "APT::Sandbox::User=root",
		"-o", "Debug::NoLocking=true", "-qq", "-y",
	}
	// Machines made from container images have apt read all its lists anew each time, which takes it a second more.
	cache := filepath.Join(s.Dir, "apt", s.Arch+"-cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("making a directory of the cache: %w", err)
	}
	args = append(args, "-o", "Dir::Cache="+cache, "-o", "Dir::Cache::pkgcache=pkgcache.bin", "-o", "Dir::Cache::srcpkgcache=srcpkgcache.bin")
	if s.Arch != runtime.GOARCH {
		lists, err := foreignLists(ctx, s)
		if err != nil {
			return nil, err
		}
		args = append(args, lists...)
	}
	args = append(append(args, options...), "--no-install-recommends", "install")
	out, err := output(ctx, "", []string{"LC_ALL=C"}, "apt-get", append(args, d.Packages...)...)
	if err != nil {
		return nil, fmt.Errorf("%w (hint: apt-get update)", err)
	}
	return out, nil
}

// foreignLists returns the options by which apt knows the packages of another architecture than this machine's: from
// lists in the cache, got once a day. The machine's own stay as they are.
func foreignLists(ctx context.Context, s *Store) ([]string, error) {
	unlock, err := lockFile(ctx, filepath.Join(s.Dir, "locks", "apt-"+s.Arch))
	if err != nil {
		return nil, err
	}
	defer unlock()
	dir := filepath.Join(s.Dir, "apt", s.Arch)
	options := []string{"-o", "Dir::State::lists=" + dir, "-o", "APT::Architectures=" + s.Arch}
	stamp := filepath.Join(dir, "updated")
	if info, err := os.Stat(stamp); err == nil && time.Since(info.ModTime()) < 24*time.Hour {
		return options, nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
		return nil, fmt.Errorf("making a directory of the cache: %w", err)
	}
	args := append([]string{"-o", "APT::Architecture=" + s.Arch, "-o", "APT::Sandbox::User=root", "-qq"}, options...)
	if _, err := output(ctx, "", []string{"LC_ALL=C"}, "apt-get", append(args, "update")...); err != nil {
		return nil, err
	}
	if err := os.WriteFile(stamp, nil, 0o644); err != nil {
		return nil, fmt.Errorf("marking the lists of packages: %w", err)
	}
	return options, nil
}

// Build implements Source.
func (d *Debian) Build(ctx context.Context, s *Store, dst string) error {
	debs, all := dst+".debs", dst+".all" // beside the result, in the directory that is removed after the build
	for _, dir := range []string{filepath.Join(debs, "partial"), all, dst} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if _, err := d.apt(ctx, s, "--download-only", "-o", "Dir::Cache::archives="+debs); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range files {
		into := []string{all}
		if pkg, _, _ := strings.Cut(filepath.Base(deb), "_"); d.For == nil && slices.Contains(d.Packages, pkg) {
			into = append(into, dst)
		}
		for _, dir := range into {
			if _, err := output(ctx, "", nil, "dpkg-deb", "--extract", deb, dir); err != nil {
				return err
			}
		}
	}
	for _, dir := range []string{"usr/share/doc", "usr/share/man", "usr/share/lintian", "usr/share/locale"} {
		if err := os.RemoveAll(filepath.Join(dst, dir)); err != nil {
			return err
		}
	}
	programs, err := d.programs(ctx, s, dst)
	if err != nil {
		return err
	}
	return addLibraries(programs, all, dst)
}

// programs returns the files whose libraries the tree needs.
func (d *Debian) programs(ctx context.Context, s *Store, dst string) ([]string, error) {
	if d.For != nil {
		item, err := s.Get(ctx, d.For)
		return []string{item.Path}, err
	}
	var files []string
	err := filepath.WalkDir(dst, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	})
	return files, err
}

// errNoLibrary says that no package has a library.
var errNoLibrary = errors.New("no package has it (hint: name the package that ships it)")
