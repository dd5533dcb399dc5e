// SPDX-License-Identifier: Apache-2.0

// Package live follows a run while it goes on: it waits for files that appear, reads each trial once when it has its verdict,
// and tells what there is to see.
package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
)

// State is what a run shows at an instant.
type State struct {
	Run      *digest.Run // with the trials that have a verdict
	Fresh    []digest.Trial
	Running  string // identifier of the trial that is being executed; empty: none
	Phase    string // of it, as its last event says
	Finished bool   // the run has ended
}

// settle is how long files must be quiet before they are read: one trial's end writes several.
const settle = 100 * time.Millisecond

// Newest returns dir where it is a run, else the newest run in it, by its identifier.
func Newest(dir string) (string, error) {
	_, err := results.OpenRun(dir)
	if !errors.Is(err, results.ErrNoRun) {
		return dir, err
	}
	entries, readErr := os.ReadDir(dir)
	if readErr != nil {
		return "", err
	}
	for _, e := range slices.Backward(entries) {
		run := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(run, results.ManifestFile)); err == nil {
			return run, nil
		}
	}
	return "", err
}

// Follow calls see with the run's state at once, and then whenever there is more to see, until the run has ended, see returns
// an error, or ctx is done, which is no error.
func Follow(ctx context.Context, dir string, see func(State) error) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching %s: %w", dir, err)
	}
	defer watcher.Close()
	f := &follower{dir: dir, watcher: watcher, digest: digest.Follow(dir)}
	for {
		if err := f.watch(); err != nil {
			return err
		}
		state, err := f.read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := see(state); err != nil || state.Finished {
			return err
		}
		if err := f.wait(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

type follower struct {
	dir     string
	watcher *fsnotify.Watcher
	digest  *digest.Follower
}

// watch watches the run, its list of trials, and every trial that has no verdict. What is watched twice counts once.
func (f *follower) watch() error {
	paths := []string{f.dir, filepath.Join(f.dir, results.TrialsDir)}
	entries, err := os.ReadDir(paths[1])
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("watching trials: %w", err)
	}
	for _, e := range entries {
		trial := filepath.Join(paths[1], e.Name())
		if _, err := os.Stat(filepath.Join(trial, results.VerdictFile)); e.IsDir() && errors.Is(err, fs.ErrNotExist) {
			paths = append(paths, trial)
		}
	}
	for _, path := range paths {
		if err := f.watcher.Add(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("watching %s: %w", path, err)
		}
	}
	return nil
}

func (f *follower) read(ctx context.Context) (State, error) {
	run, fresh, running, err := f.digest.Read(ctx)
	if err != nil {
		return State{}, err
	}
	s := State{Run: run, Fresh: fresh, Finished: !run.Manifest.Finished.IsZero()}
	if running != "" && !s.Finished {
		s.Running = filepath.Base(running)
		events, _ := results.ReadEvents(filepath.Join(running, results.EventsFile)) // its last line may be half written
		for _, e := range events {
			if e.Kind == results.EventPhase || e.Kind == results.EventFault {
				s.Phase = e.Name
			}
		}
	}
	return s, nil
}

// wait returns when something has changed and then been quiet for a moment.
func (f *follower) wait(ctx context.Context) error {
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-f.watcher.Errors:
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				return nil // whatever it was: read again
			}
			return fmt.Errorf("watching %s: %w", f.dir, err)
		case <-f.watcher.Events:
			quiet = time.After(settle)
		case <-quiet:
			return nil
		}
	}
}
