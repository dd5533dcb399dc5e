// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// addLibraries copies into the tree dst what the dynamic loader would load for the programs: the loader itself and every
// library that is needed, directly or by a library, from the tree all, where they have the paths that they shall have in dst.
// Files that are no ELF programs are passed over.
func addLibraries(programs []string, all, dst string) error {
	queue := programs
	done := map[string]bool{} // base names of libraries
	for len(queue) > 0 {
		file := queue[0]
		queue = queue[1:]
		needed, loader, err := imports(file)
		if err != nil {
			return err
		}
		if loader != "" && !done[filepath.Base(loader)] {
			done[filepath.Base(loader)] = true
			if err := copyLinked(all, dst, loader); err != nil {
				return fmt.Errorf("copying the loader of %s: %w", filepath.Base(file), err)
			}
		}
		for _, lib := range needed {
			if done[lib] {
				continue
			}
			done[lib] = true
			at, ok := findLibrary(all, lib)
			if !ok {
				return fmt.Errorf("finding %s for %s: %w", lib, filepath.Base(file), errNoLibrary)
			}
			if err := copyLinked(all, dst, at); err != nil {
				return fmt.Errorf("copying %s: %w", lib, err)
			}
			queue = append(queue, filepath.Join(all, at))
		}
	}
	return nil
}

// imports returns the libraries and the loader that an ELF file names; nothing for any other file.
func imports(file string) (needed []string, loader string, err error) {
	f, err := elf.Open(file)
	if bad := (*elf.FormatError)(nil); errors.As(err, &bad) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, "", fmt.Errorf("reading the loader of %s: %w", file, err)
			}
			loader = strings.TrimRight(string(text), "\x00")
		}
	}
	if needed, err = f.ImportedLibraries(); err != nil {
		return nil, "", fmt.Errorf("reading the libraries of %s: %w", file, err)
	}
	return needed, loader, nil
}

// findLibrary looks for a library where Debian's loader would, and returns its absolute path in the tree.
func findLibrary(root, lib string) (string, bool) {
	for _, pattern := range []string{"/lib/*-linux-gnu", "/usr/lib/*-linux-gnu", "/lib", "/usr/lib", "/lib64"} {
		hits, err := filepath.Glob(filepath.Join(root, pattern, lib))
		if err == nil && len(hits) > 0 {
			return hits[0][len(root):], true
		}
	}
	return "", false
}

// copyLinked copies a file and every symbolic link on the way to it, at their own absolute paths, from one tree to another.
func copyLinked(from, to, at string) error {
	for range 10 {
		info, err := os.Lstat(filepath.Join(from, at))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(at)), 0o755); err != nil {
			return err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			return copyFile(filepath.Join(from, at), filepath.Join(to, at), info.Mode().Perm())
		}
		target, err := os.Readlink(filepath.Join(from, at))
		if err != nil {
			return err
		}
		if err := os.Symlink(target, filepath.Join(to, at)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		at = target
	}
	return fmt.Errorf("%s: too many links", at)
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
