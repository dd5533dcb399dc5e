// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"context"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Sink takes what the source sees. Its methods must not block.
type Sink interface {
	// Apply gives the newest state of the objects that changed.
	Apply(updates []model.Update)
	// Synced says that all objects there were at the start have been given.
	Synced()
}

// Options of a Source.
type Options struct {
	Dir        string
	Settings   *objects.Settings
	Namespaces []string // that are read at all; none: all
	Filters    map[objects.Name]Filter
	Sink       Sink
	Log        *slog.Logger
}

// Source gives what the manifests in and below a directory publish, and again whenever they change. It is also told of
// what is wrong with that, and logs it with its place.
type Source struct {
	options Options
	filters map[objects.Name]filter

	mu    sync.Mutex
	set   *Set // the newest
	pools map[model.Ref]model.Pool
	told  map[string]bool // problems that have been logged
	known map[model.Ref][]model.Problem
}

// NewSource prepares a source; it reads nothing yet.
func NewSource(o Options) (*Source, error) {
	filters, err := readFilters(o.Filters)
	if err != nil {
		return nil, err
	}
	return &Source{options: o, filters: filters, pools: map[model.Ref]model.Pool{}, told: map[string]bool{}, known: map[model.Ref][]model.Problem{}}, nil
}

// Run reads the directory, and again whenever something in it changes, until ctx ends. It fails when the directory cannot
// be read at the start; afterwards the last state stays.
func (s *Source) Run(ctx context.Context) error {
	seen, err := s.read()
	if err != nil {
		return err
	}
	s.options.Sink.Synced()
	follower := files.Follower{
		What: "manifests", Path: s.options.Dir, Log: s.options.Log,
		Read: func() files.Seen {
			seen, err := s.read()
			if err != nil {
				s.options.Log.Error("keeping the last state", "error", err)
			}
			return seen
		},
	}
	return follower.Run(ctx, seen, nil)
}

// read gives the sink what is other than before.
func (s *Source) read() (files.Seen, error) {
	now := time.Now()
	// What is noted before it is read cannot change unseen.
	seen := files.Seen{}
	paths, dirs, err := walk(s.options.Dir)
	for _, dir := range dirs {
		seen.Note(filepath.Join(dir) + "/.") // so that the directory itself is watched, too
	}
	if err != nil {
		return seen, err
	}
	set := NewSet(s.options.Settings)
	set.filters, set.namespaces = s.filters, s.options.Namespaces
	for _, path := range paths {
		seen.Note(path)
		set.open(path)
	}
	s.mu.Lock()
	set.keep(s.set)
	s.set = set
	publications, whole := set.Publications()
	s.tell(set.Errors(), whole)
	updates := s.changes(publications, now)
	s.mu.Unlock()
	if len(updates) > 0 {
		s.options.Sink.Apply(updates)
	}
	return seen, nil
}

// changes are the publications that are other than before.
func (s *Source) changes(publications []Publication, now time.Time) (updates []model.Update) {
	before := s.pools
	s.pools = make(map[model.Ref]model.Pool, len(publications))
	for _, p := range publications {
		s.pools[p.Ref] = p.Pool
		if old, ok := before[p.Ref]; !ok || !reflect.DeepEqual(old, p.Pool) {
			updates = append(updates, model.Update{Ref: p.Ref, Pool: &p.Pool, Received: now})
		}
	}
	for ref := range before {
		if _, ok := s.pools[ref]; !ok {
			updates = append(updates, model.Update{Ref: ref, Received: now})
			delete(s.known, ref)
		}
	}
	slices.SortFunc(updates, func(a, b model.Update) int { return a.Ref.Compare(b.Ref) })
	return updates
}

// tell logs what is wrong with the files and with objects as a whole, each once as long as it lasts.
func (s *Source) tell(errs []error, whole map[model.Ref][]model.Problem) {
	errs = slices.Clone(errs)
	for ref, problems := range whole {
		for _, p := range problems {
			errs = append(errs, s.set.Problem(ref, p))
		}
	}
	before := s.told
	s.told = make(map[string]bool, len(errs))
	for _, err := range errs {
		if text := err.Error(); !s.told[text] {
			s.told[text] = true
			if !before[text] {
				s.options.Log.Warn("manifest has a problem", "error", text)
			}
		}
	}
}

// Report makes problems all that is wrong with what an object publishes. Those that were there before are not told again.
func (s *Source) Report(ref model.Ref, problems []model.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.known[ref]
	s.known[ref] = slices.Clone(problems)
	for _, p := range problems {
		if !slices.Contains(before, p) {
			s.options.Log.Warn("manifest has a problem", "error", s.set.Problem(ref, p))
		}
	}
}

// Tell logs what has just happened to what an object publishes.
func (s *Source) Tell(ref model.Ref, p model.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Log.Warn("object has a problem", "error", s.set.Problem(ref, p))
}
