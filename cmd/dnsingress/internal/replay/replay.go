// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// Setup is what a policy meets in the cluster.
type Setup struct {
	Interval    time.Duration // between evaluations of signals that set none
	Staleness   time.Duration // of signals that set none
	TTL         time.Duration // of the pool
	NegativeTTL time.Duration
	Namespace   string // of the policy, whose pods alone it steers; empty: whichever
}

// Outcome is what a policy made of a recording.
type Outcome struct {
	From, To  time.Time
	Decisions int      // that were made
	Changes   []Change // those that changed something, in order
	Members   []Member // by name
	Moves     int      // members entering or leaving after the first decision
	FailOpen  time.Duration
	LeastTTL  time.Duration
	MostTTL   time.Duration
	MeanTTL   time.Duration // over time
}

// Change is a decision that is other than the one before.
type Change struct {
	At       time.Time
	In       int
	Ready    int
	FailOpen bool
	TTL      time.Duration
	TTLRule  string
	Moves    []Move // empty: only the TTL or FailOpen changed
}

// Move is a member entering or leaving.
type Move struct {
	Member string
	In     bool
	Gone   bool // it left because it was not there any more
	Reason string
	Rule   string
	Value  float64 // NaN: none
	Limit  float64 // that it was compared with; NaN: none
}

// Member is what became of one member.
type Member struct {
	Name       string
	Share      float64 // of the time that it was there, in the answers
	Leaves     int
	LongestOut time.Duration
	Weight     float64 // mean over the time that it was in

	present, in time.Duration
	weighted    float64
	outSince    time.Time
}

// recording is samples by signal and member, each in order of time.
type recording struct {
	members []string // in the order of their addresses
	address map[string]netip.Addr
	signals map[string]map[string][]Sample
	spacing map[string]time.Duration // of each signal's samples
	first   map[string]time.Time     // a member's first sample, and its last
	last    map[string]time.Time
}

// Run replays samples through a policy.
func Run(p *model.Policy, samples []Sample, setup Setup) (Outcome, error) {
	r, err := record(p, samples, setup.Namespace)
	if err != nil {
		return Outcome{}, err
	}
	run := &run{policy: p, setup: setup, recording: r, members: map[string]*Member{}}
	from, to := run.span()
	run.outcome.From, run.outcome.To = from, to
	run.outcome.LeastTTL = math.MaxInt64
	step := run.step()
	for at := from; !at.After(to); at = at.Add(step) {
		run.decide(at)
		// Time alone may change something before the next evaluation.
		for next := run.decision.Next; next.After(run.at) && next.Before(at.Add(step)) && !next.After(to); next = run.decision.Next {
			run.decide(next)
		}
	}
	return run.finish(to), nil
}

