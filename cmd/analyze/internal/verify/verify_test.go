// SPDX-License-Identifier: Apache-2.0

package verify_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/verify"
	"github.com/dnsingress/dnsingress/internal/results"
)

const v1 = "../../../../internal/results/testdata/v1/quickstart/20261121T200000Z"

// drawn is what the test's derivation gives of a run.
var drawn = map[string]string{"cpu.svg": "<svg><text>1.25</text></svg>", "results.csv": "system,p99\nnginx,3.5\n"}

// committed is a sealed run whose figures were derived from it.
func committed(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	must(t, os.CopyFS(dir, os.DirFS(v1)))
	must(t, results.Seal(dir))
	figures := filepath.Join(dir, results.FiguresDir)
	must(t, os.Mkdir(figures, 0o755))
	for name, content := range drawn {
		must(t, os.WriteFile(filepath.Join(figures, name), []byte(content), 0o644))
	}
	must(t, verify.Record(figures, dir, "", []string{"cpu.svg", "results.csv"}))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails verifies the run and returns what fails, with paths relative to it.
func fails(t *testing.T, dir string) (out []string) {
	t.Helper()
	found, err := verify.Find([]string{dir})
	must(t, err)
	v := verify.Verifier{
		Open: func(dir string) (*digest.Run, error) { return digest.Open(t.Context(), dir, nil) },
		Derive: func(context.Context, *digest.Run, string) (files []verify.File, err error) {
			for _, name := range []string{"cpu.svg", "results.csv"} {
				files = append(files, verify.File{Name: name, Write: func(w io.Writer) error { _, err := io.WriteString(w, drawn[name]); return err }})
			}
			return files, nil
		},
		Report: func(f verify.Finding) {
			if !f.Holds {
				path, err := filepath.Rel(dir, f.Path)
				must(t, err)
				out = append(out, fmt.Sprintf("%s %s: %s", f.Check, path, f.Says))
			}
		},
	}
	made, failed, err := v.All(t.Context(), found)
	must(t, err)
	if made < 3 || failed != len(out) {
		t.Errorf("%d checks made, %d failed, want 3 or more and %d", made, failed, len(out))
	}
	return out
}

// Each change is found, and the finding names the file and what became of it.
func TestChanges(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
		}
	}
	replace := func(name, old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			if !strings.Contains(string(b), old) {
				t.Fatalf("%s has no %q", name, old)
			}
			must(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(string(b), old, new, 1)), 0o644))
		}
	}
	const trial = "trials/004-dnsingress-steady/"
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string)
		want   []string // each is the begin of one that fails
	}{
		"nothing": {func(*testing.T, string) {}, nil},
		"a figure edited by hand": {
			write("figures/cpu.svg", "<svg><text>1.24</text></svg>"),
			[]string{"figures figures/cpu.svg: was edited by hand: it is neither what analyze wrote nor what the run gives (hint: analyze"},
		},
		"a figure and its hash edited by hand": {
			func(t *testing.T, dir string) {
				write("figures/cpu.svg", "<svg><text>1.24</text></svg>")(t, dir)
				must(t, verify.Record(filepath.Join(dir, "figures"), dir, "", []string{"cpu.svg", "results.csv"}))
			},
			[]string{"figures figures/cpu.svg: is not what the run gives now: data, figures or program were changed since it was drawn"},
		},
		"a table without a record": {
			func(t *testing.T, dir string) {
				must(t, os.Remove(filepath.Join(dir, "figures/derived.json")))
				write("figures/results.csv", "system,p99\nnginx,3.4\n")(t, dir)
			},
			[]string{"figures figures/results.csv: is not what the run gives"},
		},
		"a figure from elsewhere": {write("figures/extra.svg", "<svg/>"), []string{"figures figures/extra.svg: nothing derives it"}},
		"a figure is missing": {
			func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "figures/cpu.svg"))) },
			[]string{"figures figures/cpu.svg: is missing"},
		},
		"drawn on another architecture, another last digit": {
			func(t *testing.T, dir string) {
				write("figures/cpu.svg", "<svg><text>1.26</text></svg>")(t, dir)
				must(t, verify.Record(filepath.Join(dir, "figures"), dir, "", []string{"cpu.svg", "results.csv"}))
				replace("figures/derived.json", `"architecture": "`, `"architecture": "not-`)(t, dir)
			},
			nil,
		},
		"drawn on another architecture, another figure": {
			func(t *testing.T, dir string) {
				write("figures/cpu.svg", "<svg><text>1.35</text></svg>")(t, dir)
				must(t, verify.Record(filepath.Join(dir, "figures"), dir, "", []string{"cpu.svg", "results.csv"}))
				replace("figures/derived.json", `"architecture": "`, `"architecture": "not-`)(t, dir)
			},
			[]string{"figures figures/cpu.svg: is not what the run gives now"},
		},
		"a record that is none": {write("figures/derived.json", "{"), []string{"figures figures: parsing "}},
		"a verdict turned": {
			replace(trial+"verdict.json", `"valid": true`, `"valid": false`),
			[]string{"hashes .: " + trial + "verdict.json is not what was recorded: its SHA-256 differs"},
		},
		"no seal": {
			func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, results.SumsFile))) },
			[]string{"hashes .: no SHA256SUMS: nobody can say whether these files are what was recorded (hint: analyze seal"},
		},
		"mixed schema versions": {
			func(t *testing.T, dir string) {
				replace(trial+"trial.json", `"schema_version": 1`, `"schema_version": 2`)(t, dir)
				must(t, results.Seal(dir))
			},
			[]string{"schema " + trial + "trial.json: schema version 2, that of the run is 1"},
		},
		"a column is missing, one is of another type, one is strange": {
			func(t *testing.T, dir string) {
				type row struct {
					Node    string  `parquet:"node,dict"`
					CPUNs   float64 `parquet:"cpu_ns"`
					Strange int64   `parquet:"strange"`
				}
				must(t, parquet.WriteFile(filepath.Join(dir, trial, results.ResourcesFile), []row{{}}))
				must(t, results.Seal(dir))
			},
			[]string{"schema " + trial + "resources.parquet: column component is missing\n"},
		},
		"a file is torn": {
			func(t *testing.T, dir string) {
				must(t, os.Truncate(filepath.Join(dir, trial, results.SamplesFile), 3000))
				must(t, results.Seal(dir))
			},
			[]string{"schema " + trial + "samples.parquet: reading "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := committed(t)
			c.change(t, dir)
			got := fails(t, dir)
			slices.Sort(got)
			if len(got) != len(c.want) {
				t.Fatalf("fails:\n%s\nwant %d", strings.Join(got, "\n"), len(c.want))
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("%s\nwant %s", got[i], want)
				}
			}
		})
	}
}

