// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// given is a sharer that remembers what other clusters have.
type given struct {
	all   map[string]model.Share
	calls int
}

func (g *given) Share(changed []model.Share, gone []string) {
	g.calls++
	for _, s := range changed {
		g.all[s.Host] = s
	}
	for _, host := range gone {
		delete(g.all, host)
	}
}

// newPeerBench is newBench of cluster north, with peers south and west, that merges by the rules. It does not wait for the
// first news of these.
func newPeerBench(t *testing.T, merge ...config.Merge) (*bench, *given) {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(`zones:
  - origin: apps.test
    nameservers: [{name: ns1.apps.test, addresses: ["fd00::53"]}]
    maxAnswers: 3
cluster: {name: north, location: eu/north}
`))
	if err != nil {
		t.Fatal(err)
	}
	c.Peers.Merge = merge
	e, err := New(Options{Config: c, Catalog: new(zone.Catalog), Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Engine: e, t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), problems: map[model.Ref][]model.Problem{}}
	e.Connect(b, b)
	g := &given{all: map[string]model.Share{}}
	e.ConnectSharer(g)
	b.do(mail{synced: true})
	c.Peers.Clusters = []config.Peer{{Name: "south"}, {Name: "west"}}
	return b, g
}

// peer is what a cluster has for hosts now, each with addresses that are in; ! for out, + for a last resort, xN for a weight of N.
func (b *bench) peer(name string, up bool, shares map[string]string) {
	b.t.Helper()
	n := model.PeerNews{PeerState: model.PeerState{Name: name, Up: up, Since: b.now, Heard: b.now, Why: "it sleeps"}, Changed: map[string]*model.Share{}}
	for host, text := range shares {
		if text == "gone" {
			n.Changed[host] = nil
			continue
		}
		s := &model.Share{Host: host, TTL: 4}
		for _, word := range strings.Fields(text) {
			m := model.SharedMember{In: true, Reason: "ready", Weight: 1, Location: "eu/" + name, Pod: "p"}
			if rest, out := strings.CutPrefix(word, "!"); out {
				word, m.In, m.Reason, m.Weight = rest, false, "not-ready", 0
			}
			if rest, resort := strings.CutPrefix(word, "+"); resort {
				word, m.Resort, m.Reason = rest, true, "last-resort"
			}
			if rest, weight, heavy := strings.Cut(word, "x"); heavy {
				word = rest
				if _, err := fmt.Sscan(weight, &m.Weight); err != nil {
					b.t.Fatal(err)
				}
			}
			m.Address = netip.MustParseAddr(word)
			s.Members = append(s.Members, m)
		}
		n.Changed[host] = s
	}
	b.do(mail{peers: []model.PeerNews{n}})
}

// peerRecords is what a cluster has now that objects there write down, "gone" for what it has no more.
func (b *bench) peerRecords(name string, up bool, of *model.Pool, gone ...string) {
	b.t.Helper()
	n := model.PeerNews{PeerState: model.PeerState{Name: name, Up: up, Since: b.now, Heard: b.now}, Changed: map[string]*model.Share{}}
	ttl := uint32(6)
	for _, s := range of.Records {
		if n.Changed[s.Name] == nil {
			n.Changed[s.Name] = &model.Share{Host: s.Name, TTL: ttl}
		}
		s.TTL = &ttl
		n.Changed[s.Name].Records = append(n.Changed[s.Name].Records, s)
	}
	for _, host := range gone {
		n.Changed[host] = nil
	}
	b.do(mail{peers: []model.PeerNews{n}})
}

// set is the published set of addresses of a name.
func (b *bench) set(name string) zone.RRset {
	b.t.Helper()
	sets, _ := b.options.Catalog.Zone("apps.test.").RRsets(name)
	for _, s := range sets {
		if s.Type == dns.TypeAAAA {
			return s
		}
	}
	return zone.RRset{}
}

// member says how a member of a name stands: its cluster, state, reason and share.
func (b *bench) member(name, address string) string {
	b.t.Helper()
	x, ok := b.Explain(name)
	if !ok {
		b.t.Fatalf("%s is not explained", name)
	}
	for _, m := range x.Members {
		if m.Address == netip.MustParseAddr(address) {
			return fmt.Sprintf("%s %s %s %.0f%%", m.Cluster, m.State, m.Reason, 100*m.Weight)
		}
	}
	return "none"
}

const www = "www.apps.test."

