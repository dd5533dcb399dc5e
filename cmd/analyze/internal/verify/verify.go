// SPDX-License-Identifier: Apache-2.0

// Package verify checks that what is committed is what was measured and what follows from it.
//
//  1. Find walks paths for runs, for directories that analyze drew into (derived.json), for numbers.tex and for claims.yaml.
//  2. A run's files have the hashes that were recorded (results.CheckSeal) and are of the schema (schema.go).
//  3. Every figure, table and report is derived again and compared byte by byte (derived.go), with a numeric tolerance where it
//     was drawn on another architecture (alike.go).
//  4. numbers.tex is written again and compared, every claim is held against the data.
//
// Nothing ends the rest: whatever is wrong becomes a Finding that names the file.
package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/claim"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/numbers"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Checks that a Finding is of.
const (
	Hashes  = "hashes"
	Schema  = "schema"
	Figures = "figures"
	Numbers = "numbers"
	Claims  = "claims"
)

// Names of files that Find knows, besides a run's manifest.
const (
	DerivedFile = "derived.json"
	NumbersFile = "numbers.tex"
	ClaimsFile  = "claims.yaml"
)

// Finding is the outcome of one check.
type Finding struct {
	Check string `json:"check"`
	Path  string `json:"path"` // what was checked
	Holds bool   `json:"holds"`
	Says  string `json:"says"` // what was seen, or what is wrong and what to do
}

// Verifier holds what checks need of their caller.
type Verifier struct {
	// Open digests a run; it may remember runs.
	Open func(dir string) (*digest.Run, error)
	// Derive returns what analyze would write of the run, with the figures of the file (none: the usual ones).
	Derive func(ctx context.Context, run *digest.Run, figures string) ([]File, error)
	// Report is told every finding, as it comes.
	Report func(Finding)
}

// File is one derived file.
type File struct {
	Name  string
	Write func(io.Writer) error
}

// Found is what there is to verify, each sorted by path.
type Found struct {
	Runs    []string // directories
	Derived []string // directories
	Numbers []string // files
	Claims  []string // files
}

// Empty says that there is nothing to verify.
func (f *Found) Empty() bool {
	return len(f.Runs)+len(f.Derived)+len(f.Numbers)+len(f.Claims) == 0
}

// Find walks the paths, which may be directories or the files themselves.
func Find(paths []string) (*Found, error) {
	out := &Found{}
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if name := d.Name(); path != root && (name == ".git" || name == results.TrialsDir) {
					return fs.SkipDir
				}
				return nil
			}
			switch dir := filepath.Dir(path); d.Name() {
			case results.ManifestFile:
				out.Runs = append(out.Runs, dir)
				// Runs from before derived.json was written have figures too.
				if figures := filepath.Join(dir, results.FiguresDir); isDir(figures) {
					out.Derived = append(out.Derived, figures)
				}
			case DerivedFile:
				out.Derived = append(out.Derived, dir)
			case NumbersFile:
				out.Numbers = append(out.Numbers, path)
			case ClaimsFile:
				out.Claims = append(out.Claims, path)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("looking for what to verify: %w", err)
		}
	}
	for _, list := range []*[]string{&out.Runs, &out.Derived, &out.Numbers, &out.Claims} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return out, nil
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// All makes every check of what was found, and returns how many were made and how many failed.
// The error is that of ctx alone.
func (v *Verifier) All(ctx context.Context, found *Found) (made, failed int, err error) {
	counted := *v
	counted.Report = func(f Finding) {
		made++
		if !f.Holds {
			failed++
		}
		v.Report(f)
	}
	for _, list := range []struct {
		paths []string
		check func(context.Context, string)
	}{
		{found.Runs, counted.run},
		{found.Derived, counted.derived},
		{found.Numbers, counted.numbers},
		{found.Claims, counted.claims},
	} {
		for _, path := range list.paths {
			if err := ctx.Err(); err != nil {
				return made, failed, err
			}
			list.check(ctx, path)
		}
	}
	return made, failed, ctx.Err()
}

func (v *Verifier) holds(check, path, format string, a ...any) {
	v.Report(Finding{check, path, true, fmt.Sprintf(format, a...)})
}

func (v *Verifier) fails(check, path, format string, a ...any) {
	v.Report(Finding{check, path, false, fmt.Sprintf(format, a...)})
}

// run checks hashes and schema of the run in dir.
func (v *Verifier) run(_ context.Context, dir string) {
	wrong, err := results.CheckSeal(dir)
	switch {
	case errors.Is(err, results.ErrUnsealed):
		v.fails(Hashes, dir, "no %s: nobody can say whether these files are what was recorded (hint: analyze seal %s)", results.SumsFile, dir)
	case err != nil:
		v.fails(Hashes, dir, "%v", err)
	case len(wrong) > 0:
		for _, w := range wrong {
			v.fails(Hashes, dir, "%s", w)
		}
	default:
		v.holds(Hashes, dir, "every recorded file has its SHA-256")
	}
	trials, problems := checkSchema(dir)
	for _, p := range problems {
		v.fails(Schema, p.path, "%v", p.err)
	}
	if len(problems) == 0 {
		v.holds(Schema, dir, "%d trials of schema version %d", trials, results.SchemaVersion)
	}
}

func (v *Verifier) numbers(ctx context.Context, path string) {
	want, err := numbers.Redo(ctx, path, v.Open)
	if err != nil {
		v.fails(Numbers, path, "%v", err)
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		v.fails(Numbers, path, "reading it: %v", err)
		return
	}
	gotLines, wantLines := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	wrong := 0
	for i := range max(len(gotLines), len(wantLines)) {
		a, b := lineAt(gotLines, i), lineAt(wantLines, i)
		if !bytes.Equal(a, b) {
			wrong++
			v.fails(Numbers, fmt.Sprintf("%s:%d", path, i+1), "says %q, the runs give %q", a, b)
		}
		if len(gotLines) != len(wantLines) && wrong > 0 {
			v.fails(Numbers, path, "has %d lines, the runs give %d (hint: write it again by analyze numbers)", len(gotLines), len(wantLines))
			return
		}
	}
	if wrong == 0 {
		v.holds(Numbers, path, "%d macros", bytes.Count(got, []byte(`\newcommand`)))
	}
}

func lineAt(lines [][]byte, i int) []byte {
	if i < len(lines) {
		return lines[i]
	}
	return nil
}

func (v *Verifier) claims(ctx context.Context, path string) {
	outcomes, err := claim.Check(ctx, path, v.Open)
	if err != nil {
		v.fails(Claims, path, "%v", err)
		return
	}
	for _, o := range outcomes {
		where := fmt.Sprintf("%s:%d", path, o.Line)
		says := o.ID + ": " + o.Says
		if o.Claim == nil {
			where, says = o.ID, o.Says
		}
		if o.Holds {
			v.holds(Claims, where, "%s", says)
		} else {
			v.fails(Claims, where, "%s", says)
		}
	}
}
