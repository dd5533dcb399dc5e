// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"context"
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

// Run follows the file until ctx ends; a receive from again reads it in any case. paths are those of the
// first reading. A reading with errors is logged, and what was published before stays.
func (f *Follower) Run(ctx context.Context, paths []string, again <-chan struct{}) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching %s: %w", f.Path, err)
	}
	defer watcher.Close()
	// Directories are watched, for most editors, and Kubernetes, put a new file in the place of the old one.
	watch := func() error {
		for _, p := range paths {
			if err := watcher.Add(filepath.Dir(p)); err != nil {
				return fmt.Errorf("watching %s: %w", filepath.Dir(p), err)
			}
		}
		return nil
	}
	if err := watch(); err != nil {
		return err
	}
	seen := versions(paths)
	timer := time.NewTimer(settle) // what changed between the first reading and the watch is found at once
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-watcher.Events:
			if !ok {
				return fmt.Errorf("watching %s: the watch ended", f.Path)
			}
			timer.Reset(settle)
			continue
		case err := <-watcher.Errors:
			f.Log.Warn("watching the zone file", "path", f.Path, "error", err)
			continue
		case <-again:
		case <-timer.C:
			if maps.Equal(seen, versions(paths)) {
				continue
			}
		}
		seen = versions(paths)
		z, read, err := Load(f.Path, f.Origin)
		if len(read) > 0 {
			paths = read
		}
		if err != nil {
			f.Log.Error("keeping the old zone", "path", f.Path, "error", err)
			continue
		}
		seen = versions(paths)
		f.Publish(z)
		if err := watch(); err != nil {
			return err
		}
	}
}

// version tells one content of a file from another without reading it.
type version struct {
	id      any // device and inode
	size    int64
	changed time.Time
}

// versions returns those of the files that exist.
func versions(paths []string) map[string]version {
	all := make(map[string]version, len(paths))
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil {
			all[p] = version{identity(info), info.Size(), info.ModTime()}
		}
	}
	return all
}

// identity tells a file from another that took its name.
func identity(info os.FileInfo) any {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return [2]uint64{uint64(s.Dev), s.Ino}
	}
	return nil
}
