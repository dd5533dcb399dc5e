// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// measures are figures of the trial that follow from its samples, answers and events; nil for none.
func (t *trial) measures() map[string]float64 {
	m := map[string]float64{}
	if t.account != nil && t.account.Rate > 0 {
		m[kneeMeasure], m["search_runs"] = t.account.Rate, float64(len(t.account.Steps))
	}
	if o := t.facts.outcome; o.requests > 0 && t.records == nil {
		m["lookups_per_1000_requests"] = 1000 * float64(o.lookups) / float64(o.requests)
	}
	if t.recovery > 0 {
		m["recovery_s"] = t.recovery.Seconds()
	}
	if t.inRound() {
		return m
	}
	if f := t.out.Fault; f != nil && f.EndNs > 0 {
		for _, s := range t.answers {
			t.event(s.event())
		}
		if len(t.aimed.Members) > 0 && len(t.answers) > 0 {
			maps.Copy(m, answerMeasures(t.answers, t.aimed.Members, f.BeginNs, f.EndNs))
		}
		maps.Copy(m, errorMeasures(t.facts.outcome.failures, f.BeginNs, f.EndNs))
		maps.Copy(m, splitMeasures(m, t.pool.events, t.aimed.Members, f.BeginNs, f.EndNs))
	}
	if t.cell.Trials.Churn != nil {
		for _, s := range t.answers {
			t.event(s.event())
		}
		p, err := t.propagation()
		if err != nil {
			t.Log.Warn("reading how pods came and went", "trial", t.out.ID, "error", err)
		}
		maps.Copy(m, p)
	}
	if t.records != nil {
		all, err := t.summaries()
		if err != nil {
			t.Log.Warn("reading accuracy", "trial", t.out.ID, "error", err)
		}
		maps.Copy(m, accuracyMeasures(all))
		if err := results.WriteAccuracy(filepath.Join(t.dir, results.AccuracySecondsFile), bySecond(all)); err != nil {
			t.Log.Warn("writing accuracy", "trial", t.out.ID, "error", err)
		}
	}
	return m
}

// splitMeasures splits the time in which clients saw errors of a fault: until Kubernetes knew (detect), from there until no server
// answered with what is gone (publish), until no resolver did (cache), and until the last error was over (reconnect). Of a
// system that clients do not find by DNS, publish is from detection to the last error. A part that took nothing is 0.
func splitMeasures(known map[string]float64, pool []results.Event, members []netip.Prefix, begin, end int64) map[string]float64 {
	m := map[string]float64{}
	first := map[netip.Addr]int64{} // a pod that ends gracefully is unready first, and gone seconds later
	for _, e := range pool {
		a, err := netip.ParseAddr(e.Target)
		if err != nil || e.UnixNs < begin || e.UnixNs >= end || e.Name != "unready" && e.Name != "gone" {
			continue
		}
		if len(members) == 0 || slices.ContainsFunc(members, func(p netip.Prefix) bool { return p.Contains(a) }) {
			if at, known := first[a]; !known || e.UnixNs < at {
				first[a] = e.UnixNs
			}
		}
	}
	var detected int64
	for _, at := range first {
		if len(members) == 0 && detected > 0 {
			detected = min(detected, at) // the first that went is the one that was struck
		} else {
			detected = max(detected, at)
		}
	}
	errors, failed := known["errors_fault_s"]
	if detected == 0 {
		return m
	}
	at := seconds(detected - begin)
	m["detect_s"] = at
	if servers, ok := known["gone_servers_s"]; ok {
		m["publish_s"] = max(servers-at, 0)
		at = max(at, servers)
		if resolvers, ok := known["gone_resolvers_s"]; ok {
			m["cache_s"] = max(resolvers-at, 0)
			at = max(at, resolvers)
		}
		if failed {
			m["reconnect_s"] = max(errors-at, 0)
		}
	} else if failed {
		m["publish_s"] = max(errors-at, 0)
	}
	return m
}

