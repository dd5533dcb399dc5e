// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// leasing is what leaves have registered, what uppers refer to, and what is said of both.
type leasing struct {
	leased  map[string]*model.Pool        // by child
	adopted map[string][]model.Nameserver // by origin, in place of what the zone says itself
	remarks map[place][]model.Problem
	waiting map[string]bool // origins that are not shown yet, for leaves are to register first
	onZones func()
}

// place is a zone, or what the zone above says of it.
type place struct {
	name  string
	child bool
}

// leaseMail is what comes in of leasing between two steps.
type leaseMail struct {
	adopted map[string][]model.Nameserver
	remarks map[place][]model.Problem
	settled bool
}

func newLeasing() leasing {
	return leasing{leased: map[string]*model.Pool{}, adopted: map[string][]model.Nameserver{}, remarks: map[place][]model.Problem{}, waiting: map[string]bool{}, onZones: func() {}}
}

// ConnectZones has told be called when other zones are served than before. It must not block, nor call the engine.
func (e *Engine) ConnectZones(told func()) { e.onZones = told }

// Wait keeps zones back until Settled. It is called before Run.
func (e *Engine) Wait(origins []string) {
	for _, o := range origins {
		e.waiting[o] = true
	}
}

// Settled shows the zones that are kept back.
func (e *Engine) Settled() { e.inbox.add(func(m *mail) { m.settled = true }) }

// Waiting are the zones that are kept back.
func (e *Engine) Waiting() []string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Sorted(maps.Keys(e.waiting))
}

// Adopt has a zone publish these name servers as its own, in place of what the configuration or its object says.
func (e *Engine) Adopt(origin string, servers []model.Nameserver) {
	e.inbox.add(func(m *mail) {
		if m.adopted == nil {
			m.adopted = map[string][]model.Nameserver{}
		}
		m.adopted[origin] = servers
	})
}

// Remark makes problems all that is said of a zone beside what its object says.
func (e *Engine) Remark(origin string, problems []model.Problem) {
	e.remark(place{origin, false}, problems)
}

// RemarkChild is Remark for the delegation of a child.
func (e *Engine) RemarkChild(child string, problems []model.Problem) {
	e.remark(place{child, true}, problems)
}

func (e *Engine) remark(at place, problems []model.Problem) {
	e.inbox.add(func(m *mail) {
		if m.remarks == nil {
			m.remarks = map[place][]model.Problem{}
		}
		m.remarks[at] = problems
	})
}

// heed takes in what is said of zones and delegations.
func (e *Engine) heed(m mail, dirty causes) {
	for at, problems := range m.remarks {
		if len(problems) == 0 {
			delete(e.remarks, at)
		} else {
			e.remarks[at] = problems
		}
		if z := e.zones[at.name]; z != nil && !at.child && e.pools[z.by] != nil {
			dirty.add(z.by, byCluster, time.Time{})
		}
		if z := e.above(at.name); z != nil && at.child {
			if owner, ok := e.claims.Owner(e.placed(at.name, z)); ok {
				dirty.add(owner, byCluster, time.Time{})
			}
		}
	}
}

// unwait shows the zones that were kept back.
func (e *Engine) unwait() {
	held := e.waiting
	e.waiting = map[string]bool{}
	for origin := range held {
		if z := e.zones[origin]; z != nil && e.live {
			e.options.Catalog.Publish(z.zone)
		}
		e.options.Log.Info("leaves have had their time to register", "zone", origin)
	}
}

// lease notes what is registered of a child, and returns what is to be taken of it: notices alone are no delegation.
func (e *Engine) lease(u model.Update) model.Update {
	if !u.Ref.IsRegistered() || u.Ref.Part != "" {
		return u
	}
	if u.Pool == nil {
		delete(e.leased, u.Ref.Name)
		return u
	}
	e.leased[u.Ref.Name] = u.Pool
	if u.Pool.Delegation == nil {
		u.Pool = nil
	}
	return u
}

// besides takes up again the objects that delegate a child, after what is registered of it has changed: they publish both.
func (e *Engine) besides(u model.Update, dirty causes, hosts map[string]bool) {
	if !u.Ref.IsRegistered() || u.Ref.Part != "" {
		return
	}
	z := e.above(u.Ref.Name)
	if z == nil {
		return
	}
	cut := e.placed(u.Ref.Name, z)
	owner, ok := e.claims.Owner(cut)
	if !ok {
		return
	}
	for _, ref := range append(e.claims.Rivals(cut), owner) {
		if s := e.pools[ref]; s != nil && s.Delegation != nil && !ref.IsRegistered() {
			pool := s.Pool
			e.take(model.Update{Ref: ref, Pool: &pool}, dirty, hosts)
		}
	}
}

