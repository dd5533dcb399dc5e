// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"strings"

	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Share says which part of the answered requests the pod answered that a fault was done to, by when they were due,
// relative to the fault's begin.
type Share struct {
	BinNs    int64
	StartNs  int64     // of the first bin, relative to the fault's begin
	Answered []float64 // requests that some backend answered
	Target   []float64 // those that the fault's target answered
	Parts    [3]SharePart
	Settled  SharePart // of During, from SettledNs after the fault's begin on
}

// SettledNs is how long after its begin a fault should have been noticed, by answers in caches as well.
const SettledNs = int64(10e9)

// SharePart is a Share in sum over the time before, during or after the fault.
type SharePart struct {
	Answered, Target uint64
	Latency          *stats.Latency // of the answered
}

// Parts of a Share.
const (
	Before = iota
	During
	After
)

// newShare returns the share of a fault's target where that is a pod, else nil.
func newShare(t results.Trial) *Share {
	if _, name, pod := strings.Cut(t.Fault.Target, "/"); !pod || name == "" {
		return nil
	}
	l := newTimeline(t)
	s := &Share{BinNs: l.BinNs, StartNs: l.StartNs, Answered: l.OK, Target: l.Failed}
	for _, part := range []*SharePart{&s.Parts[Before], &s.Parts[During], &s.Parts[After], &s.Settled} {
		part.Latency = stats.NewLatency()
	}
	return s
}

// isTarget says whether the fault was done to a backend.
func (s *Share) isTarget(f *results.Fault, backend string) bool {
	return s != nil && backend != "" && strings.HasSuffix(f.Target, "/"+backend)
}

// add counts a successful request that was due at an instant relative to the fault's begin, by whether the fault's
// target answered it.
func (s *Share) add(f *results.Fault, at, total int64, byTarget bool) {
	if s == nil {
		return
	}
	part := &s.Parts[Before]
	switch {
	case at >= f.EndNs-f.BeginNs:
		part = &s.Parts[After]
	case at >= 0:
		part = &s.Parts[During]
	}
	i := min(max((floorTo(at, s.BinNs)-s.StartNs)/s.BinNs, 0), int64(len(s.Answered)-1))
	s.Answered[i]++
	target := uint64(0)
	if byTarget {
		s.Target[i]++
		target = 1
	}
	part.add(total, target)
	if part == &s.Parts[During] && at >= SettledNs {
		s.Settled.add(total, target)
	}
}

func (p *SharePart) add(total int64, target uint64) {
	p.Answered++
	p.Target += target
	_ = p.Latency.Record(total, 1) // what no histogram holds is warned of where all requests are counted
}

// known says whether any answer named its backend: runs from before backends did have none.
func (s *Share) known() bool {
	return s != nil && s.Parts[Before].Answered+s.Parts[During].Answered+s.Parts[After].Answered > 0
}

// Of is the target's share of the part's answered requests, NaN when there was none.
func (p *SharePart) Of() float64 { return float64(p.Target) / float64(p.Answered) }
