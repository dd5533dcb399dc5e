// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
)

// Section says with which uppers the zones below a zone are registered.
type Section struct {
	Zone   string            // of the uppers; canonical
	Uppers []transfer.Remote // each has its own copy of what is registered
	// Server is this server, as the uppers shall refer to it. Without a name nothing is registered, and what the uppers say is
	// only compared with what the zones say.
	Server model.Nameserver
	Lease  time.Duration
	// Interval is that between comparisons, and between renewals at most.
	Interval time.Duration
}

// Zone is a zone that is served here.
type Zone struct {
	Origin      string             // canonical
	Object      string             // that has it served; "": the configuration
	Nameservers []model.Nameserver // as they are published
}

// Publisher is who serves the zones that are registered.
type Publisher interface {
	// Served are the zones that are served now.
	Served() []Zone
	// Adopt has a zone publish these name servers as its own.
	Adopt(origin string, servers []model.Nameserver)
	// Remark makes problems all that registrations say of a zone.
	Remark(origin string, problems []model.Problem)
}

// LeafOptions are those of a Leaf. All but DS, Replaced and Clock are required.
type LeafOptions struct {
	Sections  []Section
	Keys      transfer.Keys
	Publisher Publisher
	// DS are the digests of a zone's keys, in presentation form; nil: no zone is signed.
	DS func(origin string) []string
	// Replaced is the cause with which Run's ctx ends where another process takes this one's place; nil: none.
	Replaced error
	// Clock is what messages are signed by, as far as an upper does not say that it is wrong; nil: the system's.
	Clock   func() time.Time
	Metrics *Metrics
	Log     *slog.Logger
}

// Leaf registers zones with their uppers and publishes what these refer to.
type Leaf struct {
	options LeafOptions
	links   []*link

	concluding sync.Mutex // what is found first is said first

	mu       sync.Mutex
	remarked map[string][]model.Problem
	adopted  map[string][]model.Nameserver
}

// NewLeaf checks that the keys are there.
func NewLeaf(o LeafOptions) (*Leaf, error) {
	l := &Leaf{options: o, remarked: map[string][]model.Problem{}, adopted: map[string][]model.Nameserver{}}
	if o.DS == nil {
		l.options.DS = func(string) []string { return nil }
	}
	var errs []error
	for i := range o.Sections {
		for _, to := range o.Sections[i].Uppers {
			client, err := transfer.NewClient(to, o.Keys, o.Clock)
			errs = append(errs, err)
			l.links = append(l.links, &link{
				leaf: l, section: &l.options.Sections[i], to: to, client: client, wake: make(chan struct{}, 1), taken: make(chan struct{}, 1),
				views: map[string]view{}, log: o.Log.With("upper", to.Addr.String(), "zone", o.Sections[i].Zone),
			})
		}
	}
	return l, errors.Join(errs...)
}

