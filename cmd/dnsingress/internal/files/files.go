// SPDX-License-Identifier: Apache-2.0

// Package files follows files that are read again whenever they change.
package files

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Settle is how long a file must have been left alone before it is read again: it may be half-written.
const Settle = 100 * time.Millisecond

// Follower has files read again whenever one of them changes.
type Follower struct {
	// What names them in logs, as "the zone file".
	What string
	// Path is the one among them that the user knows.
	Path string
	// Read reads them again, from one goroutine, and returns what it read or missed; nothing: as before.
	Read func() Seen
	Log  *slog.Logger
}

// Run follows the files until ctx ends; a receive from again has them read in any case. seen is what the first reading was of.
func (f *Follower) Run(ctx context.Context, seen Seen, again <-chan struct{}) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching %s: %w", f.Path, err)
	}
	defer watcher.Close()
	// Directories are watched, for most editors, and Kubernetes, put a new file in the place of the old one.
	watch := func() error {
		var errs []error
		for p := range seen {
			if err := watcher.Add(filepath.Dir(p)); err != nil {
				errs = append(errs, fmt.Errorf("watching %s: %w", filepath.Dir(p), err))
			}
		}
		return errors.Join(errs...)
	}
	if err := watch(); err != nil {
		return err
	}
	last := seen                   // as the files were when last looked at
	timer := time.NewTimer(Settle) // what changed between the reading and the watch has no event
	defer timer.Stop()
	waiting := true // for timer
	look := func() {
		if !waiting { // not put off by each event: in a busy directory they never end
			waiting = true
			timer.Reset(Settle)
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
			f.Log.Warn("watching "+f.What, "path", f.Path, "error", err)
			look() // events may have been lost
			continue
		case <-again:
		case <-timer.C:
			waiting = false
			now := seen.now()
			if maps.Equal(now, seen) {
				continue
			}
			if !maps.Equal(now, last) {
				writing := maps.Equal(last, seen) || now.grewFrom(last)
				if last = now; writing {
					look()
					continue
				}
			}
		}
		if read := f.Read(); len(read) > 0 {
			seen, last = read, read
		}
		if err := watch(); err != nil {
			f.Log.Warn("a change of "+f.What+" may go unnoticed", "path", f.Path, "error", err)
		}
		look()
	}
}

// Seen are files that were read, or wanted and missing, by path: each as it was just before.
type Seen map[string]version

// Note takes note of a file that is about to be read: what changes from here on is news.
func (s Seen) Note(path string) { s[path] = versionOf(path) }

// now returns the same files as they are now.
func (s Seen) now() Seen {
	now := make(Seen, len(s))
	for path := range s {
		now.Note(path)
	}
	return now
}

// grewFrom reports whether any of the files is the one that it was before and has changed: perhaps it is still being written.
// One that is another file at every look is put in place whole each time; to wait for the last would be to wait for ever.
func (s Seen) grewFrom(before Seen) bool {
	for path, now := range s {
		if was := before[path]; now != was && now.id == was.id && !now.directory {
			return true
		}
	}
	return false
}

// version tells one content of a file from another without reading it. That of a missing file is zero.
type version struct {
	id        any // device and inode
	directory bool
	size      int64
	changed   time.Time
	names     uint64 // of what is in a directory: two changes of it may fall into one tick of the clock that it is dated by
}

func versionOf(path string) version {
	info, err := os.Stat(path)
	if err != nil {
		return version{}
	}
	v := version{id: identity(info), directory: info.IsDir(), size: info.Size(), changed: info.ModTime()}
	if v.directory {
		v.names = namesIn(path)
	}
	return v
}

// namesIn tells apart what is in a directory at different times.
func namesIn(path string) uint64 {
	entries, err := os.ReadDir(path)
	if err != nil {
		return 0
	}
	h := fnv.New64a()
	for _, e := range entries {
		_, _ = h.Write([]byte(e.Name() + "/")) // it never fails
	}
	return h.Sum64()
}

// identity tells a file from another that took its name.
func identity(info os.FileInfo) any {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return [2]uint64{uint64(s.Dev), s.Ino}
	}
	return nil
}
