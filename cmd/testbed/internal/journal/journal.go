// SPDX-License-Identifier: Apache-2.0

// Package journal remembers what testbed did to a cluster that somebody must undo, so that a testbed that was killed does
// not leave a broken node that nobody knows of.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/disk"
)

// Kinds of entries.
const (
	Fault = "fault" // something is broken on purpose
	Run   = "run"   // an experiment has its things deployed
	Trial = "trial" // a trial of it is going on
	Flash = "flash" // a node's card is being written
)

// Entry is one thing that stands.
type Entry struct {
	ID    string    `json:"id"` // given by Begin
	Kind  string    `json:"kind"`
	What  string    `json:"what"` // for people: "node-power-cut of worker-2"
	Nodes []string  `json:"nodes,omitempty"`
	Since time.Time `json:"since"` // given by Begin when zero
	// Detail is what whoever undoes it needs to know.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// String describes the entry for people.
func (e Entry) String() string {
	where := ""
	if len(e.Nodes) > 0 {
		where = " on " + strings.Join(e.Nodes, ", ")
	}
	return fmt.Sprintf("%s %s%s, since %s", e.Kind, e.What, where, e.Since.Local().Format(time.DateTime))
}

// Journal is a directory with one file an entry: entries of several writers do not meet. It may be used concurrently.
type Journal struct{ dir string }

// New returns the journal in a directory, which is made when the first entry is.
func New(dir string) *Journal { return &Journal{dir} }

// Begin enters something that is about to be done. It is on the disk when Begin returns: break nothing before. A nil
// journal remembers nothing.
func (j *Journal) Begin(e Entry) (Entry, error) {
	if j == nil {
		return e, nil
	}
	if e.Since.IsZero() {
		e.Since = time.Now().UTC()
	}
	if err := os.MkdirAll(j.dir, 0o755); err != nil {
		return e, fmt.Errorf("making the journal: %w", err)
	}
	// The name is the instant, so that entries sort by age; O_EXCL makes it one writer's own.
	for at := e.Since.UnixNano(); ; at++ {
		e.ID = fmt.Sprintf("%s-%d", e.Kind, at)
		f, err := os.OpenFile(j.path(e.ID), os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return e, fmt.Errorf("entering %s in the journal: %w", e.What, err)
		}
		break
	}
	err := disk.Replace(j.path(e.ID), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(e)
	})
	if err != nil {
		return e, fmt.Errorf("entering %s in the journal: %w", e.What, err)
	}
	return e, nil
}

// End strikes an entry out, after what it tells of has been undone; that it is gone already is no error.
func (j *Journal) End(id string) error {
	if j == nil || id == "" {
		return nil
	}
	if err := os.Remove(j.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("striking %s out of the journal: %w", id, err)
	}
	return nil
}

// Standing returns the entries, the oldest first. A file that a crash left empty or half written is an entry that tells
// no more than its name: what it was about to tell of had not begun.
func (j *Journal) Standing() ([]Entry, error) {
	if j == nil {
		return nil, nil
	}
	files, err := os.ReadDir(j.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	var entries []Entry
	for _, f := range files {
		id, isEntry := strings.CutSuffix(f.Name(), ".json")
		if !isEntry || strings.HasPrefix(id, ".") {
			continue
		}
		e, err := j.read(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // struck out just now
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.Since.Compare(b.Since) })
	return entries, nil
}

func (j *Journal) read(id string) (Entry, error) {
	info, err := os.Stat(j.path(id))
	if err != nil {
		return Entry{}, fmt.Errorf("reading the journal: %w", err)
	}
	text, err := os.ReadFile(j.path(id))
	if err != nil {
		return Entry{}, fmt.Errorf("reading the journal: %w", err)
	}
	var e Entry
	if json.Unmarshal(text, &e) != nil || e.ID != id {
		kind, _, _ := strings.Cut(id, "-")
		return Entry{ID: id, Kind: kind, What: "that had not begun when testbed was killed", Since: info.ModTime().UTC()}, nil
	}
	return e, nil
}

func (j *Journal) path(id string) string { return filepath.Join(j.dir, id+".json") }
