// SPDX-License-Identifier: Apache-2.0

package steer

import (
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

// Signal is one evaluation of a metric, or a state: one that stands until there is another, such as that of a health
// check. A state has been confirmed by who gives it, and does not follow the load: Votes, MaxStep and MaxOut do not hold
// it back.
type Signal struct {
	At      time.Time // the evaluation's instant; zero: there was none
	Expires time.Time // from here on the values say nothing any more; zero: it is a state
	Values  []float64 // parallel to Pool.Members; NaN, and what is missing at the end, count as no value
}

func (s Signal) live(now time.Time) bool {
	return !s.At.IsZero() && (s.Expires.IsZero() || now.Before(s.Expires))
}

// state reports whether the signal is one.
func (s Signal) state() bool { return s.Expires.IsZero() }

// Pool is what is decided upon.
type Pool struct {
	Members     []Member // any order, which is quickest when it is that of the addresses; addresses distinct
	Policy      Policy
	TTL         time.Duration // of the answer, where the policy has no rule for it
	NegativeTTL time.Duration // of the answer when nobody is in, likewise
}

// Reason says why a member is in or out.
type Reason string

// Why a member is in.
const (
	Ready       Reason = "ready"       // it is ready and no rule says more
	Within      Reason = "within"      // every rule keeps it
	NoValue     Reason = "no-data"     // the live signals have no value for it; also a reason to be out
	NoSignal    Reason = "no-signal"   // every signal is unknown or too old: readiness alone counts
	Held        Reason = "held"        // it changed too recently; also a reason to be out
	Unconfirmed Reason = "unconfirmed" // too few evaluations say otherwise as yet; also a reason to be out
	Limited     Reason = "limited"     // it should leave, but this step has put out enough
	FailOpen    Reason = "fail-open"   // it should be out, but too few would be left
	LastResort  Reason = "last-resort" // it terminates and still serves, and no member is ready
)

// Why a member is out.
const (
	NotReady    Reason = "not-ready"
	Terminating Reason = "terminating"
	Beyond      Reason = "beyond"    // its value does not satisfy Keep or KeepIf
	Waiting     Reason = "waiting"   // its value satisfies Keep or KeepIf but not yet Readmit or ReadmitIf
	Outranked   Reason = "outranked" // others have the places of Lowest or Highest
	Shedding    Reason = "shedding"  // it is among the greatest beyond the low watermark
)

// Verdict is the decision on one member.
type Verdict struct {
	Address netip.Addr
	In      bool
	Reason  Reason
	Weight  float64   // how often it is chosen: the share of the members that are in; their weights sum up to 1
	Since   time.Time // when In or Reason last changed

	*Detail // never nil; the members of a pool on which nothing but readiness decides have one together
}

// Detail is what signals add to a verdict.
type Detail struct {
	Rule   string    // that decided, by its name; empty: readiness, or nothing that a rule said
	Signal string    // that it judged; empty: it judged an expression
	Value  float64   // that it judged; NaN: none. Of a member that is in: that of the first rule
	Limit  float64   // that the value was compared with; NaN: it was with nothing
	Values []float64 // of the signals, parallel to Decision.Signals; NaN: none
	Memory Memory
}

// Memory is what the next decision must know of a member besides In, Reason and Since. Its times are instants of evaluations,
// which are the same on all replicas, unless only states are live.
type Memory struct {
	Excluded bool      // what the signals alone say
	Turned   time.Time // when Excluded last changed; zero: never
	Votes    uint64    // what the metrics said in the last evaluations, the newest in the lowest bit; 1: out
	Cast     int       // how many of them there were, up to 64
	Relapses int       // how often it has left again soon after its return
	Stated   bool      // states alone have excluded it: when they no longer do, it returns without votes
	Heard    time.Time // the last evaluation that had a value for it
	Entered  time.Time // when it came into the answer, for the slow start; zero: it has always been there
	Pull     float64   // its damped weight before slow start; 0: none yet
}

// Decision is the outcome for a pool, a plain value: decisions from the same input are the same on every replica. Its
// members are in the order of their addresses.
type Decision struct {
	Members  []Verdict
	Signals  []string  // the signals that the policy reads, in the order of Policy.Signals
	Limits   []float64 // what each rule compares with to keep a member that is in; NaN: nothing, or the rule is silent
	FailOpen bool      // the rules would have left too few, and put nobody out
	Opened   time.Time // the last evaluation at which that was so; zero: never

	TTL             time.Duration // of the answer
	TTLRule         string        // that set it, by its name; "floor" or "ceiling": that which would have gone beyond it; "pool": nothing did
	NegativeTTL     time.Duration // of the answer when nobody is in
	NegativeTTLRule string

	Next    time.Time // when time alone may change the decision; zero: never
	At      time.Time // of the newest evaluation of a metric that counted; zero: none yet
	Put     int       // members that it newly put out
	Told    time.Time // of the newest state; zero: none
	Changed time.Time // when the set of those in last changed, or was first decided; zero: not yet
	Churn   float64   // changes of the set since it was first decided, decayed to Changed by TTLChurn's window; 0: none
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

// WeightUnits is what the numbers that Weights returns sum up to, give or take members so light that they are rounded up.
const WeightUnits = 1 << 16

// Weights returns whole numbers in the proportion of the weights of the members that are in, parallel to In and at least
// 1 each; nil: all weigh the same.
func (d Decision) Weights() []uint32 {
	var weights []uint32
	equal := true
	for _, m := range d.Members {
		if m.In {
			weights = append(weights, max(1, uint32(math.Round(m.Weight*WeightUnits))))
			equal = equal && weights[0] == weights[len(weights)-1]
		}
	}
	if equal {
		return nil
	}
	return weights
}

// verdict returns what d says of the address.
func (d Decision) verdict(a netip.Addr) (Verdict, bool) {
	i, found := slices.BinarySearchFunc(d.Members, a, func(v Verdict, a netip.Addr) int { return v.Address.Compare(a) })
	if !found {
		return Verdict{Detail: &Detail{}}, false
	}
	return d.Members[i], true
}
