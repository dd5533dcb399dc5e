// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dnsingress/dnsingress/internal/results"
)

// Follower reads a run that goes on: each trial once, when it has its verdict.
type Follower struct {
	dir    string
	trials map[string]Trial // by directory
}

// Follow returns a follower of the run in dir that has read nothing yet.
func Follow(dir string) *Follower { return &Follower{dir: dir, trials: map[string]Trial{}} }

// Read reads the trials that were finished since the last call. It returns the run as it is now, with the trials that have
// a verdict, those that are new, and the directory of the one that is being executed, if any.
// Only a directory that is no readable run is an error.
func (f *Follower) Read(ctx context.Context) (run *Run, fresh []Trial, running string, err error) {
	run, _, err = begin(f.dir)
	if err != nil {
		return nil, nil, "", err
	}
	entries, err := os.ReadDir(filepath.Join(f.dir, results.TrialsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, "", fmt.Errorf("listing trials: %w", err)
	}
	clocks := newClocks(run.Manifest.Hosts)
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(f.dir, results.TrialsDir, e.Name())
		t, known := f.trials[dir]
		if !known {
			d, err := results.OpenTrial(dir)
			switch {
			case err != nil: // not whole yet, or damaged: who knows before the run's end
				run.warn(false, "%v", err)
				continue
			case d.Interrupted():
				running = dir // trials are executed in the order of their names
				continue
			}
			t = readTrial(ctx, d, clocks, run.Manifest.Thinning != "")
			if ctx.Err() != nil {
				return nil, nil, "", ctx.Err()
			}
			f.trials[dir] = t
			fresh = append(fresh, t)
		}
		run.Trials = append(run.Trials, t)
	}
	slices.SortStableFunc(run.Trials, func(a, b Trial) int { return a.Index - b.Index })
	run.unequal()
	return run, fresh, running, nil
}