// isServer reports whether it is the addresses of a registered name server.
func (s *state) isServer() bool { return s.Ref.IsRegistered() && s.Ref.Part != "" }

// leasedRecords are the NS and DS of what is registered of a child.
func (e *Engine) leasedRecords(leased *model.Pool, z *served) []model.RecordSet {
	if leased.Delegation == nil {
		return nil
	}
	sets, _ := record.Delegation(leased.Delegation, z.origin, record.Seconds(z.own.InfrastructureTTL))
	return atChild(sets, leased.Delegation.Child)
}

// atChild are the NS and DS among record sets of a delegation.
func atChild(sets []model.RecordSet, child string) []model.RecordSet {
	return slices.DeleteFunc(sets, func(s model.RecordSet) bool {
		return s.Name != child || s.Type != dns.TypeNS && s.Type != dns.TypeDS
	})
}

// serversOf are the name servers of a delegation with those that have registered, with the addresses that are known here.
func (e *Engine) serversOf(d *model.Delegation) []model.Nameserver {
	out := slices.Clone(d.Nameservers)
	if leased := e.leased[d.Child]; leased != nil && leased.Delegation != nil && leased.Delegation != d {
		for _, n := range leased.Delegation.Nameservers {
			if i := slices.IndexFunc(out, func(o model.Nameserver) bool { return o.Name == n.Name }); i < 0 {
				out = append(out, n)
			} else if len(out[i].Addresses) == 0 {
				out[i].Addresses = n.Addresses
			}
		}
	}
	return out
}

// remarksOn is what is said of a zone or a delegation beside what its object says.
func (e *Engine) remarksOn(s *state) (problems []model.Problem) {
	if s.Zone != nil {
		z := e.zones[s.Zone.Origin]
		if z == nil || z.by != s.Ref {
			return nil
		}
		problems = append(problems, e.remarks[place{z.origin, false}]...)
		return append(problems, record.Unreachable("zone", z.origin, z.own.Nameservers)...)
	}
	if d := s.Delegation; e.has(s.Ref, s.cut) {
		problems = append(problems, e.remarks[place{d.Child, true}]...)
		problems = append(problems, record.Unreachable("child", d.Child, e.serversOf(d))...)
	}
	return problems
}

// ServedZone is a zone as it is published.
type ServedZone struct {
	Origin      string
	Object      string // that has it served; "": the configuration
	Nameservers []model.Nameserver
}

// Served are the zones that there are, in order.
func (e *Engine) Served() []ServedZone {
	e.mu.RLock()
	defer e.mu.RUnlock()
	out := make([]ServedZone, 0, len(e.zones))
	for _, z := range e.zones {
		s := ServedZone{Origin: z.origin, Nameservers: z.own.Nameservers}
		if z.by != (model.Ref{}) {
			s.Object = z.by.String()
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b ServedZone) int { return strings.Compare(a.Origin, b.Origin) })
	return out
}

// Delegated is a delegation of an object, as it is published.
type Delegated struct {
	Child, Zone, Object string
	Nameservers         []model.Nameserver // those of the object and those that have registered
	DS                  []string
}

// Delegated are the delegations of objects that are published, in the order of their children.
func (e *Engine) Delegated() []Delegated {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var out []Delegated
	for ref, s := range e.pools {
		if s.Delegation == nil || ref.IsRegistered() || !e.has(ref, s.cut) {
			continue
		}
		if z := e.zoneOf(s.cut); z != nil {
			out = append(out, Delegated{s.Delegation.Child, z.origin, ref.String(), e.serversOf(s.Delegation), s.Delegation.DS})
		}
	}
	slices.SortFunc(out, func(a, b Delegated) int { return cmp.Compare(a.Child, b.Child) })
	return out
}

// Refers are the name servers that children are referred to, with the addresses that are known here; nil for those that are
// not referred to.
func (e *Engine) Refers(children []string) [][]model.Nameserver {
	e.mu.RLock()
	defer e.mu.RUnlock()
	out := make([][]model.Nameserver, len(children))
	for i, child := range children {
		z := e.above(child)
		if z == nil || e.waiting[z.origin] {
			continue
		}
		owner, ok := e.claims.Owner(e.placed(child, z))
		if s := e.pools[owner]; ok && s.Delegation != nil {
			out[i] = e.serversOf(s.Delegation)
		}
	}
	return out
}

// Delegates reports whether an object delegates a child.
func (e *Engine) Delegates(child string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	z := e.above(child)
	if z == nil {
		return false
	}
	owner, ok := e.claims.Owner(e.placed(child, z))
	return ok && !owner.IsRegistered() && e.pools[owner].Delegation != nil
}
