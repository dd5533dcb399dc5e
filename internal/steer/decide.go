// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"
)

// Member is what readiness says of one address of a pool.
type Member struct {
	Address     netip.Addr
	Ready       bool // takes new clients
	Serving     bool // answers requests, though perhaps terminating
	Terminating bool // has been told to end
}

// available reports whether readiness alone would answer with the member.
func (m Member) available() bool { return m.Ready && !m.Terminating }

// Signal is one evaluation of a policy's metric.
type Signal struct {
	At      time.Time              // the evaluation's instant; zero: there was none
	Expires time.Time              // from here on the values say nothing any more
	Values  map[netip.Addr]float64 // NaN counts as no value
}

func (s Signal) live(now time.Time) bool { return !s.At.IsZero() && now.Before(s.Expires) }

// Pool is what is decided upon.
type Pool struct {
	Members []Member // any order, addresses distinct
	Policy  Policy
	TTL     time.Duration // of the answer
}

// Reason says why a member is in or out.
type Reason string

// Why a member is in.
const (
	Ready      Reason = "ready"       // it is ready and no policy says more
	Within     Reason = "within"      // its value satisfies the policy
	NoValue    Reason = "no-data"     // the live signal has no value for it; also a reason to be out
	NoSignal   Reason = "no-signal"   // the metric is unknown or too old: readiness alone counts
	Held       Reason = "held"        // it changed too recently; also a reason to be out
	Limited    Reason = "limited"     // it should leave, but this step has put out enough
	FailOpen   Reason = "fail-open"   // it should be out, but too few would be left
	LastResort Reason = "last-resort" // it terminates and still serves, and no member is ready
)

// Why a member is out.
const (
	NotReady    Reason = "not-ready"
	Terminating Reason = "terminating"
	Beyond      Reason = "beyond"  // its value does not satisfy Keep
	Waiting     Reason = "waiting" // its value satisfies Keep but not yet Readmit
)

// Verdict is the decision on one member.
type Verdict struct {
	Address  netip.Addr
	In       bool
	Reason   Reason
	Value    float64   // NaN: none
	Since    time.Time // when In or Reason last changed
	Excluded bool      // what the metric alone says, which Readmit and Hold remember
	Turned   time.Time // when Excluded last changed; zero: never
}

// Decision is the outcome for a pool. Its members are in the order of their addresses.
type Decision struct {
	Members  []Verdict
	FailOpen bool          // Min forced members in
	Limit    float64       // what values were compared with to stay in; NaN: nothing was
	TTL      time.Duration // of the answer
	Next     time.Time     // when time alone may change the decision; zero: never

	step time.Time // the signal that newlyOut counts for
	out  int       // members newly put out by that signal
}

// In returns the addresses in the answer, in order.
func (d Decision) In() []netip.Addr {
	var in []netip.Addr
	for _, m := range d.Members {
		if m.In {
			in = append(in, m.Address)
		}
	}
	return in
}

// verdict returns what d says of the address.
func (d Decision) verdict(a netip.Addr) (Verdict, bool) {
	i, found := slices.BinarySearchFunc(d.Members, a, func(v Verdict, a netip.Addr) int { return v.Address.Compare(a) })
	if !found {
		return Verdict{}, false
	}
	return d.Members[i], true
}

// Decide applies the pool's policy to its members. previous is the pool's last decision (zero: none), now the
// time of this one. No argument is kept or changed.
func Decide(pool Pool, signal Signal, previous Decision, now time.Time) Decision {
	members := slices.SortedFunc(slices.Values(pool.Members), func(a, b Member) int { return a.Address.Compare(b.Address) })
	d := Decision{Limit: math.NaN(), TTL: pool.TTL, Members: make([]Verdict, len(members))}
	for i, m := range members {
		d.Members[i] = byReadiness(m)
	}
	lastResort(members, d.Members)
	if !pool.Policy.Keep.IsZero() {
		d.steer(members, pool.Policy, signal, previous, now)
	}
	for i := range d.Members {
		v := &d.Members[i]
		v.Since = now
		if old, ok := previous.verdict(v.Address); ok && old.In == v.In && old.Reason == v.Reason {
			v.Since = old.Since
		}
	}
	return d
}

func byReadiness(m Member) Verdict {
	v := Verdict{Address: m.Address, Value: math.NaN()}
	switch {
	case m.Terminating:
		v.Reason = Terminating
	case !m.Ready:
		v.Reason = NotReady
	default:
		v.In, v.Reason = true, Ready
	}
	return v
}

