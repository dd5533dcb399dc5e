// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Derivation says what a directory was derived from: derived.json in it. Paths are relative to that directory, so that a
// clone anywhere derives the same.
type Derivation struct {
	Run          string            `json:"run"`
	Figures      string            `json:"figures,omitempty"` // file that declares the figures; empty: the usual ones
	Architecture string            `json:"architecture"`      // GOARCH; floating-point results may differ in the last digit on others
	Files        map[string]string `json:"files"`             // SHA-256 by name, as they were written
}

// Record writes dir's derived.json after the named files were written there. What an earlier derivation left and this one
// does not have is removed, unless somebody changed it.
func Record(dir, run, figures string, names []string) error {
	d := Derivation{Architecture: runtime.GOARCH, Files: map[string]string{}}
	before, err := readDerivation(dir)
	if err != nil {
		before = Derivation{} // it is replaced
	}
	if d.Run, err = relative(dir, run); err != nil {
		return err
	}
	if figures != "" {
		if d.Figures, err = relative(dir, figures); err != nil {
			return err
		}
	}
	for _, name := range names {
		if d.Files[name], err = results.SumFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for name, recorded := range before.Files {
		path := filepath.Join(dir, name)
		if _, again := d.Files[name]; again || name != filepath.Base(name) {
			continue
		}
		if sum, err := results.SumFile(path); err != nil || sum != recorded {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing what was derived before: %w", err)
		}
	}
	return results.WriteJSON(filepath.Join(dir, DerivedFile), d)
}

// relative is path as seen from dir, with slashes.
func relative(dir, path string) (string, error) {
	from, err := filepath.Abs(dir)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err == nil {
		path, err = filepath.Rel(from, path)
	}
	if err != nil {
		return "", fmt.Errorf("naming %s relative to %s: %w", path, dir, err)
	}
	return filepath.ToSlash(path), nil
}

// readDerivation reads what dir was derived from. A directory of figures in a run, from before there was a derived.json, was
// derived from that run.
func readDerivation(dir string) (Derivation, error) {
	path := filepath.Join(dir, DerivedFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Derivation{Run: "..", Architecture: runtime.GOARCH}, nil
	}
	if err != nil {
		return Derivation{}, fmt.Errorf("reading %s: %w", path, err)
	}
	var d Derivation
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("parsing %s: %w", path, err)
	}
	if d.Run == "" {
		return d, fmt.Errorf("parsing %s: it names no run", path)
	}
	return d, nil
}

// command is what derives dir again.
func (d *Derivation) command(dir string) string {
	run := filepath.Join(dir, filepath.FromSlash(d.Run))
	command := "analyze"
	if d.Figures != "" {
		command += " --figures " + filepath.Join(dir, filepath.FromSlash(d.Figures))
	}
	if filepath.Join(run, results.FiguresDir) != filepath.Clean(dir) {
		command += " --out " + filepath.Clean(dir)
	}
	return command + " " + run
}

// derived derives the files of dir again and compares them.
func (v *Verifier) derived(ctx context.Context, dir string) {
	d, err := readDerivation(dir)
	if err != nil {
		v.fails(Figures, dir, "%v", err)
		return
	}
	run, err := v.Open(filepath.Join(dir, filepath.FromSlash(d.Run)))
	if err != nil {
		v.fails(Figures, dir, "the run that it was derived from: %v", err)
		return
	}
	figures := d.Figures
	if figures != "" {
		figures = filepath.Join(dir, filepath.FromSlash(figures))
	}
	files, err := v.Derive(ctx, run, figures)
	if err != nil {
		v.fails(Figures, dir, "deriving it again: %v", err)
		return
	}
	wrong := 0
	fail := func(name, format string, a ...any) {
		wrong++
		v.fails(Figures, filepath.Join(dir, name), format, a...)
	}
	known := map[string]bool{DerivedFile: true}
	for _, f := range files {
		known[f.Name] = true
		if ctx.Err() != nil {
			return
		}
		if err := v.compare(dir, f, d); err != nil {
			fail(f.Name, "%v", err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		fail("", "listing it: %v", err)
	}
	for _, e := range entries {
		if !known[e.Name()] {
			fail(e.Name(), "nothing derives it (hint: remove it, or put it elsewhere)")
		}
	}
	if wrong == 0 {
		v.holds(Figures, dir, "%d files are what %s gives", len(files), run.Dir)
	}
}

// compare says how the file in dir differs from what is derived now.
func (v *Verifier) compare(dir string, f File, d Derivation) error {
	var want bytes.Buffer
	if err := f.Write(&want); err != nil {
		return fmt.Errorf("deriving it again: %w", err)
	}
	got, err := os.ReadFile(filepath.Join(dir, f.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("is missing (hint: %s)", d.command(dir))
	}
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	if bytes.Equal(got, want.Bytes()) {
		return nil
	}
	sum := sha256.Sum256(got)
	untouched := d.Files[f.Name] == hex.EncodeToString(sum[:])
	if untouched && d.Architecture != runtime.GOARCH {
		if alike(f.Name, got, want.Bytes()) == nil {
			return nil
		}
	}
	switch {
	case untouched:
		return fmt.Errorf("is not what the run gives now: data, figures or program were changed since it was drawn (hint: %s, and look at the difference)", d.command(dir))
	case d.Files[f.Name] != "":
		return fmt.Errorf("was edited by hand: it is neither what analyze wrote nor what the run gives (hint: %s)", d.command(dir))
	default:
		return fmt.Errorf("is not what the run gives (hint: %s)", d.command(dir))
	}
}
