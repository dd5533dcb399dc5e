// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/tree"
	"github.com/dnsingress/dnsingress/internal/results"
)

// staleness gathers what a trial over a resolver is about. Instants are those of the nodes' clocks, whose offsets the
// scenario bounds.
type staleness struct {
	gone       string // address of the removed pod; empty when none was
	removed    int64  // when it was asked to go
	start, end int64  // window

	holds func(name string) bool // whether a name is in the trial's tree

	last        map[int32]int64 // by user, how long after the removal it last tried the address; 0 for never
	stale       int             // tries of the address after the removal
	asked       []int64         // how long lookups in the window took that went to the resolver
	cold, warm  []int64         // how long resolutions took before the load
	coldAt      [][2]int64      // begin and end of each cold one
	queries     map[string]int  // in the window, by level or priming
	coldQueries map[string]int  // likewise, during cold resolutions
	leafLast    int64           // how long after the removal a leaf last gave the address; 0 for never
}

// priming stands in place of a level for what is asked of the root itself (RFC 8109), on behalf of all trees at once.
const priming = "priming"

func newStaleness(gone string, removed, start, end int64, holds func(name string) bool) *staleness {
	return &staleness{
		gone: gone, removed: removed, start: start, end: end, holds: holds,
		last: map[int32]int64{}, queries: map[string]int{}, coldQueries: map[string]int{},
	}
}

func (s *staleness) samples(rows []results.Sample) error {
	for i := range rows {
		r := &rows[i]
		if r.IntendedNs < s.start || r.IntendedNs >= s.end {
			continue
		}
		s.last[r.User] = max(s.last[r.User], 0)
		if r.DNSNs > 0 && !r.DNSCached && r.DNSQueries > 0 {
			s.asked = append(s.asked, r.DNSNs)
		}
		if s.gone != "" && r.Peer == s.gone && r.SentNs > s.removed {
			s.stale++
			s.last[r.User] = max(s.last[r.User], r.SentNs-s.removed)
		}
	}
	return nil
}

func (s *staleness) lookups(rows []results.Sample) error {
	for i := range rows {
		switch r := &rows[i]; {
		case !r.OK():
		case r.Request == results.LookupWarm:
			s.warm = append(s.warm, r.TotalNs)
		case r.Request == results.LookupCold:
			s.cold = append(s.cold, r.TotalNs)
			s.coldAt = append(s.coldAt, [2]int64{r.IntendedNs, r.IntendedNs + r.TotalNs})
		}
	}
	return nil
}

// asks takes what the servers were asked; after lookups, whose instants it needs.
func (s *staleness) asks(rows []results.Query) error {
	for i := range rows {
		q := &rows[i]
		level := q.Level
		if !s.holds(q.Name) {
			level = priming
		}
		if q.AtNs >= s.start && q.AtNs < s.end {
			s.queries[level]++
		}
		if slices.ContainsFunc(s.coldAt, func(c [2]int64) bool { return q.AtNs >= c[0] && q.AtNs < c[1] }) {
			s.coldQueries[level]++
		}
		if s.gone != "" && q.Level == tree.Leaf && q.AtNs > s.removed && slices.Contains(strings.Split(q.Addresses, ","), s.gone) {
			s.leafLast = max(s.leafLast, q.AtNs-s.removed)
		}
	}
	return nil
}

// measures are figures of the trial; the last word of a name is the unit.
func (s *staleness) measures(levels []string) map[string]float64 {
	m := map[string]float64{}
	if s.gone != "" {
		var last []int64
		for _, l := range s.last {
			last = append(last, l)
		}
		if len(last) > 0 {
			m["last_try_s"], m["last_try_median_s"] = seconds(slices.Max(last)), seconds(median(last))
		}
		m["leaf_gave_it_s"] = seconds(s.leafLast)
		m["tries_of_the_removed_requests"] = float64(s.stale)
	}
	for name, list := range map[string][]int64{"cold": s.cold, "warm": s.warm, "lookup": s.asked} {
		if len(list) > 0 {
			m[name+"_ms"] = float64(median(list)) / 1e6
		}
	}
	for _, level := range append(slices.Clone(levels), priming) {
		m["window_"+level+"_queries"] = float64(s.queries[level])
		if n := len(s.cold); n > 0 {
			m["cold_"+level+"_queries"] = float64(s.coldQueries[level]) / float64(n)
		}
	}
	return m
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// median of a list that is not empty; of two in the middle the mean.
func median(list []int64) int64 {
	list = slices.Sorted(slices.Values(list))
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

// measureStaleness reads the trial's files and keeps what follows from them with the trial.
func (t *trial) measureStaleness(levels []string) error {
	var gone string
	var removed int64
	if t.out.Fault != nil && len(t.aimed.Members) == 1 && t.aimed.Members[0].IsSingleIP() {
		gone, removed = t.aimed.Members[0].Addr().String(), t.out.Fault.BeginNs
	}
	s := newStaleness(gone, removed, t.out.WindowStartNs, t.out.WindowEndNs, t.tree.Holds)
	if err := results.ReadRows(filepath.Join(t.dir, results.SamplesFile), s.samples); err != nil {
		return err
	}
	if err := results.ReadRows(filepath.Join(t.dir, results.LookupsFile), s.lookups); err != nil {
		return err
	}
	if err := results.ReadRows(filepath.Join(t.dir, results.QueriesFile), s.asks); err != nil {
		return err
	}
	t.out.Measures = s.measures(levels)
	for _, user := range slices.Sorted(maps.Keys(s.last)) {
		if gone == "" {
			break
		}
		t.own(results.Event{
			UnixNs: removed + s.last[user], Kind: results.EventClient, Name: results.LastTry, Node: t.client.Name,
			Target: strconv.Itoa(int(user)), Detail: map[string]string{"after_ns": strconv.FormatInt(s.last[user], 10)},
		})
	}
	return nil
}
