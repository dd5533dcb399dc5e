// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// zoneObject is what a DNSZone gives, day days after the first.
func zoneObject(name, origin string, day int, change ...func(*model.Zone)) *model.Pool {
	z := &model.Zone{
		Origin: origin, Nameservers: []model.Nameserver{{Name: "ns1." + origin, Addresses: []netip.Addr{netip.MustParseAddr("fd00::53")}}},
		TTL: 9 * time.Second, NegativeTTL: 5 * time.Second, InfrastructureTTL: time.Minute, MaxAnswers: 2,
	}
	record.ZoneDefaults(z)
	for _, c := range change {
		c(z)
	}
	return &model.Pool{Ref: model.Ref{Kind: "DNSZone", Name: name}, Created: time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC), Zone: z}
}

// cutObject is what a DNSDelegation gives.
func cutObject(name, child string, day int) *model.Pool {
	return &model.Pool{
		Ref: model.Ref{Kind: "DNSDelegation", Namespace: "shop", Name: name}, Created: time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC),
		Delegation: &model.Delegation{
			Child: child, DS: []string{"1 13 2 " + strings.Repeat("AB", 32)},
			Nameservers: []model.Nameserver{{Name: "ns1." + child, Addresses: []netip.Addr{netip.MustParseAddr("fd00::1:53")}}, {Name: "ns.elsewhere.example."}},
		},
	}
}

// named is a Service with one pod.
func named(name string, day int, hosts ...string) *model.Pool {
	return &model.Pool{
		Ref: model.Ref{Kind: "Service", Namespace: "shop", Name: name}, Created: time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC), Hosts: hosts,
		Members: []model.Member{{Address: netip.MustParseAddr(fmt.Sprintf("fd00::%d", day)), Ready: true, Serving: true}},
	}
}

// reasons are those of an object's problems.
func (b *bench) reasons(p *model.Pool) string {
	var out []string
	for _, x := range b.problems[p.Ref] {
		if x.Reason != record.IPv6Only { // which is so of all of them here
			out = append(out, x.Reason)
		}
	}
	return strings.Join(out, " ")
}

func (b *bench) wantReasons(p *model.Pool, want string) {
	b.t.Helper()
	if got := b.reasons(p); got != want {
		b.t.Errorf("%s: problems are %q, want %q: %v", p.Ref, got, want, b.problems[p.Ref])
	}
}