// propagation reads from the samples and the answers how long pods took to be found, and to be forgotten: from the instant at
// which Kubernetes told that an endpoint is ready to the first request that it answered (and to the first answer of every server
// that held it), and from its deletion to the last request that went to it (and to the last answer that held it).
func (t *trial) propagation() (map[string]float64, error) {
	p := newPassage(t.pool.events, t.churned, t.came)
	if err := results.ReadRows(filepath.Join(t.dir, results.SamplesFile), p.samples); err != nil {
		return nil, err
	}
	for _, s := range t.answers {
		if s.Server != ownResolver {
			p.answer(s)
		}
	}
	return p.measures(), nil
}

// passage follows pods as they come and go.
type passage struct {
	ready map[string]int64  // by address: when Kubernetes told that it is ready, in the window
	gone  map[string]gone   // by address: those that were deleted
	named map[string]string // address by pod's name: that is what answers say

	used, answered   map[string]int64 // the first request that succeeded at it, the first answer that held it
	tried, mentioned map[string]int64 // the last request that went to it, the last answer that held it, after its deletion
	wrong            int              // requests that failed at one that was deleted
}

func newPassage(events []results.Event, deleted []gone, came []kubectl.Pod) *passage {
	p := &passage{
		ready: map[string]int64{}, gone: map[string]gone{}, named: map[string]string{},
		used: map[string]int64{}, answered: map[string]int64{}, tried: map[string]int64{}, mentioned: map[string]int64{},
	}
	for _, e := range events {
		if _, known := p.ready[e.Target]; e.Name == "ready" && !known {
			p.ready[e.Target] = e.UnixNs
		}
	}
	for _, g := range deleted {
		p.gone[g.address], p.named[g.name] = g, g.address
	}
	for i := range came {
		p.named[came[i].Name] = came[i].Address
	}
	return p
}

func (p *passage) samples(rows []results.Sample) error {
	for i := range rows {
		r := &rows[i]
		at := r.IntendedNs + r.TotalNs
		peer := r.Peer
		if a, ok := p.named[r.Backend]; ok {
			peer = a // there may be a proxy before it
		}
		if ready, came := p.ready[peer]; came && r.OK() && at >= ready {
			first(p.used, peer, at)
		}
		if g, went := p.gone[peer]; went && r.SentNs > g.atNs {
			p.tried[peer] = max(p.tried[peer], at)
			if !r.OK() {
				p.wrong++
			}
		}
	}
	return nil
}

func (p *passage) answer(s span) {
	for _, a := range s.addresses() {
		if ready, came := p.ready[a.String()]; came && s.UntilNs >= ready {
			first(p.answered, a.String()+" "+s.Client+" "+s.Server, max(s.FromNs, ready))
		}
		if g, went := p.gone[a.String()]; went && s.UntilNs > g.atNs {
			p.mentioned[a.String()] = max(p.mentioned[a.String()], s.UntilNs)
		}
	}
}

func first(of map[string]int64, key string, at int64) {
	if known, ok := of[key]; !ok || at < known {
		of[key] = at
	}
}

func (p *passage) measures() map[string]float64 {
	m := map[string]float64{"wrong_requests": float64(p.wrong), "came_pods": float64(len(p.ready)), "went_pods": float64(len(p.gone))}
	delays := func(name string, at map[string]int64, since func(key string) (int64, bool)) {
		var list []float64
		for key, ns := range at {
			if from, ok := since(key); ok {
				list = append(list, seconds(max(ns-from, 0)))
			}
		}
		if len(list) > 0 {
			m[name+"_s"], m[name+"_max_s"] = stats.Median(list), slices.Max(list)
		}
	}
	ready := func(key string) (int64, bool) {
		address, _, _ := strings.Cut(key, " ")
		at, ok := p.ready[address]
		return at, ok
	}
	deleted := func(key string) (int64, bool) { return p.gone[key].atNs, true }
	delays("ready_to_first_request", p.used, ready)
	delays("ready_to_first_answer", p.answered, ready)
	delays("deleted_to_last_request", p.tried, deleted)
	delays("deleted_to_last_answer", p.mentioned, deleted)
	return m
}