// record sorts the samples, and refuses those of signals that the policy does not have.
func record(p *model.Policy, samples []Sample, namespace string) (*recording, error) {
	r := &recording{address: map[string]netip.Addr{}, signals: map[string]map[string][]Sample{}, spacing: map[string]time.Duration{}, first: map[string]time.Time{}, last: map[string]time.Time{}}
	known := map[string]bool{}
	var names []string
	for _, s := range p.Signals {
		names = append(names, s.Name)
	}
	for _, c := range p.Checks {
		names = append(names, c.Name)
	}
	for _, n := range names {
		known[n] = true
	}
	unknown := map[string]bool{}
	for _, s := range samples {
		if namespace != "" && s.Namespace != "" && s.Namespace != namespace {
			continue // live, these are nobody's
		}
		s.Member = s.name()
		if s.Signal == "" && len(names) == 1 {
			s.Signal = names[0]
		}
		if !known[s.Signal] {
			unknown[s.Signal] = true
			continue
		}
		if r.signals[s.Signal] == nil {
			r.signals[s.Signal] = map[string][]Sample{}
		}
		r.signals[s.Signal][s.Member] = append(r.signals[s.Signal][s.Member], s)
		if at, ok := r.first[s.Member]; !ok || s.At.Before(at) {
			r.first[s.Member] = s.At
		}
		if s.At.After(r.last[s.Member]) {
			r.last[s.Member] = s.At
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("samples of signals that the policy does not have: %s (hint: it has %s)",
			strings.Join(slices.Sorted(quoted(unknown)), ", "), strings.Join(names, ", "))
	}
	if len(r.first) == 0 {
		return nil, fmt.Errorf("no samples of namespace %s, where the policy is", namespace)
	}
	for signal, members := range r.signals {
		var gaps []time.Duration
		for _, one := range members {
			slices.SortStableFunc(one, func(a, b Sample) int { return a.At.Compare(b.At) })
			for i := range one[1:] {
				if gap := one[i+1].At.Sub(one[i].At); gap > 0 {
					gaps = append(gaps, gap)
				}
			}
		}
		if len(gaps) > 0 {
			slices.Sort(gaps)
			r.spacing[signal] = gaps[len(gaps)/2]
		}
	}
	for i, m := range slices.Sorted(maps.Keys(r.first)) {
		a, err := netip.ParseAddr(m)
		if err != nil { // a pod's name: any address will do, in the order of names
			a = netip.AddrFrom16([16]byte{0: 0xfd, 12: byte(i >> 24), 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		}
		r.address[m] = a
		r.members = append(r.members, m)
	}
	slices.SortFunc(r.members, func(a, b string) int { return r.address[a].Compare(r.address[b]) })
	return r, nil
}

// name tells the sample's member from others: pods of two namespaces may be called the same.
func (s Sample) name() string {
	if s.Namespace == "" {
		return s.Member
	}
	return s.Namespace + "/" + s.Member
}

func quoted(names map[string]bool) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for n := range names {
			if !yield(fmt.Sprintf("%q", n)) {
				return
			}
		}
	}
}

// run is the state of a replay.
type run struct {
	*recording
	policy   *model.Policy
	setup    Setup
	decision steer.Decision
	at       time.Time // of the decision; zero: none yet
	there    []string  // members of the decision, in its order
	members  map[string]*Member
	ttl      float64 // seconds × seconds
	outcome  Outcome
}

// step is the greatest time that fits all intervals, so that every signal is evaluated at its own instants.
func (r *run) step() time.Duration {
	step := time.Duration(0)
	for _, s := range r.policy.Signals {
		a, b := r.interval(s), step
		for b != 0 {
			a, b = b, a%b
		}
		step = a
	}
	return cmp.Or(step, r.setup.Interval)
}

func (r *run) interval(s model.Signal) time.Duration { return cmp.Or(s.Interval, r.setup.Interval) }

func (r *run) staleness(s model.Signal) time.Duration {
	return s.Life(r.setup.Interval, r.setup.Staleness)
}

// span is from the first instant with a sample to the last one's.
func (r *run) span() (from, to time.Time) {
	for _, at := range r.first {
		if from.IsZero() || at.Before(from) {
			from = at
		}
	}
	for _, at := range r.last {
		if at.After(to) {
			to = at
		}
	}
	step := r.step()
	if aligned := promql.Instant(from, step); aligned.Equal(from) {
		return from, to
	}
	from = promql.Instant(from, step).Add(step)
	if to.Before(from) {
		to = from
	}
	return from, to
}

// patience is how long a member counts as there after its last sample.
func (r *run) patience() time.Duration {
	longest := time.Duration(0)
	for _, s := range r.policy.Signals {
		longest = max(longest, r.staleness(s))
	}
	return cmp.Or(longest, r.setup.Staleness)
}

// decide makes the decision at one instant and takes note of what is other than before.
func (r *run) decide(at time.Time) {
	r.account(at)
	pool := steer.Pool{Policy: r.policy.Steer, TTL: r.setup.TTL, NegativeTTL: r.setup.NegativeTTL}
	var there []string
	for _, m := range r.recording.members {
		if !r.first[m].After(at) && !r.last[m].Add(r.patience()).Before(at) {
			there = append(there, m)
			pool.Members = append(pool.Members, steer.Member{Address: r.address[m], Ready: true, Serving: true})
		}
	}
	signals := map[string]steer.Signal{}
	for _, s := range r.policy.Signals {
		signals[s.Name] = r.evaluate(s, at, there)
	}
	for _, c := range r.policy.Checks {
		signals[c.Name] = r.state(c.Name, at, there)
	}
	before, beforeThere, first := r.decision, r.there, r.at.IsZero()
	r.decision, r.there, r.at = steer.Decide(pool, signals, before, at), there, at
	r.outcome.Decisions++
	r.note(before, beforeThere, first)
}

// evaluate gives a signal's values as of its last evaluation at or before at. An evaluation of which no sample is newer
// than the one before has not taken place. At one that has, a member has a value if it has one sample not older than
// samples of the signal are apart: live, too, a series that is missing at an instant is no data at once, and several are.
func (r *run) evaluate(s model.Signal, at time.Time, there []string) steer.Signal {
	interval, life := r.interval(s), r.staleness(s)
	instant := promql.Instant(at, interval)
	newest := time.Time{}
	for _, samples := range r.signals[s.Name] {
		if i := until(samples, instant); i > 0 && samples[i-1].At.After(newest) {
			newest = samples[i-1].At
		}
	}
	if newest.IsZero() {
		return steer.Signal{}
	}
	if heard := promql.Instant(newest, interval); !newest.After(instant.Add(-interval)) {
		if instant = heard; heard.Before(newest) {
			instant = heard.Add(interval)
		}
	}
	out := steer.Signal{At: instant, Expires: instant.Add(life), Values: make([]float64, len(there))}
	for i, m := range there {
		out.Values[i] = math.NaN()
		samples := r.signals[s.Name][m]
		n := until(samples, instant)
		ambiguous := n > 1 && samples[n-2].At.Equal(samples[n-1].At)
		if n > 0 && !ambiguous && samples[n-1].At.After(instant.Add(-cmp.Or(r.spacing[s.Name], interval))) {
			out.Values[i] = samples[n-1].Value
		}
	}
	return out
}

// state gives what health checks have last said: it stands until they say otherwise.
func (r *run) state(check string, at time.Time, there []string) steer.Signal {
	out := steer.Signal{Values: make([]float64, len(there))}
	for i, m := range there {
		out.Values[i] = math.NaN()
		samples := r.signals[check][m]
		if n := until(samples, at); n > 0 {
			out.Values[i] = samples[n-1].Value
			if samples[n-1].At.After(out.At) {
				out.At = samples[n-1].At
			}
		}
	}
	return out
}

// until is how many samples are at or before at.
func until(samples []Sample, at time.Time) int {
	return sort.Search(len(samples), func(i int) bool { return samples[i].At.After(at) })
}

// note compares the decision with the one before.
func (r *run) note(before steer.Decision, beforeThere []string, first bool) {
	d := r.decision
	c := Change{At: r.at, FailOpen: d.FailOpen, TTL: d.TTL, TTLRule: d.TTLRule, Ready: len(r.there)}
	was := map[string]bool{}
	for i, v := range before.Members {
		was[beforeThere[i]] = v.In
	}
	for i, v := range d.Members {
		name := r.there[i]
		if r.members[name] == nil {
			r.members[name] = &Member{Name: name}
		}
		if v.In {
			c.In++
		}
		in, known := was[name]
		delete(was, name)
		if v.In == in && (known || !v.In) {
			continue
		}
		c.Moves = append(c.Moves, Move{Member: name, In: v.In, Reason: string(v.Reason), Rule: v.Rule, Value: v.Value, Limit: v.Limit})
		if !v.In {
			r.members[name].Leaves++
			r.members[name].outSince = r.at
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if was[name] {
			c.Moves = append(c.Moves, Move{Member: name, Gone: true, Reason: "gone", Value: math.NaN(), Limit: math.NaN()})
		}
	}
	if !first {
		r.outcome.Moves += len(c.Moves)
	}
	if first || len(c.Moves) > 0 || d.FailOpen != before.FailOpen || d.TTL != before.TTL || d.TTLRule != before.TTLRule {
		r.outcome.Changes = append(r.outcome.Changes, c)
	}
	r.outcome.LeastTTL, r.outcome.MostTTL = min(r.outcome.LeastTTL, d.TTL), max(r.outcome.MostTTL, d.TTL)
}

// account books the time that the last decision stood until at.
func (r *run) account(at time.Time) {
	if r.at.IsZero() {
		return
	}
	stood := at.Sub(r.at)
	for i, v := range r.decision.Members {
		m := r.members[r.there[i]]
		m.present += stood
		if v.In {
			m.in += stood
			m.weighted += v.Weight * stood.Seconds()
			m.outSince = time.Time{}
		} else if !m.outSince.IsZero() {
			m.LongestOut = max(m.LongestOut, at.Sub(m.outSince))
		}
	}
	if r.decision.FailOpen {
		r.outcome.FailOpen += stood
	}
	r.ttl += r.decision.TTL.Seconds() * stood.Seconds()
}

func (r *run) finish(to time.Time) Outcome {
	r.account(to)
	for _, name := range slices.Sorted(maps.Keys(r.members)) {
		m := r.members[name]
		if m.present > 0 {
			m.Share = m.in.Seconds() / m.present.Seconds()
		}
		if m.in > 0 {
			m.Weight = m.weighted / m.in.Seconds()
		}
		r.outcome.Members = append(r.outcome.Members, *m)
	}
	r.outcome.MeanTTL = r.decision.TTL
	if all := to.Sub(r.outcome.From).Seconds(); all > 0 {
		r.outcome.MeanTTL = time.Duration(r.ttl / all * float64(time.Second))
	}
	return r.outcome
}
