// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Source is something that is built from pinned inputs into one file or directory. Sources are pointers: a source that
// two images use is built once.
type Source interface {
	// Name says what it is, for people and for choosing it: "kubernetes", "image/nginx".
	Name() string
	// Key returns a hash of everything that the result depends on, in hexadecimal.
	Key(ctx context.Context, s *Store) (string, error)
	// Place returns where in the cache the result of this key belongs, as a slash-separated path.
	Place(key string) string
	// Build makes the file or directory dst, which does not exist yet.
	Build(ctx context.Context, s *Store, dst string) error
}

// Store builds sources and keeps the results in a cache directory. It is safe for concurrent use.
type Store struct {
	Dir  string // the cache
	Repo string // the repository's root
	Arch string // architecture of the nodes, as Go names it

	// Report, when set, is told of every build: once as it begins (elapsed zero), every half minute while it lasts and once
	// as it ends.
	Report func(Progress)

	mu   sync.Mutex
	keys map[Source]string
}

// Progress is one report on the build of a source.
type Progress struct {
	Source  Source
	Elapsed time.Duration
	Done    bool
	Err     error // of a build that is done
}

// Open returns a store for nodes of this machine's architecture, with its cache in dir, made if need be.
func Open(dir, repo string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache directory: %w", err)
	}
	return &Store{Dir: dir, Repo: repo, Arch: runtime.GOARCH, keys: map[Source]string{}}, nil
}

// Item says where the result of a source is, or would be.
type Item struct {
	Source Source
	Key    string
	Path   string // absolute
	Cached bool   // it stands at Path
}

// Look finds out whether the result of a source is in the cache, and builds nothing.
func (s *Store) Look(ctx context.Context, src Source) (Item, error) {
	s.mu.Lock()
	key, ok := s.keys[src]
	s.mu.Unlock()
	if !ok {
		var err error
		if key, err = src.Key(ctx, s); err != nil {
			return Item{}, fmt.Errorf("finding the inputs of %s: %w", src.Name(), err)
		}
		s.mu.Lock()
		s.keys[src] = key
		s.mu.Unlock()
	}
	item := Item{Source: src, Key: key, Path: src.Place(key)}
	if !filepath.IsAbs(item.Path) {
		item.Path = filepath.Join(s.Dir, filepath.FromSlash(item.Path))
	}
	_, err := os.Stat(item.Path)
	item.Cached = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Item{}, fmt.Errorf("looking for %s: %w", src.Name(), err)
	}
	return item, nil
}

// FindKeys finds the keys of several sources at once: some take a second, for a tool has to be asked. An error is left to
// Look, which asks again.
func (s *Store) FindKeys(ctx context.Context, sources []Source) {
	var wg sync.WaitGroup
	for _, src := range sources {
		wg.Go(func() { _, _ = s.Look(ctx, src) })
	}
	wg.Wait()
}

// Get returns where the result of a source is, building it if the cache has none for its key. The result appears whole
// or not at all, whatever ends the build.
func (s *Store) Get(ctx context.Context, src Source) (Item, error) {
	item, err := s.Look(ctx, src)
	if err != nil || item.Cached {
		return item, err
	}
	file := strings.ReplaceAll(src.Name(), "/", "-")
	unlock, err := lockFile(ctx, filepath.Join(s.Dir, "locks", file))
	if err != nil {
		return Item{}, err
	}
	defer unlock()
	if item, err = s.Look(ctx, src); err != nil || item.Cached { // by another process while we waited
		return item, err
	}
	// Beside the result, so that it can be renamed; by a fixed name, so that what a killed build left goes with the next.
	work := filepath.Join(filepath.Dir(item.Path), ".building-"+file)
	if err := os.RemoveAll(work); err != nil {
		return Item{}, fmt.Errorf("building %s: %w", src.Name(), err)
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return Item{}, fmt.Errorf("building %s: %w", src.Name(), err)
	}
	defer os.RemoveAll(work)

	stop := s.watch(src)
	dst := filepath.Join(work, "result")
	if err = src.Build(ctx, s, dst); err == nil {
		err = os.Rename(dst, item.Path)
	}
	stop(err)
	if err != nil {
		return Item{}, fmt.Errorf("building %s: %w", src.Name(), err)
	}
	item.Cached = true
	return item, nil
}

// watch reports the beginning of a build, and that it goes on, until stop reports its end.
func (s *Store) watch(src Source) (stop func(error)) {
	if s.Report == nil {
		return func(error) {}
	}
	begin := time.Now()
	s.Report(Progress{Source: src})
	tick := time.NewTicker(30 * time.Second)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-tick.C:
				s.Report(Progress{Source: src, Elapsed: time.Since(begin)})
			case <-over:
				return
			}
		}
	}()
	return func(err error) {
		tick.Stop()
		close(over)
		<-ended
		s.Report(Progress{Source: src, Elapsed: time.Since(begin), Done: true, Err: err})
	}
}

// lockFile takes an exclusive lock among processes, making the file and its directory. It waits until ctx ends.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making a directory of the cache: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening a lock of the cache: %w", err)
	}
	locked := make(chan error, 1)
	go func() { locked <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err = <-locked:
	case <-ctx.Done():
		go func() { <-locked; f.Close() }() // the lock, when it comes, goes with the file
		return nil, ctx.Err()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