// holds lists what the published zone of an origin has at a name.
func (b *bench) holds(origin, name string) string {
	z := b.options.Catalog.Zone(origin)
	if z == nil {
		return "no zone"
	}
	var out []string
	for owner, sets := range z.All() {
		for _, s := range sets {
			for _, rr := range s.Records {
				if owner == name && s.Type != dns.TypeSOA {
					out = append(out, fmt.Sprintf("%d %s %s", s.TTL, dns.Type(s.Type), strings.TrimPrefix(rr.String(), rr.Header().String())))
				}
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (b *bench) wantHolds(origin, name, want string) {
	b.t.Helper()
	if got := b.holds(origin, name); got != want {
		b.t.Errorf("%s in %s holds %q, want %q", name, origin, got, want)
	}
}

func (b *bench) serialOf(origin string) uint32 {
	if z := b.options.Catalog.Zone(origin); z != nil {
		return z.Serial()
	}
	return 0
}

// Names are in the zone with the longest origin, whenever zones come and go, and serials never go back.
func TestZonesComeAndGo(t *testing.T) {
	b := newBench(t)
	web, deep := named("web", 2, "web.shop.apps.test."), named("deep", 3, "a.b.shop.apps.test.")
	outside := named("outside", 4, "www.new.example.")
	b.do(mail{updates: []model.Update{{Ref: web.Ref, Pool: web}, {Ref: deep.Ref, Pool: deep}, {Ref: outside.Ref, Pool: outside}}, synced: true})
	b.wantHolds("apps.test.", "web.shop.apps.test.", "5 AAAA fd00::2")
	b.wantReasons(outside, "OutsideZones")
	above := b.serialOf("apps.test.")

	shop, fresh := zoneObject("shop", "shop.apps.test.", 1), zoneObject("new", "new.example.", 1)
	b.update(shop, fresh)
	b.wantHolds("shop.apps.test.", "web.shop.apps.test.", "9 AAAA fd00::2")
	b.wantHolds("shop.apps.test.", "a.b.shop.apps.test.", "9 AAAA fd00::3")
	b.wantHolds("apps.test.", "web.shop.apps.test.", "")
	b.wantHolds("new.example.", "www.new.example.", "9 AAAA fd00::4")
	b.wantReasons(outside, "")
	if now := b.serialOf("apps.test."); int32(now-above) <= 0 {
		t.Errorf("names left apps.test., whose serial is %d after %d", now, above)
	}
	if x, ok := b.Status(shop.Ref); !ok || x.Zone != "shop.apps.test." || x.Serial != b.serialOf("shop.apps.test.") {
		t.Errorf("status %+v", x)
	}

	// A zone within moves on what is below it alone.
	within := zoneObject("b", "b.shop.apps.test.", 1)
	b.update(within)
	b.wantHolds("b.shop.apps.test.", "a.b.shop.apps.test.", "9 AAAA fd00::3")
	b.wantHolds("shop.apps.test.", "a.b.shop.apps.test.", "")
	b.remove(within)
	b.wantHolds("shop.apps.test.", "a.b.shop.apps.test.", "9 AAAA fd00::3")
	b.wantHolds("b.shop.apps.test.", "a.b.shop.apps.test.", "no zone")

	// Its own records change, and with them what names take from it.
	serial := b.serialOf("shop.apps.test.")
	b.update(zoneObject("shop", "shop.apps.test.", 1, func(z *model.Zone) {
		z.TTL = 7 * time.Second
		z.Nameservers = []model.Nameserver{{Name: "web.shop.apps.test.", Addresses: []netip.Addr{netip.MustParseAddr("fd00::54")}}}
	}))
	b.wantHolds("shop.apps.test.", "web.shop.apps.test.", "60 AAAA fd00::54")
	b.wantReasons(web, "ReservedName")
	b.wantHolds("shop.apps.test.", "a.b.shop.apps.test.", "7 AAAA fd00::3")
	b.wantHolds("shop.apps.test.", "ns1.shop.apps.test.", "")
	if now := b.serialOf("shop.apps.test."); int32(now-serial) <= 0 {
		t.Errorf("serial %d after %d", now, serial)
	}
	b.update(shop)
	b.wantHolds("shop.apps.test.", "web.shop.apps.test.", "9 AAAA fd00::2")
	b.wantReasons(web, "")

	serial = b.serialOf("shop.apps.test.")
	for i := range 200 { // more changes than seconds
		b.update(named("web", 2+i%2, "web.shop.apps.test."))
	}
	b.remove(shop)
	b.wantHolds("apps.test.", "a.b.shop.apps.test.", "5 AAAA fd00::3")
	b.wantHolds("shop.apps.test.", "", "no zone")
	b.update(shop)
	if now := b.serialOf("shop.apps.test."); int32(now-serial) < 200 {
		t.Errorf("the zone came back with serial %d after %d and 200 changes", now, serial)
	}
	b.remove(fresh)
	b.wantReasons(outside, "OutsideZones")
}

func TestWhoHasAZone(t *testing.T) {
	b := newBench(t)
	mine, other, configured := zoneObject("mine", "new.test.", 2), zoneObject("other", "new.test.", 1), zoneObject("configured", "apps.test.", 1)
	b.do(mail{updates: []model.Update{{Ref: mine.Ref, Pool: mine}, {Ref: configured.Ref, Pool: configured}}, synced: true})
	b.wantReasons(configured, "Configured")
	b.wantHolds("apps.test.", "ns1.apps.test.", "300 AAAA fd00::53")
	b.wantReasons(mine, "")
	b.update(other)
	b.wantReasons(mine, "OriginTaken")
	b.wantReasons(other, "")
	if _, ok := b.Status(mine.Ref); ok {
		t.Error("a zone that is another's is served")
	}
	b.remove(other)
	b.wantReasons(mine, "")
	if x, ok := b.Status(mine.Ref); !ok || x.Zone != "new.test." {
		t.Errorf("status %+v", x)
	}
	// One that cannot be read any more stays.
	b.update(&model.Pool{Ref: mine.Ref, Created: mine.Created, KeepZone: true, Problems: []model.Problem{{Reason: "Invalid"}}})
	b.wantReasons(mine, "Invalid")
	b.wantHolds("new.test.", "ns1.new.test.", "60 AAAA fd00::53")
}

func TestAllowedNamespaces(t *testing.T) {
	b := newBench(t)
	z := zoneObject("new", "new.test.", 1, func(z *model.Zone) { z.Namespaces = []string{"team-*"} })
	web := named("web", 2, "www.new.test.")
	b.do(mail{updates: []model.Update{{Ref: z.Ref, Pool: z}, {Ref: web.Ref, Pool: web}}, synced: true})
	b.wantReasons(web, "NotAllowed")
	b.wantHolds("new.test.", "www.new.test.", "")
	b.update(zoneObject("new", "new.test.", 1, func(z *model.Zone) { z.Namespaces = []string{"team-*", "shop"} }))
	b.wantReasons(web, "")
	b.wantHolds("new.test.", "www.new.test.", "9 AAAA fd00::2")
}

const delegated = "60 DS 1 13 2 ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB, 60 NS ns.elsewhere.example., 60 NS ns1.child.up.test."

func TestUpperZone(t *testing.T) {
	b := newBench(t)
	up := zoneObject("up", "up.test.", 1, func(z *model.Zone) { z.Upper = true })
	web, cut := named("web", 2, "www.up.test."), cutObject("child", "child.up.test.", 3)
	b.do(mail{updates: []model.Update{{Ref: up.Ref, Pool: up}, {Ref: web.Ref, Pool: web}, {Ref: cut.Ref, Pool: cut}}, synced: true})
	b.wantReasons(web, "UpperZone")
	b.wantHolds("up.test.", "www.up.test.", "")
	b.wantReasons(cut, "")
	b.wantHolds("up.test.", "child.up.test.", delegated)
	b.wantHolds("up.test.", "ns1.child.up.test.", "60 AAAA fd00::1:53")

	// The child is served here, too: each zone has what is its own, and none of the objects is in the other's way.
	child := zoneObject("child", "child.up.test.", 4)
	at := named("at", 5, "child.up.test.", "www.child.up.test.")
	b.update(child, at)
	b.wantHolds("up.test.", "child.up.test.", delegated)
	b.wantHolds("up.test.", "ns1.child.up.test.", "60 AAAA fd00::1:53")
	b.wantHolds("child.up.test.", "child.up.test.", "60 NS ns1.child.up.test., 9 AAAA fd00::5")
	b.wantHolds("child.up.test.", "ns1.child.up.test.", "60 AAAA fd00::53")
	for _, p := range []*model.Pool{up, cut, child, at} {
		b.wantReasons(p, "")
	}
	if x, ok := b.Status(cut.Ref); !ok || x.Zone != "up.test." {
		t.Errorf("status of the delegation %+v", x)
	}
	b.remove(child)
	b.wantHolds("up.test.", "child.up.test.", delegated)
	b.wantHolds("up.test.", "ns1.child.up.test.", "60 AAAA fd00::1:53")
	b.wantReasons(at, "UpperZone UpperZone")
	b.remove(cut)
	b.wantHolds("up.test.", "child.up.test.", "")
	b.wantHolds("up.test.", "ns1.child.up.test.", "")
}

// Of a delegation and others that want its names the first owner keeps them; names below a delegation are asked for
// elsewhere, which both are told.
func TestDelegationsBesideNames(t *testing.T) {
	b := newBench(t)
	below, beside := named("below", 2, "www.shop.apps.test."), named("beside", 3, "www.apps.test.")
	cut := cutObject("shop", "shop.apps.test.", 4)
	b.do(mail{updates: []model.Update{{Ref: below.Ref, Pool: below}, {Ref: beside.Ref, Pool: beside}, {Ref: cut.Ref, Pool: cut}}, synced: true})
	b.wantReasons(below, "Occluded")
	b.wantReasons(beside, "")
	b.wantReasons(cut, "Occludes")
	if p := b.problems[cut.Ref]; len(p) == 1 && (!p[0].Notice || !strings.Contains(p[0].Message, "www.shop.apps.test. of Service shop/below (1 in all)")) {
		t.Errorf("the delegation says %v", p)
	}
	later := named("later", 5, "a.shop.apps.test.")
	b.update(later)
	b.wantReasons(later, "Occluded")
	b.remove(below)
	b.remove(later)
	b.wantReasons(cut, "")
	b.update(below)

	rival := cutObject("rival", "shop.apps.test.", 5)
	b.update(rival)
	b.wantReasons(rival, "NameTaken NameTaken")
	if _, ok := b.Status(rival.Ref); ok {
		t.Error("a delegation that is another's is told to be served")
	}
	older := named("older", 1, "shop.apps.test.")
	b.update(older)
	b.wantHolds("apps.test.", "shop.apps.test.", "5 AAAA fd00::1")
	b.wantHolds("apps.test.", "ns1.shop.apps.test.", "") // no glue without a delegation
	b.wantReasons(cut, "NameTaken")
	b.wantReasons(below, "")
	b.remove(older)
	b.wantReasons(below, "Occluded")
	b.wantHolds("apps.test.", "ns1.shop.apps.test.", "300 AAAA fd00::1:53")
	b.remove(cut)
	b.wantReasons(rival, "Occludes")
	b.remove(rival)
	b.wantReasons(below, "")
	if len(b.cuts)+len(b.under)+len(b.below) > 0 {
		t.Errorf("left over: %v %v %v", b.cuts, b.under, b.below)
	}

	outside := cutObject("outside", "child.elsewhere.example.", 1)
	b.update(outside)
	b.wantReasons(outside, "OutsideZones")
	wrong := cutObject("wrong", "x.apps.test.", 1)
	wrong.Delegation.Nameservers = []model.Nameserver{
		{Name: "ns.x.apps.test."},
		{Name: "ns1.apps.test.", Addresses: []netip.Addr{netip.MustParseAddr("fd00::9")}},
		{Name: "ns.example.", Addresses: []netip.Addr{netip.MustParseAddr("fd00::9")}},
	}
	b.update(wrong)
	b.wantReasons(wrong, "InvalidRecord OutsideZones ReservedName")
	b.wantHolds("apps.test.", "ns1.apps.test.", "300 AAAA fd00::53")
}

// A configuration without zones waits for the first.
func TestNoZonesAtFirst(t *testing.T) {
	b := newBench(t)
	clear(b.zones)
	b.do(mail{synced: true})
	select {
	case <-b.Ready():
	default:
		t.Error("statuses would wait for a zone")
	}
	select {
	case <-b.Serving():
		t.Error("a zone is there")
	default:
	}
	b.update(zoneObject("new", "new.test.", 1), named("web", 2, "www.new.test."))
	select {
	case <-b.Serving():
	default:
		t.Error("no zone is there")
	}
	b.wantHolds("new.test.", "www.new.test.", "9 AAAA fd00::2")
}

// all is what is published, and what is wrong, the serials apart.
func (b *bench) all() map[string]string {
	out := map[string]string{}
	for _, e := range b.options.Catalog.Zones() {
		for owner, sets := range e.All() {
			var lines []string
			for _, s := range sets {
				for _, rr := range s.Records {
					if s.Type != dns.TypeSOA {
						lines = append(lines, rr.String())
					}
				}
			}
			slices.Sort(lines)
			out[e.Origin()+" "+owner] = strings.Join(lines, "\n")
		}
	}
	for ref := range b.pools {
		var lines []string
		for _, p := range b.problems[ref] {
			lines = append(lines, p.Reason+": "+p.Message)
		}
		if slices.Sort(lines); len(lines) > 0 {
			out[ref.String()] = strings.Join(lines, "\n")
		}
	}
	return out
}

// Whatever came, changed and went before, in whatever order, what is published and what is wrong follows from the objects
// that are there; and serials never go back.
func TestZonesByChance(t *testing.T) {
	origins := []string{"x.test.", "a.x.test.", "b.a.x.test.", "c.x.test.", "apps.test.", "a.apps.test.", "deep.apps.test."}
	names := []string{"x.test.", "a.x.test.", "w.a.x.test.", "b.a.x.test.", "w.b.a.x.test.", "ns1.a.x.test.", "w.c.x.test.", "ns1.b.a.x.test.", "a.apps.test.", "w.a.apps.test.", "*.c.x.test.", "w.deep.apps.test."}
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 7))
		object := func() *model.Pool {
			i, day := r.IntN(6), 1+r.IntN(9)
			switch r.IntN(4) {
			case 0:
				return zoneObject(fmt.Sprint("z", i), origins[r.IntN(len(origins))], day, func(z *model.Zone) {
					z.Upper, z.TTL = r.IntN(3) == 0, time.Duration(1+r.IntN(2))*time.Second
					if r.IntN(4) == 0 {
						z.Namespaces = []string{"team-*"}
					}
				})
			case 1:
				return cutObject(fmt.Sprint("d", i), names[r.IntN(len(names)-2)], day)
			case 2:
				p := named(fmt.Sprint("e", i), day)
				p.Ref.Kind = "DNSEndpoint"
				name := names[r.IntN(len(names)-2)]
				p.Records = []model.RecordSet{{Name: name, Type: dns.TypeNS, Records: []model.Record{{Data: "ns1." + name}}}, {Name: "ns1." + name, Type: dns.TypeA, Records: []model.Record{{Data: "192.0.2.1"}}}}
				return p
			}
			return named(fmt.Sprint("s", i), day, names[r.IntN(len(names))], names[r.IntN(len(names))])
		}
		b := newBench(t)
		there := map[model.Ref]*model.Pool{}
		b.do(mail{synced: true})
		last := map[string]uint32{}
		for step := range 60 {
			var m mail
			for range 1 + r.IntN(3) {
				p := object()
				if r.IntN(3) == 0 {
					delete(there, p.Ref)
					m.updates = append(m.updates, model.Update{Ref: p.Ref})
				} else {
					there[p.Ref] = p
					m.updates = append(m.updates, model.Update{Ref: p.Ref, Pool: p})
				}
			}
			b.do(m)
			for _, e := range b.options.Catalog.Zones() {
				if before, ok := last[e.Origin()]; ok && int32(e.Serial()-before) < 0 {
					t.Fatalf("seed %d, step %d: serial of %s went from %d to %d", seed, step, e.Origin(), before, e.Serial())
				}
				last[e.Origin()] = e.Serial()
			}
			if step%10 != 9 {
				continue
			}
			fresh := newBench(t)
			m = mail{synced: true}
			for _, p := range there {
				m.updates = append(m.updates, model.Update{Ref: p.Ref, Pool: p})
			}
			fresh.do(m)
			if diff := cmp.Diff(fresh.all(), b.all()); diff != "" {
				t.Fatalf("seed %d, step %d: from nothing (-) and after changes (+):\n%s", seed, step, diff)
			}
		}
	}
}