func TestMergeRoundRobin(t *testing.T) {
	b, given := newPeerBench(t)
	web := pool("web", www, 1, 2)
	b.update(web)
	b.want(www, "fd00::1 fd00::2 ttl=5 max=3")
	if s := given.all[www]; len(s.Members) != 2 || s.TTL != 5 || s.Members[0].Location != "eu/north" || !s.Members[0].In || s.Members[0].Weight != 1 {
		t.Errorf("other clusters have %+v", s)
	}
	calls := given.calls
	b.peer("south", true, map[string]string{www: "fd00::a !fd00::b", "only.apps.test.": "fd00::c", "elsewhere.test.": "fd00::d", "ns1.apps.test.": "fd00::666"})
	b.want(www, "fd00::1 fd00::a fd00::2 ttl=4 max=3") // one of each cluster in turn, for as short as the shortest
	b.want("only.apps.test.", "fd00::c ttl=4 max=3")
	b.want("ns1.apps.test.", "fd00::53 ttl=300 max=0")
	if given.calls != calls {
		t.Error("what others have given was given on")
	}
	for address, want := range map[string]string{"fd00::1": "north in ready 33%", "fd00::a": "south in ready 33%", "fd00::b": "south out not-ready 0%"} {
		if got := b.member(www, address); got != want {
			t.Errorf("%s is %q, want %q", address, got, want)
		}
	}
	b.peer("west", true, map[string]string{www: "fd00::a fd00::e"}) // one address is another cluster's, too
	b.want(www, "fd00::1 fd00::a fd00::e fd00::2 ttl=4 max=3")
	if x, _ := b.Explain(www); len(x.Members) != 6 || x.Members[4].Reason != sameAddress || len(x.Peers) != 2 {
		t.Errorf("%+v, %+v", x.Members, x.Peers)
	}
	list, _ := b.Pools("www", 10)
	if len(list) != 1 || list[0].In != 4 || list[0].Members != 6 {
		t.Errorf("in the list it is %+v", list)
	}

	b.peer("south", false, nil) // its lease has ended
	b.want(www, "fd00::1 fd00::a fd00::2 fd00::e ttl=4 max=3")
	b.want("only.apps.test.", "no data")
	if got := b.member("only.apps.test.", "fd00::c"); got != "south out lease-ended 0%" {
		t.Errorf("fd00::c is %q", got)
	}
	x, _ := b.Explain("only.apps.test.")
	if x.Object != "Peers only.apps.test." || len(x.Peers) != 1 || x.Peers[0].Up || x.Peers[0].Heard == nil || x.Peers[0].Why != "it sleeps" {
		t.Errorf("%+v", x)
	}
	if last := x.History[len(x.History)-1]; last.Trigger != "peer" || last.In != 0 || len(last.Changes) != 1 || last.Changes[0].Cluster != "south" || last.Changes[0].Was != "in" || last.Changes[0].Reason != leaseEnded {
		t.Errorf("the last event is %+v", last)
	}
	b.peer("south", true, map[string]string{"only.apps.test.": "gone"})
	b.want(www, "fd00::1 fd00::a fd00::e fd00::2 ttl=4 max=3")
	b.want("only.apps.test.", "no name")

	b.remove(web) // what others have stays
	b.want(www, "fd00::a fd00::e ttl=4 max=3")
	if _, still := given.all[www]; still {
		t.Error("other clusters have what is gone")
	}
	records := &model.Pool{Ref: model.Ref{Kind: "DNSEndpoint", Name: "www"}, Records: []model.RecordSet{{Name: www, Type: dns.TypeCNAME, Records: []model.Record{{Data: "other.test."}}}}}
	b.update(records)
	if s := b.set(www); len(s.Records) != 0 {
		t.Errorf("addresses beside a CNAME: %+v", s)
	}
	if problems := b.problems[records.Ref]; len(problems) != 1 || problems[0].Reason != "PeersIgnored" {
		t.Errorf("its owner is told %+v", problems)
	}
}

func TestMergeLastResort(t *testing.T) {
	b, _ := newPeerBench(t)
	web := pool("web", www, 1, 1)
	web.Members[0].Ready, web.Members[0].Terminating = false, true
	b.update(web)
	b.want(www, "fd00::1 ttl=5 max=3") // it serves, and nobody else does
	b.peer("south", true, map[string]string{www: "+fd00::a"})
	b.want(www, "fd00::1 fd00::a ttl=4 max=3")
	b.peer("west", true, map[string]string{www: "fd00::b"})
	b.want(www, "fd00::b ttl=4 max=3")
	if got := b.member(www, "fd00::1"); got != "north out other-ready 0%" {
		t.Errorf("fd00::1 is %q", got)
	}
}

