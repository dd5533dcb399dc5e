// SPDX-License-Identifier: Apache-2.0

// Package listing writes out the records that pools publish, with no server and no zone: values in, lines out.
package listing

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// Line is one record, with what a zone file cannot say of it.
type Line struct {
	Name   string  `json:"name"` // fully qualified
	TTL    uint32  `json:"ttl"`  // seconds
	Type   string  `json:"type"`
	Data   string  `json:"data"`             // in presentation form; empty: Follow
	Follow string  `json:"follow,omitempty"` // the host name whose addresses stand here
	Geo    string  `json:"geo,omitempty"`
	Weight *uint32 `json:"weight,omitempty"`
	Set    string  `json:"set,omitempty"` // the option's name, or that of the group of members
	Policy string  `json:"policy,omitempty"`
	Reason string  `json:"reason,omitempty"` // why the member is answered with, where it is not simply ready
	Object string  `json:"object"`           // that publishes the record
}

// String is the line of a zone file. Addresses that are those of another host name, at whatever time, are a comment.
func (l Line) String() string {
	text := fmt.Sprintf("%s %d IN %s %s", l.Name, l.TTL, l.Type, l.Data)
	if l.Follow != "" {
		text = fmt.Sprintf("; %s %d IN %s addresses of %s", l.Name, l.TTL, l.Type, l.Follow)
	}
	var notes []string
	note := func(key, value string) {
		if value == "" {
			return
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == ',' || r == '"' || r == 0x7f }) {
			value = strconv.Quote(value)
		}
		notes = append(notes, key+" "+value)
	}
	note("geo", l.Geo)
	if l.Weight != nil {
		note("weight", fmt.Sprint(*l.Weight))
	}
	note("set", l.Set)
	note("policy", l.Policy)
	note("reason", l.Reason)
	if len(notes) > 0 {
		text += " ; " + strings.Join(notes, ", ")
	}
	return text
}

func (l Line) compare(o Line) int {
	return cmp.Or(
		strings.Compare(l.Name, o.Name), strings.Compare(l.Type, o.Type), strings.Compare(l.Data, o.Data), strings.Compare(l.Follow, o.Follow),
		strings.Compare(l.Geo, o.Geo), strings.Compare(l.Set, o.Set), strings.Compare(l.Object, o.Object),
	)
}

// Published is a pool with the name of the policy that is on it; empty: none.
type Published struct {
	model.Pool
	Policy string
}

// Problem is what is wrong with the pool of an object.
type Problem struct {
	Ref model.Ref
	model.Problem
}

// listing is the records of pools in the making.
type listing struct {
	ttl      uint32
	pools    map[model.Ref]*arranged
	claims   model.Claims
	origins  model.Claims     // of the zones
	zones    map[string]*held // by origin
	problems []Problem
	lines    []Line
}

// arranged is what a pool can publish, and the names that this takes.
type arranged struct {
	Published
	hosts  []string
	sets   []model.RecordSet
	setsAt map[string][]int // in sets, by name
	names  []string
	made   map[string]string
	cut    string // of a delegation: the child, as claimed
}

// Lines are the records that the pools publish while nothing but readiness decides who is answered with, in the order of
// their names, types and data, and what is wrong with the pools. ttl, in seconds, is that of records that have none of
// their own. Of two objects that claim one name the older one has it, as everywhere.
func Lines(pools []Published, ttl uint32) ([]Line, []Problem) {
	l := &listing{ttl: ttl, pools: map[model.Ref]*arranged{}}
	l.hold(pools)
	for _, p := range pools {
		a := &arranged{Published: p, setsAt: map[string][]int{}}
		for _, problem := range p.Problems {
			l.problems = append(l.problems, Problem{p.Ref, problem})
		}
		var problems []model.Problem
		if p.Delegation != nil {
			problems = l.delegate(a)
		} else {
			a.hosts, a.sets, problems = record.Check(&p.Pool, nil)
		}
		for _, problem := range problems {
			l.problems = append(l.problems, Problem{p.Ref, problem})
		}
		for i, set := range a.sets {
			a.setsAt[set.Name] = append(a.setsAt[set.Name], i)
		}
		a.names, a.made = record.Names(&p.Pool, a.hosts, a.sets)
		l.pools[p.Ref] = a
		l.claims.Set(p.Ref, p.Created, l.permitted(a))
	}
	for _, p := range pools {
		a := l.pools[p.Ref]
		l.disputes(a)
		written := len(l.lines)
		l.members(a)
		for i := range a.sets {
			if a.cut != "" && !l.owns(a, a.cut) {
				continue // no glue without the delegation
			}
			if l.owns(a, a.sets[i].Name) && !(record.Leads(a.sets[i].Type) && l.loop(a.sets[i].Name) != nil) {
				l.set(a, &a.sets[i], l.ttlIn(a.sets[i].Name))
			}
		}
		if len(l.lines) == written && slices.ContainsFunc(a.hosts, func(host string) bool { return l.owns(a, host) }) {
			l.problems = append(l.problems, Problem{a.Ref, model.Problem{Reason: "NoData", Notice: true, Message: nothing(a)}})
		}
	}
	slices.SortFunc(l.lines, Line.compare)
	return l.lines, l.problems
}

