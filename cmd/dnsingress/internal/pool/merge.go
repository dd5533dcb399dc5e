// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// Reasons for which a member is not in an answer that several clusters have members for, beside those of its own cluster.
const (
	leaseEnded  = "lease-ended"  // its cluster has not confirmed it for so long
	standby     = "standby"      // a cluster before its own has somebody
	noWeight    = "no-weight"    // its cluster, or its group, has weight 0, and others have more
	sameAddress = "same-address" // another cluster has it too, which counts more
	otherReady  = "other-ready"  // it is a last resort, and another cluster has somebody who is ready
)

// candidate is a member that an answer of several clusters can hold.
type candidate struct {
	model.SharedMember
	cluster string
	share   float64 // of the answers, to a client who is nowhere; 0: it is not in
}

// candidates are all members that clusters have for a host, this one's before those of the others, each with whether it
// is in the answer and why; nil: this cluster alone has any.
func (e *Engine) candidates(s *state, host string, rule config.Merge) []candidate {
	if e.sharer == nil {
		return nil
	}
	var all []candidate
	merged := false
	for _, p := range e.options.Config.Peers.Clusters {
		share := e.remote[p.Name][host]
		if share == nil || !share.Pooled() {
			continue
		}
		if !merged { // not before: most hosts are of one cluster
			merged = true
			for _, m := range e.own(s) {
				all = append(all, candidate{SharedMember: m, cluster: e.options.Config.Cluster.Name})
			}
		}
		state := e.states[p.Name]
		for _, m := range share.Members {
			if !state.Up {
				if m.In {
					m.Since = state.Since
				}
				m.In, m.Reason = false, leaseEnded
			}
			all = append(all, candidate{SharedMember: m, cluster: p.Name})
		}
	}
	if !merged {
		return nil
	}
	e.elect(all, host, rule)
	return all
}

// elect takes out whom the other clusters leave no place, and finds out which share each has who is in.
func (e *Engine) elect(all []candidate, host string, rule config.Merge) {
	leave := func(reason string, who func(*candidate) bool) {
		for i := range all {
			if c := &all[i]; c.In && who(c) {
				c.In, c.Reason = false, reason
			}
		}
	}
	if slices.ContainsFunc(all, func(c candidate) bool { return c.In && !c.Resort }) {
		leave(otherReady, func(c *candidate) bool { return c.Resort })
	}
	switch rule.By {
	case config.MergePrimaryFallback:
		if first := e.first(all, host, rule); first != "" {
			since := e.active[host].since
			for i := range all {
				if c := &all[i]; c.In && c.cluster != first {
					c.In, c.Reason = false, standby
					if c.Since.Before(since) {
						c.Since = since
					}
				}
			}
		}
	case config.MergeWeight:
		if slices.ContainsFunc(all, func(c candidate) bool { return c.In && rule.Weight(c.cluster) > 0 }) {
			leave(noWeight, func(c *candidate) bool { return rule.Weight(c.cluster) == 0 })
		}
	}
	seen := make(map[netip.Addr]bool, len(all))
	leave(sameAddress, func(c *candidate) bool {
		double := seen[c.Address]
		seen[c.Address] = true
		return double
	})
	shares(all, rule)
}

// first is the first cluster in a rule's order that has somebody; "": none has.
func (e *Engine) first(all []candidate, host string, rule config.Merge) string {
	place := func(cluster string) int {
		if i := slices.Index(rule.Order, cluster); i >= 0 {
			return i
		}
		return len(rule.Order)
	}
	first := ""
	for _, c := range all {
		if c.In && (first == "" || cmp.Or(cmp.Compare(place(c.cluster), place(first)), strings.Compare(c.cluster, first)) < 0) {
			first = c.cluster
		}
	}
	return first
}

