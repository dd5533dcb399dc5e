// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/fsnotify/fsnotify"
)

// settle is how long a file must have been left alone before it is read again: it may be half-written.
const settle = 100 * time.Millisecond

// Follower reads a zone file again whenever it, or a file that it includes, changes.
type Follower struct {
	Path, Origin string
	// Publish is called with every good reading after the first, from one goroutine.
	Publish func(*zone.Zone)
	Log     *slog.Logger
}

// Run follows the file until ctx ends; a receive from again reads it in any case. read is what the first
// reading was of. A reading with errors is logged, and what was published before stays.
func (f *Follower) Run(ctx context.Context, read Files, again <-chan struct{}) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching %s: %w", f.Path, err)
	}
	defer watcher.Close()
	// Directories are watched, for most editors, and Kubernetes, put a new file in the place of the old one.
	watch := func() error {
		var errs []error
		for p := range read {
			if err := watcher.Add(filepath.Dir(p)); err != nil {
				errs = append(errs, fmt.Errorf("watching %s: %w", filepath.Dir(p), err))
			}
		}
		return errors.Join(errs...)
	}
	if err := watch(); err != nil {
		return err
	}
	last := read                   // as the files were when last looked at
	timer := time.NewTimer(settle) // what changed between the reading and the watch has no event
	defer timer.Stop()
	waiting := true // for timer
	look := func() {
		if !waiting { // not put off by each event: in a busy directory they never end
			waiting = true
			timer.Reset(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-watcher.Events:
			if !ok {
				return fmt.Errorf("watching %s: the watch ended", f.Path)
			}
			look()
			continue
		case err := <-watcher.Errors:
			f.Log.Warn("watching the zone file", "path", f.Path, "error", err)
			look() // events may have been lost
			continue
		case <-again:
		case <-timer.C:
			waiting = false
			now := read.now()
			if maps.Equal(now, read) {
				continue
			}
			if !maps.Equal(now, last) { // perhaps still being written
				last = now
				look()
				continue
			}
		}
		z, files, err := Load(f.Path, f.Origin)
		if len(files) > 0 {
			read, last = files, files
		}
		if err := watch(); err != nil {
			f.Log.Warn("a change of the zone file may go unnoticed", "path", f.Path, "error", err)
		}
		look()
		if err != nil {
			f.Log.Error("keeping the old zone", "path", f.Path, "error", err)
			continue
		}
		f.Publish(z)
	}
}

// Files are the files that a zone was read from, or that were wanted and missing, by path: each as it was just
// before.
type Files map[string]version

// now returns the same files as they are now.
func (f Files) now() Files {
	now := make(Files, len(f))
	for path := range f {
		now[path] = versionOf(path)
	}
	return now
}

// version tells one content of a file from another without reading it. That of a missing file is zero.
type version struct {
	id      any // device and inode
	size    int64
	changed time.Time
}

func versionOf(path string) version {
	info, err := os.Stat(path)
	if err != nil {
		return version{}
	}
	return version{identity(info), info.Size(), info.ModTime()}
}

// identity tells a file from another that took its name.
func identity(info os.FileInfo) any {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return [2]uint64{uint64(s.Dev), s.Ino}
	}
	return nil
}
