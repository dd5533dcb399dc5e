// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// SumsFile holds the SHA-256 of every recorded file, as sha256sum(1) writes and checks them.
	SumsFile = "SHA256SUMS"
	// FiguresDir is where analyze puts what it derives from a run. It is no part of what was recorded.
	FiguresDir = "figures"
)

// ErrUnsealed marks a run directory without SumsFile: nobody can say whether its files are those that were recorded.
var ErrUnsealed = errors.New("results: the run is not sealed")

// Sums returns the SHA-256, in hexadecimal, of every recorded file of the run in dir, by slashed path below dir.
func Sums(dir string) (map[string]string, error) {
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && name == FiguresDir:
			return fs.SkipDir
		case d.IsDir() || name == SumsFile:
			return nil
		}
		sum, err := SumFile(path)
		sums[filepath.ToSlash(name)] = sum
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hashing %s: %w", dir, err)
	}
	return sums, nil
}

// SumFile returns the SHA-256 of the file at path, in hexadecimal.
func SumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hashing %s: %w", path, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hashing %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Seal writes the SumsFile of the run in dir: from then on CheckSeal finds every change to what was recorded.
func Seal(dir string) error {
	sums, err := Sums(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&b, "%s  %s\n", sums[name], name)
	}
	return writeAtomic(filepath.Join(dir, SumsFile), []byte(b.String()))
}

// CheckSeal compares the files of the run in dir with its SumsFile and returns a sentence for each that was changed, is
// missing or was added, sorted by name. The error wraps ErrUnsealed where there is no SumsFile.
func CheckSeal(dir string) ([]string, error) {
	path := filepath.Join(dir, SumsFile)
	recorded, err := readSums(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no %s", ErrUnsealed, dir, SumsFile)
	}
	if err != nil {
		return nil, err
	}
	found, err := Sums(dir)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for name, sum := range recorded {
		switch got, ok := found[name]; {
		case !ok:
			wrong = append(wrong, name+" is missing")
		case got != sum:
			wrong = append(wrong, name+" is not what was recorded: its SHA-256 differs")
		}
	}
	for name := range found {
		if _, ok := recorded[name]; !ok {
			wrong = append(wrong, name+" was added after the run")
		}
	}
	slices.Sort(wrong)
	return wrong, nil
}

func readSums(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close()
	sums := map[string]string{}
	s := bufio.NewScanner(f)
	for line := 1; s.Scan(); line++ {
		sum, name, ok := strings.Cut(s.Text(), "  ")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size || !filepath.IsLocal(filepath.FromSlash(name)) {
			return nil, fmt.Errorf("parsing %s:%d: no line of sha256sum (hint: a hash, two spaces, a path below the run)", path, line)
		}
		sums[name] = sum
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return sums, nil
}