// shares finds out which share of the answers each has who is in.
func shares(all []candidate, rule config.Merge) {
	sums := map[string]float64{} // of weights: by cluster, and of all under ""
	for _, c := range all {
		if c.In {
			sums[c.cluster] += c.Weight
			sums[""] += c.Weight
		}
	}
	clusters := 0.0
	for cluster := range sums {
		if cluster != "" {
			clusters += float64(rule.Weight(cluster))
		}
	}
	for i := range all {
		c := &all[i]
		switch {
		case !c.In:
		case rule.By == config.MergeWeight && clusters > 0:
			c.share = c.Weight / sums[c.cluster] * float64(rule.Weight(c.cluster)) / clusters
		default:
			c.share = c.Weight / sums[""]
		}
	}
}

// merge puts the members of other clusters into an answer for a host of a pool.
func (e *Engine) merge(a *answer, s *state, host string) {
	rule := e.options.Config.Peers.Merging(host)
	all := e.candidates(s, host, rule)
	if all == nil {
		return
	}
	e.activate(all, host, rule)
	for _, p := range e.options.Config.Peers.Clusters {
		if share := e.remote[p.Name][host]; share != nil && slices.ContainsFunc(all, func(c candidate) bool { return c.In && c.cluster == p.Name }) {
			a.ttl = min(a.ttl, share.TTL) // nobody may keep a member longer than its own cluster says
		}
	}
	in := interleaved(all, rule)
	a.addresses, a.weights, a.locations, a.groups = make([]netip.Addr, len(in)), nil, nil, nil
	for i, c := range in {
		a.addresses[i] = c.Address
	}
	equal := !slices.ContainsFunc(in, func(c candidate) bool { return c.Weight != in[0].Weight })
	switch {
	case rule.By == config.MergeGeo:
		a.selection = zone.Selection{Kind: zone.Near, Least: a.selection.Least}
	case !equal && !weighs(a.selection.Kind) && a.selection.Kind != zone.All:
		a.selection = zone.Selection{Kind: zone.Weighted}
	}
	if !equal && weighs(a.selection.Kind) {
		a.weights = make([]uint32, len(in))
		for i, c := range in {
			a.weights[i] = max(1, uint32(math.Round(c.Weight*weightUnit)))
		}
	}
	if a.selection.Kind == zone.Near {
		a.locations = make([]string, len(in))
		for i, c := range in {
			a.locations[i] = c.Location
		}
	}
	if rule.By == config.MergeWeight {
		a.groups = grouped(in, rule)
	}
	a.bound()
}

// weightUnit is the weight of a member that weighs as much as its cluster's members do on average.
const weightUnit = 1000

// rounded is a weight as other clusters have it: finer ones would change a zone and say nothing.
func rounded(w float64) float64 { return max(1, math.Round(w*weightUnit)) / weightUnit }

// interleaved are those who are in, in the order in which an answer has them: by cluster, where it holds one cluster's
// alone; else one of each in turn, so that neighbours are of several.
func interleaved(all []candidate, rule config.Merge) []candidate {
	var in []candidate
	ranks := make(map[netip.Addr]int, len(all))
	counts := map[string]int{}
	for _, c := range all { // those of a cluster by address
		if c.In {
			in = append(in, c)
			ranks[c.Address] = counts[c.cluster]
			counts[c.cluster]++
		}
	}
	if rule.By != config.MergeWeight {
		slices.SortStableFunc(in, func(a, b candidate) int { return cmp.Compare(ranks[a.Address], ranks[b.Address]) })
	}
	return in
}

// grouped are the clusters as options of which an answer holds one; nil: there is but one.
func grouped(in []candidate, rule config.Merge) []zone.Group {
	var groups []zone.Group
	for _, c := range in {
		if n := len(groups); n == 0 || groups[n-1].Name != c.cluster {
			groups = append(groups, zone.Group{Weight: rule.Weight(c.cluster), Name: c.cluster})
		}
		groups[len(groups)-1].Records++
	}
	if len(groups) == 1 {
		return nil
	}
	return groups
}

// activate notes from which cluster a host is answered, with primary-fallback, and since when.
func (e *Engine) activate(all []candidate, host string, rule config.Merge) {
	if rule.By != config.MergePrimaryFallback {
		return
	}
	if first := e.first(all, host, rule); first != e.active[host].cluster {
		e.active[host] = active{first, e.now}
	}
}
