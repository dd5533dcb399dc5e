// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/dnsingress/dnsingress/internal/results"
)

// problem is what is wrong with one file.
type problem struct {
	path string
	err  error
}

// checkSchema reads every file of the run in dir as its format has it. It returns how many trials there are.
func checkSchema(dir string) (trials int, problems []problem) {
	fail := func(path, format string, a ...any) {
		problems = append(problems, problem{path, fmt.Errorf(format, a...)})
	}
	run, err := results.OpenRun(dir)
	if err != nil {
		fail(dir, "%w", err)
		return 0, problems
	}
	manifest := filepath.Join(dir, results.ManifestFile)
	for what, value := range map[string]string{"experiment": run.Manifest.Experiment, "run_id": run.Manifest.RunID, "substrate": run.Manifest.Substrate} {
		if value == "" {
			fail(manifest, "%s is empty", what)
		}
	}
	if run.Manifest.Finished.IsZero() {
		fail(manifest, "the run has no end: it goes on, or was interrupted")
	}
	if _, err := os.Stat(filepath.Join(dir, results.ScenarioFile)); err != nil {
		fail(filepath.Join(dir, results.ScenarioFile), "%w", err)
	}
	all, err := run.Trials()
	if err != nil {
		fail(filepath.Join(dir, results.TrialsDir), "%w", err)
	}
	for _, t := range all {
		problems = append(problems, checkTrial(run, t)...)
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return strings.Compare(a.path, b.path) })
	return len(all), problems
}

func checkTrial(run *results.Run, t results.TrialDir) (problems []problem) {
	fail := func(name, format string, a ...any) {
		problems = append(problems, problem{filepath.Join(t.Dir, name), fmt.Errorf(format, a...)})
	}
	if v := t.Trial.SchemaVersion; v != run.Manifest.SchemaVersion {
		fail(results.TrialFile, "schema version %d, that of the run is %d", v, run.Manifest.SchemaVersion)
	}
	if t.Trial.ID != filepath.Base(t.Dir) {
		fail(results.TrialFile, "it calls itself %q", t.Trial.ID)
	}
	if !t.Verdict.Valid {
		return problems // it is kept as it ended, and never used
	}
	if t.Trial.WindowEndNs <= t.Trial.WindowStartNs {
		fail(results.TrialFile, "the window ends before it starts")
	}
	if t.Trial.Kind == results.KindFault && t.Trial.Fault == nil {
		fail(results.TrialFile, "a fault trial that records no fault")
	}
	if err := columns[results.Sample](filepath.Join(t.Dir, results.SamplesFile)); err != nil {
		fail(results.SamplesFile, "%w", err)
	}
	if err := columns[results.Resource](filepath.Join(t.Dir, results.ResourcesFile)); err != nil {
		fail(results.ResourcesFile, "%w", err)
	}
	if _, err := results.ReadHistograms(filepath.Join(t.Dir, results.HistogramFile)); err != nil {
		fail(results.HistogramFile, "%w", err)
	}
	if _, err := results.ReadEvents(filepath.Join(t.Dir, results.EventsFile)); err != nil {
		fail(results.EventsFile, "%w", err)
	}
	return problems
}

// later are columns that came within version 1: files without them are whole.
var later = []string{
	"backend", "protocol", "request", "dns_queries", "dns_late_ns", "connects", "retry_denied",
	"rx_packets", "tx_packets", "connections", "energy_uj",
}

// columns says how the columns of the Parquet file at path differ from those of rows of type T.
func columns[T any](path string) error {
	file, closer, err := results.OpenParquet(path)
	if err != nil {
		return err
	}
	defer closer.Close()
	want, got := parquet.SchemaOf(*new(T)), file.Schema()
	var errs []error
	for _, column := range want.Columns() {
		name := strings.Join(column, ".")
		w, _ := want.Lookup(column...)
		g, ok := got.Lookup(column...)
		switch {
		case !ok && slices.Contains(later, name):
		case !ok:
			errs = append(errs, fmt.Errorf("column %s is missing", name))
		case g.Node.Type().Kind() != w.Node.Type().Kind() || g.Node.Optional() || g.Node.Repeated():
			errs = append(errs, fmt.Errorf("column %s is %s, not %s", name, g.Node, w.Node))
		}
	}
	for _, column := range got.Columns() {
		if _, ok := want.Lookup(column...); !ok {
			errs = append(errs, fmt.Errorf("column %s is none of the schema", strings.Join(column, ".")))
		}
	}
	return errors.Join(errs...)
}
