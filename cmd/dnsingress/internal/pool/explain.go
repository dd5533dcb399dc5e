// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// Explanation says why a name is answered as it is. It is what /explain gives as JSON.
type Explanation struct {
	Name        string      `json:"name"`
	Object      string      `json:"object"`           // who has the name
	Rivals      []string    `json:"rivals,omitempty"` // who claims the name as well, and does not have it
	Zone        string      `json:"zone"`
	Serial      uint32      `json:"serial"`
	TTL         uint32      `json:"ttl_seconds"`
	TTLRule     string      `json:"ttl_rule"` // that set it; pool: no rule did
	NegativeTTL uint32      `json:"negative_ttl_seconds"`
	Max         int         `json:"max_answers"` // 0: all
	Selection   string      `json:"selection"`
	Policy      *Policy     `json:"policy,omitempty"`
	FailOpen    bool        `json:"fail_open"`     // too few members satisfied the policy
	LastResort  bool        `json:"last_resort"`   // nobody is ready: who serves while terminating is answered with
	For         string      `json:"for,omitempty"` // the host that the name was made for, by its ports
	Members     []Member    `json:"members"`
	Merge       string      `json:"merge,omitempty"`   // how members of several clusters share the name
	Peers       []Peer      `json:"peers,omitempty"`   // other clusters that have members for the name
	Groups      []Group     `json:"groups,omitempty"`  // that the members belong to
	Records     []RecordSet `json:"records,omitempty"` // that the name has beside the members' addresses
	Follows     []Followed  `json:"follows,omitempty"` // host names outside whose addresses are among the records
	Problems    []string    `json:"problems,omitempty"`
	History     []Event     `json:"history"` // the last decisions that changed something, the newest last
}

// Policy is the policy in force and the state of its signals. The fields up to Error are of its first rule and signal.
type Policy struct {
	Query     string   `json:"query"`
	Keep      string   `json:"keep"`
	Readmit   string   `json:"readmit,omitempty"`
	Limit     *Number  `json:"limit,omitempty"`              // what values are compared with now
	SignalAge *Number  `json:"signal_age_seconds,omitempty"` // of the values; absent: there were none yet
	Error     string   `json:"error,omitempty"`              // of the last evaluation
	Signals   []Signal `json:"signals"`
	Rules     []Rule   `json:"rules"`
}

// Signal is what is known of one of a policy's signals.
type Signal struct {
	Name     string  `json:"name"`
	Kind     string  `json:"kind"` // promql or health
	Query    string  `json:"query,omitempty"`
	Interval float64 `json:"interval_seconds"`
	Age      *Number `json:"age_seconds,omitempty"` // of the values; absent: there were none yet
	Series   int     `json:"series"`                // of the last result, for all pools that share it
	Error    string  `json:"error,omitempty"`       // of the last evaluation
}

// Rule is one rule of a policy.
type Rule struct {
	Name   string  `json:"name"`
	Signal string  `json:"signal,omitempty"`
	Says   string  `json:"says"`            // as in its document
	Limit  *Number `json:"limit,omitempty"` // what values are compared with now
}

