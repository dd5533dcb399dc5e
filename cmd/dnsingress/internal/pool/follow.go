// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/alias"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// unresolved is the reason of a problem: a host name outside has no addresses, or they are not known.
const unresolved = "Unresolved"

// Follower finds the addresses of host names outside, again and again, and gives them to Engine.Followed. It must not block.
type Follower interface {
	// Follow begins with a name, canonical; Forget ends it.
	Follow(name string)
	Forget(name string)
}

// followed is what is known of one host name. All objects that follow it share it.
type followed struct {
	users map[model.Ref]bool
	alias.Outcome
	known bool // there was an outcome
}

// ConnectFollower gives the engine the one that finds addresses of host names.
func (e *Engine) ConnectFollower(f Follower) { e.follower = f }

// Followed says what the addresses of a followed host name are now.
func (e *Engine) Followed(name string, o alias.Outcome) {
	e.inbox.add(func(m *mail) {
		if m.followed == nil {
			m.followed = map[string]alias.Outcome{}
		}
		m.followed[name] = o
	})
}

// follow moves the object from the host names that its old records follow to those of its new ones.
func (e *Engine) follow(ref model.Ref, old *state) {
	var left, names []string
	if old != nil {
		left = old.follows
	}
	if s := e.pools[ref]; s != nil {
		for i := range s.sets {
			for _, r := range s.sets[i].Records {
				if r.Follow != "" {
					names = append(names, r.Follow)
				}
			}
		}
		slices.Sort(names)
		names = slices.Compact(names)
		s.follows = names
	}
	for _, name := range left {
		delete(e.follows[name].users, ref)
	}
	for _, name := range names {
		f := e.follows[name]
		if f == nil {
			f = &followed{users: map[model.Ref]bool{}}
			e.follows[name] = f
			if e.follower != nil {
				e.follower.Follow(name)
			}
		}
		f.users[ref] = true
	}
	for _, name := range left {
		if f := e.follows[name]; f != nil && len(f.users) == 0 {
			delete(e.follows, name)
			if e.follower != nil {
				e.follower.Forget(name)
			}
		}
	}
}

// found takes what a host name resolves to.
func (e *Engine) found(name string, o alias.Outcome, dirty causes) {
	f := e.follows[name]
	if f == nil {
		return
	}
	same := f.known && slices.Equal(f.Addresses, o.Addresses) && (f.Err == nil) == (o.Err == nil)
	f.Outcome, f.known = o, true
	if same {
		return
	}
	e.options.Log.Debug("a host name outside resolves otherwise", "name", name, "addresses", o.Addresses, "error", o.Err)
	for ref := range f.users {
		dirty.add(ref, byTime, time.Time{})
	}
}

// followed puts the addresses of host names in the place of the records that follow them.
func (e *Engine) followed(given *model.RecordSet) []model.Record {
	records := make([]model.Record, 0, len(given.Records))
	for _, r := range given.Records {
		if r.Follow == "" {
			records = append(records, r)
			continue
		}
		for _, a := range e.addressesOf(r.Follow, given.Type) {
			one := r
			one.Follow, one.Data = "", a.String()
			if !slices.ContainsFunc(records, func(o model.Record) bool { return o.Data == one.Data && o.Geo == one.Geo && o.Set == one.Set }) {
				records = append(records, one)
			}
		}
	}
	return records
}

// addressesOf are the last known addresses of one family that a host name has.
func (e *Engine) addressesOf(name string, rtype uint16) []netip.Addr {
	f := e.follows[name]
	if f == nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range f.Addresses {
		if a.Is4() == (rtype == dns.TypeA) {
			out = append(out, a)
		}
	}
	return out
}

// unresolved lists the host names that the pool follows and that have no addresses, or only old ones.
func (e *Engine) unresolved(s *state) []model.Problem {
	var problems []model.Problem
	for _, name := range s.follows {
		f := e.follows[name]
		if f == nil || !f.known || f.Err == nil {
			continue
		}
		what := "nothing is published for it"
		if len(f.Addresses) > 0 {
			what = "its last addresses stay"
		}
		problems = append(problems, model.Problem{Reason: unresolved, Message: fmt.Sprintf("host name %s: %v; %s (hint: the name, and kubernetes.resolvers)", name, f.Err, what)})
	}
	return problems
}
