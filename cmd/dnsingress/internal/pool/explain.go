// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Explanation says why a name is answered as it is. It is what /explain gives as JSON.
type Explanation struct {
	Name     string   `json:"name"`
	Object   string   `json:"object"` // who has the name
	Zone     string   `json:"zone"`
	Serial   uint32   `json:"serial"`
	TTL      uint32   `json:"ttl_seconds"`
	Max      int      `json:"max_answers"` // 0: all
	Policy   *Policy  `json:"policy,omitempty"`
	FailOpen bool     `json:"fail_open"` // too few members satisfied the policy
	Members  []Member `json:"members"`
	Problems []string `json:"problems,omitempty"`
}

// Policy is the policy in force and the state of its signal.
type Policy struct {
	Query     string  `json:"query"`
	Keep      string  `json:"keep"`
	Readmit   string  `json:"readmit,omitempty"`
	Limit     *Number `json:"limit,omitempty"`              // what values are compared with now
	SignalAge *Number `json:"signal_age_seconds,omitempty"` // of the values; absent: there were none yet
	Error     string  `json:"error,omitempty"`              // of the last evaluation
}

// Member is one member with its state.
type Member struct {
	Address netip.Addr `json:"address"`
	Pod     string     `json:"pod,omitempty"`
	Node    string     `json:"node,omitempty"`
	State   string     `json:"state"` // in or out
	Reason  string     `json:"reason"`
	Value   *Number    `json:"value,omitempty"`
	Since   time.Time  `json:"since"`
}

// Number is a float that JSON carries also when it is infinite, then as the text "+Inf" or "-Inf".
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	switch f := float64(n); {
	case math.IsInf(f, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(f, -1):
		return []byte(`"-Inf"`), nil
	case math.IsNaN(f):
		return []byte(`"NaN"`), nil
	default:
		return json.Marshal(f)
	}
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case `"+Inf"`:
		*n = Number(math.Inf(1))
	case `"-Inf"`:
		*n = Number(math.Inf(-1))
	case `"NaN"`:
		*n = Number(math.NaN())
	default:
		return json.Unmarshal(data, (*float64)(n))
	}
	return nil
}

// number is nil for NaN.
func number(f float64) *Number {
	if math.IsNaN(f) {
		return nil
	}
	n := Number(f)
	return &n
}

// Explain says why name is answered as it is; false: no object has it.
func (e *Engine) Explain(name string) (Explanation, bool) {
	host := dns.CanonicalName(name)
	e.mu.RLock()
	defer e.mu.RUnlock()
	owner, ok := e.claims.Owner(host)
	if !ok {
		return Explanation{}, false
	}
	s, z := e.pools[owner], e.zoneOf(host)
	a := z.answers[host]
	x := Explanation{
		Name: host, Object: owner.String(), Zone: z.origin, Serial: z.zone.Serial(), TTL: a.ttl, Max: a.maxAnswers,
		FailOpen: s.decision.FailOpen, Members: make([]Member, 0, len(s.Members)),
	}
	if s.Policy != nil {
		q := e.queries[e.query(s.Policy)]
		x.Policy = &Policy{Query: s.Policy.Signals[0].Query}
		for i, r := range s.Policy.Steer.Rules[:min(1, len(s.Policy.Steer.Rules))] {
			x.Policy.Keep, x.Policy.Readmit = r.Keep.String(), r.Readmit.String()
			if i < len(s.decision.Limits) {
				x.Policy.Limit = number(s.decision.Limits[i])
			}
		}
		if !q.at.IsZero() {
			x.Policy.SignalAge = number(age(q, time.Now()))
		}
		if q.err != nil {
			x.Policy.Error = q.err.Error()
		}
	}
	for _, v := range s.decision.Members {
		i, _ := slices.BinarySearchFunc(s.Members, v.Address, func(m model.Member, a netip.Addr) int { return m.Address.Compare(a) })
		x.Members = append(x.Members, Member{
			Address: v.Address, Pod: s.Members[i].Pod, Node: s.Members[i].Node, State: stateOf(v), Reason: string(v.Reason),
			Value: number(v.Value), Since: v.Since.UTC(),
		})
	}
	for _, p := range s.problems {
		x.Problems = append(x.Problems, p.Reason+": "+p.Message)
	}
	return x, true
}

// Names lists every name that an object has, in order.
func (e *Engine) Names() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	names := []string{}
	for _, z := range e.zones {
		for host := range z.answers {
			names = append(names, host)
		}
	}
	slices.Sort(names)
	return names
}

// age is how old the signal's values are, in seconds.
func age(s *signal, now time.Time) float64 {
	if s == nil || s.at.IsZero() {
		return math.Inf(1)
	}
	return max(0, now.Sub(s.at).Seconds())
}