// Changed tells that other zones are served than before.
func (l *Leaf) Changed() {
	for _, k := range l.links {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// leaveTime bounds how long an end waits for uppers to hear of it.
const leaveTime = 2 * time.Second

// Run registers and renews until ctx ends, and then tells the uppers that this server goes, unless another process takes its
// place.
func (l *Leaf) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, k := range l.links {
		if k.section.Server.Name != "" {
			all.Go(func() { k.run(ctx) })
		}
		all.Go(func() { k.study(ctx) })
	}
	all.Wait()
	if r := l.options.Replaced; r != nil && errors.Is(context.Cause(ctx), r) {
		return nil
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	for _, k := range l.links {
		all.Go(func() { k.leave(end) })
	}
	all.Wait()
	if ttl := l.held(); ttl > 0 {
		l.options.Log.Info("left the uppers; caches may hold this server until", "time", stamp(time.Now().Add(ttl)), "ttl", ttl)
	}
	return nil
}

// held is for how long caches may hold this server.
func (l *Leaf) held() (most time.Duration) {
	for _, k := range l.links {
		if k.section.Server.Name == "" {
			continue
		}
		k.mu.Lock()
		for _, v := range k.views {
			most = max(most, time.Duration(v.ttl)*time.Second)
		}
		k.mu.Unlock()
	}
	return most
}

// zones are those of a section: below its zone, with no other zone of ours between, which would be their parent.
func (l *Leaf) zones(s *Section) map[string]Zone {
	served := l.options.Publisher.Served()
	origins := make(map[string]bool, len(served))
	for _, z := range served {
		origins[z.Origin] = true
	}
	out := map[string]Zone{}
	for _, z := range served {
		if z.Origin == s.Zone || !dns.IsSubDomain(s.Zone, z.Origin) {
			continue
		}
		up := above(z.Origin)
		for up != s.Zone && !origins[up] {
			up = above(up)
		}
		if up == s.Zone {
			out[z.Origin] = z
		}
	}
	return out
}

// above is the name above a canonical one that is not the root.
func above(name string) string {
	at, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[at:]
}

// entry is what a section registers.
func (l *Leaf) entry(s *Section, zones map[string]Zone) *Entry {
	e := &Entry{Host: s.Server.Name, Addresses: slices.SortedFunc(slices.Values(s.Server.Addresses), netip.Addr.Compare), Children: map[string][]string{}}
	for origin := range zones {
		e.Children[origin] = slices.Compact(slices.Sorted(slices.Values(l.options.DS(origin))))
	}
	return e
}

// view is what one upper says of a zone.
type view struct {
	servers []model.Nameserver // in the order of their names; nil: it refers to nobody
	ttl     uint32
	at      time.Time
}

// conclude compares what the uppers of a section say of its zones with what these say, and heals what it may.
func (l *Leaf) conclude(s *Section, zones map[string]Zone) {
	l.concluding.Lock()
	defer l.concluding.Unlock()
	var fresh news
	defer fresh.log(l.options.Log)
	for _, origin := range slices.Sorted(maps.Keys(zones)) {
		z := zones[origin]
		var all []model.Nameserver
		var said []string // of uppers who say something else than the first, or nothing
		var first *view
		known := false
		var problems []model.Problem
		note := func(reason, message string) {
			problems = append(problems, model.Problem{Reason: reason, Notice: true, Message: message})
		}
		for _, k := range l.links {
			if k.section != s {
				continue
			}
			v, ok, problem := k.says(origin)
			if problem != nil {
				problems = append(problems, *problem)
			}
			if !ok {
				continue
			}
			known = true
			if first == nil {
				first = &v
			} else if !sameServers(first.servers, v.servers) {
				said = append(said, k.to.Addr.String()+" refers to "+names(v.servers))
			}
			all = merge(all, v.servers)
		}
		if !known {
			l.remark(origin, problems, &fresh)
			continue
		}
		want := inside(all, origin, s.Server)
		listed := slices.ContainsFunc(all, func(n model.Nameserver) bool { return n.Name == s.Server.Name })
		if slices.ContainsFunc(want, func(n model.Nameserver) bool { return len(n.Addresses) == 0 }) { // the zone itself does not know
			problems = append(problems, record.Unreachable("zone", origin, all)...)
		}
		result := "same"
		switch {
		case s.Server.Name == "" && !sameServers(want, z.Nameservers):
			result = "other"
			note(ParentDisagree, "the zone above, "+s.Zone+", refers to "+names(want)+", and the zone itself to "+names(z.Nameservers)+" (hint: the same on both sides)")
		case s.Server.Name == "":
		case !listed:
			result = "other"
			note(ParentDisagree, "no upper of "+s.Zone+" refers to this server, "+s.Server.Name+", but to "+names(all))
		case !sameServers(want, z.Nameservers):
			l.adopt(origin, want, &fresh)
		}
		if len(said) > 0 {
			result = "other"
			note(ParentDisagree, "uppers of "+s.Zone+" disagree: one refers to "+names(first.servers)+", "+strings.Join(said, ", ")+" (hint: the leaf registers with each; a lease may have ended at one)")
		}
		l.options.Metrics.result(origin, "parent", result)
		l.remark(origin, problems, &fresh)
	}
}

// adopt has a zone publish what its uppers refer to.
func (l *Leaf) adopt(origin string, servers []model.Nameserver, fresh *news) {
	l.mu.Lock()
	again := sameServers(l.adopted[origin], servers) && l.adopted[origin] != nil
	l.adopted[origin] = servers
	l.mu.Unlock()
	if again { // and it is about to be published
		return
	}
	l.options.Publisher.Adopt(origin, servers)
	fresh.add(origin, line{level: slog.LevelInfo, text: "the zone's name servers are those of its uppers now", message: names(servers)})
}

// remark tells what is to be said of a zone, where that is other than before.
func (l *Leaf) remark(origin string, problems []model.Problem, fresh *news) {
	l.mu.Lock()
	before := l.remarked[origin]
	if len(problems) == 0 {
		delete(l.remarked, origin)
	} else {
		l.remarked[origin] = problems
	}
	l.mu.Unlock()
	if slices.Equal(before, problems) {
		return
	}
	for _, p := range problems {
		if !slices.Contains(before, p) {
			fresh.add(origin, line{slog.LevelWarn, "registration", p.Reason, p.Message})
		}
	}
	if len(problems) == 0 {
		fresh.add(origin, line{level: slog.LevelInfo, text: "registration: all is well again"})
	}
	l.options.Publisher.Remark(origin, problems)
}

// result counts a comparison.
func (m *Metrics) result(zone, side, result string) {
	m.compared.WithLabelValues(zone, side, result).Inc()
	switch result {
	case "same":
		m.disagrees.WithLabelValues(zone, side).Set(0)
	case "other":
		m.disagrees.WithLabelValues(zone, side).Set(1)
	}
}

// merge adds name servers to a list, each once with all its addresses. Neither list changes.
func merge(to, more []model.Nameserver) []model.Nameserver {
	switch {
	case len(to) == 0:
		return more
	case sameServers(to, more):
		return to
	}
	to = copied(to)
	for _, n := range more {
		i := slices.IndexFunc(to, func(o model.Nameserver) bool { return o.Name == n.Name })
		if i < 0 {
			to = append(to, model.Nameserver{Name: n.Name, Addresses: slices.Clone(n.Addresses)})
			continue
		}
		for _, a := range n.Addresses {
			if !slices.Contains(to[i].Addresses, a) {
				to[i].Addresses = append(to[i].Addresses, a)
			}
		}
	}
	return sorted(to)
}

func sorted(list []model.Nameserver) []model.Nameserver {
	for i := range list {
		slices.SortFunc(list[i].Addresses, netip.Addr.Compare)
	}
	slices.SortFunc(list, func(a, b model.Nameserver) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// inside are name servers as a zone has them: with addresses where their names are in it, without where they are not. One
// without the addresses that it needs is left out; our own has those that we know.
func inside(all []model.Nameserver, origin string, own model.Nameserver) (out []model.Nameserver) {
	out = make([]model.Nameserver, 0, len(all))
	for _, n := range all {
		switch {
		case !strings.HasSuffix(n.Name, origin) || !dns.IsSubDomain(origin, n.Name): // the first is cheap
			n.Addresses = nil
		case n.Name == own.Name:
			n.Addresses = slices.Clone(own.Addresses)
		case len(n.Addresses) == 0:
			continue
		}
		out = append(out, n)
	}
	return sorted(out)
}

// sameServers reports whether two lists are of the same name servers with the same addresses.
func sameServers(a, b []model.Nameserver) bool {
	same := func(x, y model.Nameserver) bool { return x.Name == y.Name && slices.Equal(x.Addresses, y.Addresses) }
	return slices.EqualFunc(a, b, same) || len(a) == len(b) && slices.EqualFunc(sorted(copied(a)), sorted(copied(b)), same)
}

func copied(list []model.Nameserver) []model.Nameserver {
	out := make([]model.Nameserver, 0, len(list)+1)
	for _, n := range list {
		out = append(out, model.Nameserver{Name: n.Name, Addresses: slices.Clone(n.Addresses)})
	}
	return out
}

// names lists name servers for a person.
func names(list []model.Nameserver) string {
	if len(list) == 0 {
		return "nobody"
	}
	var out []string
	for _, n := range sorted(slices.Clone(list)) {
		text := n.Name
		for _, a := range n.Addresses {
			text += " " + a.String()
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// jitter is a time less by chance by up to a tenth, so that leaves do not come all at once.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }
