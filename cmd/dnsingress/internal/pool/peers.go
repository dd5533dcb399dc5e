// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// peers is the kind of who has the names that no object of this cluster has, and other clusters have members for.
const peers = "Peers"

// lastCreated is when those were created, in seconds: any object that wants the name has it.
const lastCreated = 1 << 60

// Sharer gives to other clusters what this one by itself answers with. It must not block.
type Sharer interface {
	// Share takes what has changed, and the hosts that there is nothing of any more. The first call has all there is.
	Share(changed []model.Share, gone []string)
}

// peering is what is exchanged with other clusters. Members of theirs come as their own cluster has decided on them.
type peering struct {
	sharer Sharer                             // nil: there are no peers
	states map[string]model.PeerState         // of clusters that have been heard, or have not answered
	remote map[string]map[string]*model.Share // by cluster and host, also of those that are not up
	shared map[string]*model.Share            // what sharer has, by host
	active map[string]active                  // by host, with primary-fallback
	news   map[string][]Change                // of the step that is being taken, by host
}

// active is the cluster that a name is answered from.
type active struct {
	cluster string
	since   time.Time
}

// ConnectSharer gives the engine the one that speaks with other clusters.
func (e *Engine) ConnectSharer(s Sharer) {
	e.sharer = s
	e.states, e.remote = map[string]model.PeerState{}, map[string]map[string]*model.Share{}
	e.shared, e.active = map[string]*model.Share{}, map[string]active{}
}

// Heard takes what is new of another cluster. It does not block.
func (e *Engine) Heard(n model.PeerNews) {
	e.inbox.add(func(m *mail) { m.peers = append(m.peers, n) })
}

// unheard tells whether there is a cluster that has neither been heard nor failed to answer.
func (e *Engine) unheard() bool {
	return e.sharer != nil && slices.ContainsFunc(e.options.Config.Peers.Clusters, func(p config.Peer) bool {
		_, known := e.states[p.Name]
		return !known
	})
}

// hearPeer takes in what is new of another cluster.
func (e *Engine) hearPeer(n model.PeerNews, dirty causes, hosts map[string]bool) {
	was := e.states[n.Name].Up
	n.Since, n.Heard = n.Since.Round(0), n.Heard.Round(0)
	e.states[n.Name] = n.PeerState
	shares := e.remote[n.Name]
	if shares == nil {
		shares = map[string]*model.Share{}
		e.remote[n.Name] = shares
	}
	if was != n.Up { // for all that does not change
		for host, share := range shares {
			if _, changed := n.Changed[host]; !changed {
				e.turned(n.PeerState, host, share, share, was)
				if len(share.Records) > 0 { // which are those of one that is up
					e.house(host, dirty, hosts)
				}
				hosts[host] = true
			}
		}
	}
	for host, share := range n.Changed {
		before := shares[host]
		share = e.dated(share, before)
		e.turned(n.PeerState, host, before, share, was)
		if share == nil {
			delete(shares, host)
		} else {
			shares[host] = share
		}
		e.house(host, dirty, hosts)
		hosts[host] = true
	}
}

// dated is a share with since when its members are as they are.
func (e *Engine) dated(share, before *model.Share) *model.Share {
	if share == nil {
		return nil
	}
	out := *share
	out.Members = slices.Clone(share.Members)
	for i := range out.Members {
		m := &out.Members[i]
		m.Since = e.now
		if old := sharedMember(before, m); old != nil && old.In == m.In && old.Reason == m.Reason {
			m.Since = old.Since
		}
	}
	return &out
}

// sharedMember is who has the address of a member in a share, or nil.
func sharedMember(s *model.Share, as *model.SharedMember) *model.SharedMember {
	if s == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(s.Members, as, func(m model.SharedMember, a *model.SharedMember) int { return m.Address.Compare(a.Address) })
	if !ok {
		return nil
	}
	return &s.Members[i]
}

// turned notes what became of a cluster's members for a host.
func (e *Engine) turned(now model.PeerState, host string, before, after *model.Share, wasUp bool) {
	if e.news == nil {
		e.news = map[string][]Change{}
	}
	say := func(m *model.SharedMember, up bool) string {
		switch {
		case m == nil:
			return "none"
		case up && m.In:
			return "in"
		}
		return "out"
	}
	note := func(old, m *model.SharedMember) {
		c := Change{Cluster: now.Name, Was: say(old, wasUp), State: say(m, now.Up)}
		if known := m; known != nil {
			c.Address, c.Pod, c.Reason = m.Address, m.Pod, m.Reason
			if !now.Up {
				c.Reason = leaseEnded
			}
		} else {
			c.Address, c.Pod = old.Address, old.Pod
		}
		if c.Was != c.State {
			e.news[host] = append(e.news[host], c)
		}
	}
	if before != nil {
		for i := range before.Members {
			note(&before.Members[i], sharedMember(after, &before.Members[i]))
		}
	}
	if after != nil {
		for i := range after.Members {
			if sharedMember(before, &after.Members[i]) == nil {
				note(nil, &after.Members[i])
			}
		}
	}
}

// house has a host claimed for the peers as long as one of them has members or records for it.
func (e *Engine) house(host string, dirty causes, hosts map[string]bool) {
	ref := model.Ref{Kind: peers, Name: host}
	want, have := e.housed(ref), e.pools[ref]
	switch {
	case want == nil && have != nil:
		e.take(model.Update{Ref: ref}, dirty, hosts)
		delete(e.active, host)
	case want != nil && (have == nil || !slices.Equal(have.Hosts, want.Hosts) || !slices.EqualFunc(have.Records, want.Records, model.RecordSet.Equal)):
		e.take(model.Update{Ref: ref, Pool: want}, dirty, hosts)
	}
}

// housed is what peers have for a host as an object of its own, whose members are merged later; nil: they have nothing. The records
// are those of one cluster: the first that is up, else the first. An author's word does not end with a lease, as what was seen of a
// member does; but who is there to repeat it counts more.
func (e *Engine) housed(ref model.Ref) *model.Pool {
	p := &model.Pool{Ref: ref, Created: time.Unix(lastCreated, 0)}
	var from *model.Share
	fromUp := false
	for _, c := range e.options.Config.Peers.Clusters {
		share, up := e.remote[c.Name][ref.Name], e.states[c.Name].Up
		if share == nil {
			continue
		}
		if share.Pooled() {
			p.Hosts = []string{ref.Name}
		}
		if len(share.Records) > 0 && (from == nil || up && !fromUp) {
			from, fromUp = share, up
		}
	}
	if from != nil {
		p.Records = slices.DeleteFunc(slices.Clone(from.Records), func(s model.RecordSet) bool { return cuts(s.Type) })
	}
	if len(p.Hosts)+len(p.Records) == 0 {
		return nil
	}
	return p
}

// cuts tells whether records of a type delegate: that is for those to decide who serve the zone.
func cuts(rtype uint16) bool { return rtype == dns.TypeNS || rtype == dns.TypeDS }

// recount puts what has become of peers' members into the histories of those who have the hosts.
func (e *Engine) recount() {
	for host, changes := range e.news {
		owner, ok := e.claims.Owner(host)
		if !ok || len(changes) == 0 {
			continue
		}
		s, a := e.pools[owner], e.zoneOf(host).answers[host]
		more := max(0, len(changes)-mostChanges)
		s.history.add(Event{
			At: e.now.UTC(), Trigger: byPeer.String(), TTL: float64(a.ttl), TTLRule: s.decision.TTLRule, FailOpen: s.decision.FailOpen,
			In: len(a.addresses), Ready: len(a.addresses), Changes: changes[:len(changes)-more], More: more,
		})
		e.changed(owner)
	}
	e.news = nil
}

// own are the members of a pool as its cluster has decided on them: what other clusters get.
func (e *Engine) own(s *state) []model.SharedMember {
	var chosen answer
	e.choose(&chosen, s)
	groups := s.groups()
	weighted := chosen.weights != nil || groups != nil
	out := make([]model.SharedMember, len(s.decision.Members))
	sum, in := 0.0, 0
	for i := range s.decision.Members {
		v, m := &s.decision.Members[i], &out[i]
		*m = model.SharedMember{
			Address: v.Address, In: v.In, Resort: v.In && v.Reason == steer.LastResort, Reason: string(v.Reason), Since: v.Since, Location: e.options.Config.Cluster.Location,
		}
		known := s.member(v.Address)
		if known != nil {
			m.Pod = known.Pod
			if at := known.Location(); at != "" && m.Location != "" {
				m.Location += "/" + at
			} else {
				m.Location += at
			}
		}
		if !m.In {
			continue
		}
		m.Weight = 1
		if weighted {
			m.Weight = v.Weight
			if groups != nil && known != nil {
				m.Weight *= groups[known.Group].factor
			}
		}
		if m.Weight <= 0 {
			m.In, m.Resort, m.Reason = false, false, noWeight
			continue
		}
		sum += m.Weight
		in++
	}
	for i := range out {
		if m := &out[i]; m.In {
			m.Weight = rounded(m.Weight * float64(in) / sum)
		} else {
			m.Weight = 0
		}
	}
	return out
}

// offer gives to other clusters what has changed of what this one by itself answers names with.
func (e *Engine) offer(names map[string]bool) {
	if e.sharer == nil || !e.live {
		return
	}
	var changed []model.Share
	var gone []string
	for name := range names {
		now := e.shareOf(name)
		switch before := e.shared[name]; {
		case now == nil && before != nil:
			delete(e.shared, name)
			gone = append(gone, name)
		case now != nil && !now.Equal(before):
			e.shared[name] = now
			changed = append(changed, *now)
		}
	}
	if len(changed)+len(gone) > 0 {
		e.sharer.Share(changed, gone)
	}
}

// offerAll gives to other clusters all that there is, when it is answered first.
func (e *Engine) offerAll() {
	if e.sharer == nil {
		return
	}
	var all []model.Share
	for _, s := range e.pools {
		for _, host := range s.names {
			if !e.has(s.Ref, host) {
				continue
			}
			if now := e.shareOf(host); now != nil {
				e.shared[host] = now
				all = append(all, *now)
			}
		}
	}
	e.sharer.Share(all, nil)
}

// shareOf is what this cluster by itself answers a host with; nil: nothing.
func (e *Engine) shareOf(host string) *model.Share {
	owner, ok := e.claims.Owner(host)
	if !ok || owner.Kind == peers {
		return nil
	}
	s, z := e.pools[owner], e.zoneOf(host)
	if z == nil {
		return nil
	}
	share := &model.Share{Host: host, TTL: e.ttlOf(s, z), Records: e.written(s, host, z)}
	switch {
	case slices.Contains(s.hosts, host):
		share.TTL, share.Members = e.poolAnswer(s, z).ttl, e.own(s)
	case share.Records == nil:
		return nil
	}
	return share
}

// written are the records that an object writes down for a host, as they are answered: what host names that they follow have stands
// in their place. Delegations, and what is below them, are this cluster's own.
func (e *Engine) written(s *state, host string, z *served) (sets []model.RecordSet) {
	if s.Delegation != nil || e.under[host] != "" {
		return nil
	}
	for _, i := range s.setsAt[host] {
		if given := &s.sets[i]; !cuts(given.Type) {
			if x, ok := e.published(given, z); ok {
				sets = append(sets, x.RecordSet)
			}
		}
	}
	return sets
}

// elsewhere tells whether other clusters have members for a host.
func (e *Engine) elsewhere(host string) bool {
	s := e.pools[model.Ref{Kind: peers, Name: host}]
	return s != nil && len(s.hosts) > 0
}

// weighs tells whether answers chosen in a way go by weights.
func weighs(k zone.Kind) bool {
	switch k {
	case zone.Weighted, zone.Sticky, zone.TwoChoices, zone.Near:
		return true
	}
	return false
}