// nothing says why a pool whose names exist has no records.
func nothing(a *arranged) string {
	names := strings.Join(a.hosts, ", ")
	switch {
	case len(a.Members) > 0:
		return fmt.Sprintf("%s has no data: of %d endpoints none is ready", names, len(a.Members))
	case a.Ref.Kind == "Service":
		return fmt.Sprintf("%s has no data: there is no endpoint and no address (hint: the Service's EndpointSlices; or its status, with --service-target status)", names)
	}
	return fmt.Sprintf("%s has no data: no backend that has a weight has an endpoint (hint: the EndpointSlices of its backends)", names)
}

// disputes notes the names that the pool does not get.
func (l *listing) disputes(a *arranged) {
	for _, name := range a.names {
		owner, claimed := l.claims.Owner(name)
		if !claimed {
			continue // it is not for the object, which has been told
		}
		if host, made := a.made[name]; made && !l.owns(a, host) {
			continue // nor is the host that it is made for, of which it is told
		}
		if owner != a.Ref {
			l.problems = append(l.problems, Problem{a.Ref, model.Problem{Reason: "NameTaken", Message: fmt.Sprintf(
				"%s is already published for %s, which is older or comes first (hint: one object a name)", plain(name), owner)}})
		} else if loop := l.loop(name); loop != nil {
			l.problems = append(l.problems, Problem{a.Ref, model.Problem{Reason: record.RecordLoop, Message: record.LoopText(name, loop, l.at)}})
		}
	}
}

func (l *listing) owns(a *arranged, name string) bool {
	owner, ok := l.claims.Owner(name)
	return ok && owner == a.Ref
}

// loop gives the names over which a CNAME or DNAME leads back to its own name; nil: it does not.
func (l *listing) loop(name string) []string {
	return record.Loop(name, func(from string) []string { return record.Next(from, l.at) })
}

// at calls each with the sets that objects have at a name.
func (l *listing) at(name string, each func(*model.RecordSet)) bool {
	owner, ok := l.claims.Owner(name)
	if ok {
		a := l.pools[owner]
		for _, i := range a.setsAt[name] {
			each(&a.sets[i])
		}
	}
	return ok
}

// members writes the addresses of the pool's hosts, and the records of its ports.
func (l *listing) members(a *arranged) {
	if len(a.hosts) == 0 {
		return
	}
	in := steer.Pool{Members: make([]steer.Member, len(a.Members))}
	for i, m := range a.Members {
		in.Members[i] = steer.Member{Address: m.Address, Ready: m.Ready, Serving: m.Serving, Terminating: m.Terminating}
	}
	answer := record.Answer{Most: max(a.MaxAnswers, 0)}
	reasons := map[int]string{}
	for i, v := range steer.Decide(in, nil, steer.Decision{}, time.Time{}).Members { // members are distinct and in order
		if !v.In || len(a.Groups) > 0 && a.Groups[a.Members[i].Group].Weight == 0 {
			continue
		}
		answer.Members = append(answer.Members, i)
		if v.Reason == steer.LastResort {
			reasons[i] = string(v.Reason)
		}
	}
	ttl := l.ttlOf(a)
	for _, host := range a.hosts {
		if !l.owns(a, host) {
			continue
		}
		for _, i := range answer.Members {
			m := a.Members[i]
			line := Line{Name: host, TTL: ttl, Type: "AAAA", Data: m.Address.String(), Policy: a.Policy, Reason: reasons[i], Object: a.Ref.String()}
			if m.Address.Is4() {
				line.Type = "A"
			}
			if len(a.Groups) > 0 {
				line.Set = a.Groups[m.Group].Name
			}
			if len(a.Groups) > 1 {
				line.Weight = &a.Groups[m.Group].Weight
			}
			l.lines = append(l.lines, line)
		}
		for _, s := range record.Ports(&a.Pool, host, answer) {
			if l.owns(a, s.Name) && !slices.ContainsFunc(a.sets, func(o model.RecordSet) bool { return o.Name == s.Name && o.Type == s.Type }) {
				l.set(a, &s, ttl)
			}
		}
	}
}

// ttlOf is the TTL of the pool's answers, within its policy's bounds.
func (l *listing) ttlOf(a *arranged) uint32 {
	ttl := l.ttlIn(a.hosts[0])
	if a.TTL != nil {
		ttl = *a.TTL
	}
	if a.Pool.Policy != nil {
		bounds := a.Pool.Policy.Steer.TTL
		ttl = max(ttl, uint32(bounds.Floor/time.Second))
		if bounds.Ceiling > 0 {
			ttl = min(ttl, uint32(max(bounds.Ceiling, bounds.Floor)/time.Second))
		}
	}
	return ttl
}

// set writes a set of records. ttl is for one that has none.
func (l *listing) set(a *arranged, s *model.RecordSet, ttl uint32) {
	if s.TTL != nil {
		ttl = *s.TTL
	}
	for _, r := range s.Records {
		l.lines = append(l.lines, Line{
			Name: plain(s.Name), TTL: ttl, Type: dns.Type(s.Type).String(), Data: presentation(s, r.Data), Follow: r.Follow,
			Geo: r.Geo, Weight: r.Weight, Set: r.Set, Object: a.Ref.String(),
		})
	}
}

// presentation is data that Check has passed as all write it.
func presentation(s *model.RecordSet, data string) string {
	rr, err := record.Parse(s.Name, s.Type, 0, data)
	if err != nil {
		return data
	}
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}