// lastResort answers with terminating members that still serve, when nobody else is there.
func lastResort(members []Member, verdicts []Verdict) {
	if slices.ContainsFunc(members, Member.available) {
		return
	}
	for i, m := range members {
		if m.Terminating && m.Serving {
			verdicts[i].In, verdicts[i].Reason = true, LastResort
		}
	}
}

// steer lets the metric have its say on the members that are ready.
func (d *Decision) steer(members []Member, p Policy, signal Signal, previous Decision, now time.Time) {
	var ready []*Verdict
	for i, m := range members {
		if m.available() {
			ready = append(ready, &d.Members[i])
		}
	}
	if !signal.live(now) {
		for _, v := range ready {
			v.Reason = NoSignal
		}
		return
	}
	d.Next = signal.Expires
	d.judge(ready, p, signal, previous, now)
	d.limitStep(ready, p, signal, previous)
	d.failOpen(ready, p)
}

// judge compares every ready member's value with the bounds.
func (d *Decision) judge(ready []*Verdict, p Policy, signal Signal, previous Decision, now time.Time) {
	var values []float64
	for _, v := range ready {
		if value, ok := signal.Values[v.Address]; ok && !math.IsNaN(value) {
			v.Value = value
			values = append(values, value)
		}
	}
	slices.Sort(values)
	d.Limit = p.Keep.limit(values)
	back := p.bound(true).limit(values)
	for _, v := range ready {
		old, known := previous.verdict(v.Address)
		limit := d.Limit
		if old.Excluded {
			limit = back
		}
		switch {
		case math.IsNaN(v.Value):
			v.Excluded, v.Reason = p.NoData == NoDataDrop, NoValue
		case p.bound(old.Excluded).holds(v.Value, limit):
			v.Excluded, v.Reason = false, Within
		case old.Excluded && p.Keep.holds(v.Value, d.Limit):
			v.Excluded, v.Reason = true, Waiting
		default:
			v.Excluded, v.Reason = true, Beyond
		}
		v.Turned = old.Turned
		if known && v.Excluded != old.Excluded {
			if until := old.Turned.Add(p.Hold); !old.Turned.IsZero() && now.Before(until) {
				v.Excluded, v.Reason = old.Excluded, Held
				d.Next = earlier(d.Next, until)
			}
		}
		if v.Excluded != old.Excluded {
			v.Turned = now
		}
		v.In = !v.Excluded
	}
}

// limitStep takes back exclusions beyond the share that one signal may put out, the mildest first.
func (d *Decision) limitStep(ready []*Verdict, p Policy, signal Signal, previous Decision) {
	d.step = signal.At
	if previous.step.Equal(signal.At) {
		d.out = previous.out
	}
	var fresh []*Verdict
	for _, v := range ready {
		if old, _ := previous.verdict(v.Address); v.Excluded && !old.Excluded {
			fresh = append(fresh, v)
		}
	}
	if p.MaxStep > 0 {
		slices.SortStableFunc(fresh, func(a, b *Verdict) int {
			return cmp.Or(cmp.Compare(excess(b, d.Limit), excess(a, d.Limit)), a.Address.Compare(b.Address))
		})
		allowed := max(0, max(1, int(p.MaxStep*float64(len(ready))))-d.out)
		for _, v := range fresh[min(allowed, len(fresh)):] {
			old, _ := previous.verdict(v.Address)
			v.In, v.Excluded, v.Turned, v.Reason = true, false, old.Turned, Limited
		}
		fresh = fresh[:min(allowed, len(fresh))]
	}
	d.out += len(fresh)
}

// excess is how far a value is beyond the limit; members without a value are the mildest case.
func excess(v *Verdict, limit float64) float64 {
	if math.IsNaN(v.Value) {
		return 0
	}
	if away := math.Abs(v.Value - limit); !math.IsNaN(away) {
		return away
	}
	return math.Inf(1)
}

// failOpen puts every ready member in when fewer than the minimum would be left.
func (d *Decision) failOpen(ready []*Verdict, p Policy) {
	left := 0
	for _, v := range ready {
		if v.In {
			left++
		}
	}
	if left >= min(max(1, p.Min), len(ready)) {
		return
	}
	d.FailOpen = true
	for _, v := range ready {
		if !v.In {
			v.In, v.Reason = true, FailOpen
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