// Member is one member with its state.
type Member struct {
	Address netip.Addr `json:"address"`
	Pod     string     `json:"pod,omitempty"`
	Node    string     `json:"node,omitempty"`
	Group   string     `json:"group,omitempty"`
	Cluster string     `json:"cluster,omitempty"` // whose member it is; absent: no other has any
	State   string     `json:"state"`             // in or out
	Reason  string     `json:"reason"`
	Rule    string     `json:"rule,omitempty"`   // that decided
	Signal  string     `json:"signal,omitempty"` // that it judged
	Value   *Number    `json:"value,omitempty"`
	Limit   *Number    `json:"limit,omitempty"`  // that the value was compared with
	Weight  float64    `json:"weight,omitempty"` // share of the answers
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
	if !ok { // perhaps a delegation to a zone that is served here, too
		if z := e.above(host); z != nil {
			host = e.placed(host, z)
			owner, ok = e.claims.Owner(host)
		}
	}
	if !ok {
		return Explanation{}, false
	}
	s, z := e.pools[owner], e.zoneOf(host)
	a, d := z.answers[host], &s.decision
	x := Explanation{
		For: s.made[host], Groups: s.groups(), Records: a.records(), Follows: e.explainFollows(s, host),
		Name: plain(host), Object: owner.String(), Zone: z.origin, Serial: z.zone.Serial(), TTL: a.ttl, TTLRule: d.TTLRule, NegativeTTL: record.Seconds(d.NegativeTTL),
		Max: a.maxAnswers, Selection: a.selection.Kind.String(), FailOpen: d.FailOpen, Members: make([]Member, 0, len(s.Members)), History: s.history.list(),
	}
	for _, r := range e.claims.Rivals(host) {
		x.Rivals = append(x.Rivals, r.String())
	}
	if s.Policy != nil {
		x.Policy = e.explainPolicy(s)
	}
	if x.For == "" && !slices.Contains(s.hosts, host) {
		x.Groups = nil
		if owner.Kind == peers {
			x.Peers = e.peersOf(host)
		}
		return x.problems(s), true // it has records alone
	}
	for _, v := range d.Members {
		m := Member{
			Address: v.Address, State: stateOf(v), Reason: string(v.Reason), Rule: v.Rule, Signal: v.Signal,
			Value: number(v.Value), Limit: number(v.Limit), Weight: v.Weight, Since: v.Since.UTC(),
		}
		if known := s.member(v.Address); known != nil {
			m.Pod, m.Node = known.Pod, known.Node
			if len(s.Groups) > 0 {
				g := x.Groups[known.Group]
				if m.Group = g.Name; v.In {
					m.Weight *= g.factor
				}
			}
		}
		x.LastResort = x.LastResort || v.In && v.Reason == steer.LastResort
		x.Members = append(x.Members, m)
	}
	e.explainPeers(&x, s, host)
	return x.problems(s), true
}

func (x Explanation) problems(s *state) Explanation {
	for _, p := range s.problems {
		x.Problems = append(x.Problems, p.Reason+": "+p.Message)
	}
	return x
}

func (e *Engine) explainPolicy(s *state) *Policy {
	p := &Policy{}
	now := time.Now()
	for i, q := range s.queries {
		m, have := s.Policy.Signals[i], e.queries[q]
		x := Signal{Name: m.Name, Kind: "promql", Query: m.Query, Interval: q.Interval.Seconds(), Series: have.Samples.Series}
		if !have.Due.IsZero() {
			x.Age = number(age(have, now))
		}
		if have.err != nil {
			x.Error = have.err.Error()
		}
		p.Signals = append(p.Signals, x)
		if i == 0 {
			p.Query, p.SignalAge, p.Error = x.Query, x.Age, x.Error
		}
	}
	for _, c := range s.Policy.Checks {
		x := Signal{Name: c.Name, Kind: "health", Interval: c.Interval.Seconds()}
		if known, ok := s.checks[c.Name]; ok {
			x.Age, x.Series = number(max(0, now.Sub(known.at).Seconds())), len(known.values)
		}
		p.Signals = append(p.Signals, x)
	}
	for i, r := range s.Policy.Steer.Rules {
		x := Rule{Name: r.Name, Signal: r.Signal, Says: says(r)}
		if i < len(s.decision.Limits) {
			x.Limit = number(s.decision.Limits[i])
		}
		p.Rules = append(p.Rules, x)
		if i == 0 {
			p.Keep, p.Readmit, p.Limit = r.Keep.String(), r.Readmit.String(), x.Limit
		}
	}
	return p
}

// Names lists every name that an object has, in order.
func (e *Engine) Names() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	names := []string{}
	for _, z := range e.zones {
		for host := range z.answers {
			names = append(names, plain(host))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// age is how old the signal's values are, in seconds.
func age(s *signal, now time.Time) float64 {
	if s == nil || s.Due.IsZero() {
		return math.Inf(1)
	}
	return max(0, now.Sub(s.At).Seconds())
}