func TestMergePrimaryFallback(t *testing.T) {
	b, _ := newPeerBench(t, config.Merge{Hosts: config.Hosts{"*"}, By: config.MergePrimaryFallback, Order: []string{"south", "north"}})
	web := pool("web", www, 1, 1)
	b.update(web)
	b.peer("west", true, map[string]string{www: "fd00::b"})
	b.want(www, "fd00::1 ttl=5 max=3") // west is in no order: it comes last
	b.peer("south", true, map[string]string{www: "fd00::a"})
	b.want(www, "fd00::a ttl=4 max=3")
	if got := b.member(www, "fd00::1"); got != "north out standby 0%" {
		t.Errorf("fd00::1 is %q", got)
	}
	if x, _ := b.Explain(www); x.Merge != "primary-fallback south, north" || !x.Members[0].Since.Equal(b.now) {
		t.Errorf("%s, since %v", x.Merge, x.Members[0].Since)
	}
	b.peer("south", false, nil)
	b.want(www, "fd00::1 ttl=5 max=3")
	web.Members[0].Ready = false
	b.update(web)
	b.want(www, "fd00::b ttl=4 max=3")
	b.peer("south", true, nil)
	b.want(www, "fd00::a ttl=4 max=3")
}

func TestMergeByWeight(t *testing.T) {
	b, _ := newPeerBench(t, config.Merge{Hosts: config.Hosts{"*"}, By: config.MergeWeight, Weights: map[string]uint32{"north": 3, "west": 0}})
	b.update(pool("web", www, 1, 2))
	b.peer("south", true, map[string]string{www: "fd00::a"})
	b.peer("west", true, map[string]string{www: "fd00::b"})
	s := b.set(www)
	if want := []zone.Group{{Records: 2, Weight: 3, Name: "north"}, {Records: 1, Weight: 1, Name: "south"}}; !slices.Equal(s.Groups, want) {
		t.Errorf("groups %+v, want %+v", s.Groups, want)
	}
	for address, want := range map[string]string{"fd00::1": "north in ready 38%", "fd00::a": "south in ready 25%", "fd00::b": "west out no-weight 0%"} {
		if got := b.member(www, address); got != want {
			t.Errorf("%s is %q, want %q", address, got, want)
		}
	}
	b.peer("south", false, nil)
	b.remove(pool("web", www, 1, 2))
	b.want(www, "fd00::b ttl=4 max=3") // for want of others
}

func TestMergeGeo(t *testing.T) {
	b, _ := newPeerBench(t, config.Merge{Hosts: config.Hosts{"*"}, By: config.MergeGeo})
	web := pool("web", www, 1, 1)
	web.Members[0].Zone, web.Members[0].Node = "zone-a", "node-7"
	b.update(web)
	b.peer("south", true, map[string]string{www: "fd00::a fd00::b"})
	s := b.set(www)
	if s.Select.Kind != zone.Near || !slices.Equal(s.Locations, []string{"eu/north/zone-a/node-7", "eu/south", "eu/south"}) {
		t.Errorf("%v of %v", s.Select, s.Locations)
	}
}

// TestMergeWeighsMembers: weights within a cluster count against those of the others' members, whatever their scale.
func TestMergeWeighsMembers(t *testing.T) {
	b, given := newPeerBench(t)
	web := pool("web", www, 1, 3)
	web.Groups = []model.Group{{Name: "blue", Weight: 90}, {Name: "green", Weight: 10}, {Name: "off"}}
	web.Members[1].Group, web.Members[2].Group = 1, 2
	b.update(web)
	own := given.all[www].Members
	if math.Abs(own[0].Weight-1.8) > 0.001 || math.Abs(own[1].Weight-0.2) > 0.001 || own[2].In || own[2].Reason != noWeight {
		t.Errorf("other clusters have %+v", own)
	}
	b.peer("south", true, map[string]string{www: "fd00::ax1.5 fd00::bx0.5"})
	s := b.set(www)
	weights := map[string]uint32{}
	for i, rr := range s.Records {
		weights[rr.(*dns.AAAA).AAAA.String()] = s.Weights[i]
	}
	if want := map[string]uint32{"fd00::1": 1800, "fd00::2": 200, "fd00::a": 1500, "fd00::b": 500}; s.Select.Kind != zone.Weighted || !maps.Equal(weights, want) || s.Groups != nil {
		t.Errorf("%v by %v in %v", s.Select, weights, s.Groups)
	}
	if got := b.member(www, "fd00::1"); got != "north in ready 45%" {
		t.Errorf("fd00::1 is %q", got)
	}
	if got := b.member(www, "fd00::3"); got != "north out no-weight 0%" {
		t.Errorf("fd00::3 is %q", got)
	}
	// A selection of the policy holds for all members.
	web.Groups = nil
	for i := range web.Members {
		web.Members[i].Group = 0
	}
	web.Policy = &model.Policy{Steer: steer.Policy{Selection: steer.Selection{Kind: "all"}}}
	b.update(web)
	if s := b.set(www); s.Select.Kind != zone.All || len(s.Records) != 5 || s.Weights != nil {
		t.Errorf("%v of %d by %v", s.Select, len(s.Records), s.Weights)
	}
}

