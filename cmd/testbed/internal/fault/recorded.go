// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
)

// recorded is a fault of which the cluster's journal and the annotated dashboards tell.
type recorded struct {
	Fault
	env  *Env
	kind string

	target Target
	entry  string // in the journal
	ended  func(ctx context.Context, i Instant) error
	end    Instant
}

// standing is the detail of a journal's entry.
type standing struct {
	Kind  string    `json:"kind"`
	Name  string    `json:"target"`
	Until time.Time `json:"until"` // nodes that can end it themselves do so then
}

func (f *recorded) Aim(ctx context.Context, rng *rand.Rand) (Target, error) {
	var err error
	f.target, err = f.Fault.Aim(ctx, rng)
	return f.target, err
}

func (f *recorded) Begin(ctx context.Context, at time.Time) (Instant, error) {
	detail, err := json.Marshal(standing{f.kind, f.target.Name, at.Add(f.env.hold()).UTC()})
	if err != nil {
		return Instant{}, err
	}
	e, err := f.env.Journal.Begin(journal.Entry{
		Kind: journal.Fault, What: fmt.Sprintf("%s of %s", f.kind, f.target.Name), Nodes: f.target.all(), Detail: detail,
	})
	if err != nil {
		return Instant{}, err
	}
	f.entry = e.ID
	i, err := f.Fault.Begin(ctx, at)
	if err == nil && f.env.Annotate != nil {
		var failed error
		if f.ended, failed = f.env.Annotate(ctx, f.kind, f.target, i); failed != nil {
			f.warn(failed)
		}
	}
	return i, err
}

func (f *recorded) End(ctx context.Context, at time.Time) (Instant, error) {
	i, err := f.Fault.End(ctx, at)
	if err == nil && !i.Before.IsZero() {
		f.end = i
	}
	return i, err
}

func (f *recorded) Recover(ctx context.Context) error {
	err := f.Fault.Recover(ctx)
	if f.ended != nil && !f.end.Before.IsZero() {
		if failed := f.ended(ctx, f.end); failed != nil {
			f.warn(failed)
		}
		f.ended = nil
	}
	if err != nil {
		return err // it may stand: so does its entry
	}
	return f.env.Journal.End(f.entry)
}

func (f *recorded) warn(err error) {
	if f.env.Warn != nil {
		f.env.Warn(err)
	}
}

// strike out what the journal tells of faults, when they are healed.
func forget(j *journal.Journal) error {
	entries, err := j.Standing()
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Kind == journal.Fault {
			errs = append(errs, j.End(e.ID))
		}
	}
	return errors.Join(errs...)
}