// Every column that is wrong is named at once.
func TestColumnsAllAtOnce(t *testing.T) {
	dir := committed(t)
	const path = "trials/004-dnsingress-steady/resources.parquet"
	type row struct {
		CPUNs   float64 `parquet:"cpu_ns"`
		Strange int64   `parquet:"strange"`
	}
	must(t, parquet.WriteFile(filepath.Join(dir, path), []row{{}}))
	must(t, results.Seal(dir))
	got := strings.Join(fails(t, dir), "\n")
	for _, want := range []string{"column node is missing", "column cpu_ns is ", "column strange is none of the schema"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\ndoes not say %q", got, want)
		}
	}
}

// Another derivation removes what the one before left, but nothing that somebody changed.
func TestRecordRemovesWhatIsGone(t *testing.T) {
	dir := filepath.Join(committed(t), results.FiguresDir)
	must(t, verify.Record(dir, v1, "", []string{"results.csv"}))
	if _, err := os.Stat(filepath.Join(dir, "cpu.svg")); !os.IsNotExist(err) {
		t.Errorf("the figure that is derived no more: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "results.csv"), []byte("mine"), 0o644))
	must(t, verify.Record(dir, v1, "", nil))
	if _, err := os.Stat(filepath.Join(dir, "results.csv")); err != nil {
		t.Errorf("a table that somebody changed: %v", err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"results/a/1/manifest.json", "results/a/1/figures/cpu.svg", "results/a/1/trials/000/manifest.json", "results/b/2/manifest.json",
		"paper/numbers.tex", "paper/claims.yaml", "paper/figures/derived.json", ".git/manifest.json",
	} {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, nil, 0o644))
	}
	found, err := verify.Find([]string{dir, filepath.Join(dir, "paper/claims.yaml")})
	must(t, err)
	got := strings.ReplaceAll(fmt.Sprint(*found), dir+"/", "")
	if want := "{[results/a/1 results/b/2] [paper/figures results/a/1/figures] [paper/numbers.tex] [paper/claims.yaml]}"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	if _, err := verify.Find([]string{filepath.Join(dir, "absent")}); err == nil {
		t.Error("a path that is not there is no error")
	}
}