// TestFirstNewsOfPeers: nothing is answered before each cluster has been heard, or has not answered.
func TestFirstNewsOfPeers(t *testing.T) {
	b := newBench(t)
	b.ConnectSharer(&given{all: map[string]model.Share{}})
	b.options.Config.Peers.Clusters = []config.Peer{{Name: "south"}, {Name: "west"}}
	b.update(pool("web", www, 1, 1))
	b.do(mail{synced: true})
	b.peer("south", true, map[string]string{www: "fd00::a"})
	b.want(www, "no zone")
	b.peer("west", false, nil)
	b.want(www, "fd00::1 fd00::a ttl=4 max=3")
}

// TestRecordsOfPeers: what objects write down is given to other clusters, which have it where no object of their own has the name. It
// outlives the lease: nobody's health is in it.
func TestRecordsOfPeers(t *testing.T) {
	b, given := newPeerBench(t)
	own := records("own", "own.apps.test. AAAA 2001:db8::1", `own.apps.test. TXT "x"`, "cut.apps.test. NS ns.elsewhere.test.")
	b.update(own)
	if s := given.all["own.apps.test."]; len(given.all) != 1 || len(s.Records) != 2 || len(s.Members) != 0 || *s.Records[0].TTL != 5 {
		t.Errorf("other clusters have %+v", given.all)
	}
	problems := b.problems[own.Ref]
	ours := b.zone()
	want := func(more string) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(ours+"\n"+more), "\n")
		slices.Sort(lines)
		b.wantZone(strings.Join(lines, "\n"))
	}
	const far = "far.apps.test."
	b.peerRecords("south", true, records("far", far+" MX 10 mx.apps.test.", "own.apps.test. AAAA 2001:db8::666", "cut2.apps.test. NS ns.south.test.", "far.elsewhere.test. A 192.0.2.1",
		"loop.apps.test. CNAME loop.apps.test.", "apps.test. TXT south"))
	want(far + " 6 MX 10 mx.apps.test.")
	if got := b.problems[own.Ref]; !slices.Equal(got, problems) {
		t.Errorf("the object's author is told of what others have: %v", got)
	}
	b.peerRecords("west", true, records("far", far+" MX 20 mx.apps.test."))
	want(far + " 6 MX 10 mx.apps.test.") // south is the first
	b.peer("south", false, nil)
	want(far + " 6 MX 20 mx.apps.test.") // west is up
	b.peer("west", false, nil)
	want(far + " 6 MX 10 mx.apps.test.")
	if x, ok := b.Explain(far); !ok || len(x.Peers) != 2 || x.Peers[0].Up || len(x.Records) != 1 {
		t.Errorf("explained as %+v", x)
	}
	if _, known := given.all[far]; known {
		t.Error("what others have is given on")
	}
	mine := records("mine", far+" MX 30 mx.apps.test.")
	b.update(mine)
	want(far + " 5 MX 30 mx.apps.test.")
	b.remove(mine)
	want(far + " 6 MX 10 mx.apps.test.")
	b.peer("west", true, map[string]string{far: "fd00::c"})
	want(far + " 4 AAAA fd00::c\n" + far + " 6 MX 10 mx.apps.test.")
	b.peerRecords("south", true, records("none"), far)
	want(far + " 4 AAAA fd00::c")
	b.peer("west", true, map[string]string{far: "gone"})
	want("")
}
