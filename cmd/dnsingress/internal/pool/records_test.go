// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/alias"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// zone prints the published zone but for the names of the zone itself: NAME TTL TYPE [LOCATION NAME WEIGHT] DATA, where
// the options of a set have their location, name and weight in front.
func (b *bench) zone() string {
	b.t.Helper()
	published := b.options.Catalog.Zone("apps.test.")
	if published == nil {
		return "no zone"
	}
	var lines []string
	for owner, sets := range published.All() {
		if owner == "apps.test." || owner == "ns1.apps.test." {
			continue
		}
		if len(sets) == 0 {
			lines = append(lines, owner+" no data")
		}
		for _, s := range sets {
			left, groups := 0, s.Groups
			option := ""
			for _, rr := range s.Records {
				for left == 0 && len(groups) > 0 {
					left, option = groups[0].Records, fmt.Sprintf("[%s %s %d] ", groups[0].Location, groups[0].Name, groups[0].Weight)
					groups = groups[1:]
				}
				left--
				lines = append(lines, fmt.Sprintf("%s %d %s %s%s", owner, s.TTL, dns.Type(s.Type), option, strings.TrimPrefix(rr.String(), rr.Header().String())))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (b *bench) wantZone(want string) {
	b.t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(want), b.zone()); diff != "" {
		b.t.Error(diff)
	}
}

// wantProblems compares the beginnings of what was reported of an object.
func (b *bench) wantProblems(p *model.Pool, want ...string) {
	b.t.Helper()
	var got []string
	for _, x := range b.problems[p.Ref] {
		got = append(got, x.Reason+": "+x.Message)
	}
	if len(got) != len(want) {
		b.t.Errorf("problems of %v: %q, want %q", p.Ref, got, want)
		return
	}
	for i := range got {
		if !strings.HasPrefix(got[i], want[i]) {
			b.t.Errorf("problem of %v: %q, want %q", p.Ref, got[i], want[i])
		}
	}
}

// live is a bench that publishes.
func live(t testing.TB) *bench {
	b := newBench(t)
	b.do(mail{synced: true})
	return b
}

// records makes a pool of lines NAME TYPE DATA.
func records(name string, lines ...string) *model.Pool {
	p := &model.Pool{Ref: model.Ref{Kind: "DNSEndpoint", Namespace: "shop", Name: name}}
	for _, l := range lines {
		f := strings.SplitN(l, " ", 3)
		r := model.Record{Data: f[2]}
		if follow, ok := strings.CutPrefix(f[2], "follow "); ok {
			r = model.Record{Follow: follow}
		}
		p.Records = append(p.Records, model.RecordSet{Name: f[0], Type: dns.StringToType[f[1]], Records: []model.Record{r}})
	}
	return p
}

func TestRecordsAsTheyStand(t *testing.T) {
	b := live(t)
	weight := func(n uint32) *uint32 { return &n }
	p := records("all", "a.apps.test. A 192.0.2.1", "a.apps.test. AAAA 2001:db8::1", `a.apps.test. TXT "x"`, "*.w.apps.test. MX 10 a.apps.test.", "deep.apps.test. TXT apex")
	p.Records[0].TTL = weight(60)
	p.Records = append(p.Records, model.RecordSet{Name: "geo.apps.test.", Type: dns.TypeCNAME, Records: []model.Record{
		{Data: "ie.lb.test.", Geo: "IE", Set: "ie", Weight: weight(120)}, {Data: "any.lb.test.", Geo: "*", Set: "any"},
	}})
	b.update(p)
	b.wantZone(`
*.w.apps.test. 5 MX 10 a.apps.test.
a.apps.test. 5 AAAA 2001:db8::1
a.apps.test. 5 TXT "x"
a.apps.test. 60 A 192.0.2.1
geo.apps.test. 5 CNAME [* any 1] any.lb.test.
geo.apps.test. 5 CNAME [IE ie 120] ie.lb.test.`)
	if got := b.options.Catalog.Zone("deep.apps.test."); got == nil {
		t.Error("no deep zone")
	}
	serial := b.zones["apps.test."].zone.Serial()
	b.update(p)
	if b.zones["apps.test."].zone.Serial() != serial {
		t.Error("the same records changed the zone")
	}
	p.Records = p.Records[1:2]
	b.update(p)
	b.wantZone("a.apps.test. 5 AAAA 2001:db8::1")
	b.remove(p)
	b.wantZone("")
}

func TestBadRecordsHoldUpNobody(t *testing.T) {
	b := live(t)
	good := records("good", "good.apps.test. A 192.0.2.9")
	bad := records("bad", "a.apps.test. A 2001:db8::1", "a.apps.test. TXT x", "apps.test. CNAME x.test.", "x.elsewhere.test. A 192.0.2.1", "ns1.apps.test. TXT x")
	b.update(bad, good)
	b.wantZone("a.apps.test. 5 TXT \"x\"\ngood.apps.test. 5 A 192.0.2.9")
	b.wantProblems(bad, "ApexCNAME: apps.test. CNAME", "WrongFamily: a.apps.test. A: 2001:db8::1", "OutsideZones: x.elsewhere.test. is in no zone", "ReservedName: ns1.apps.test. belongs to")
	b.wantProblems(good)

	// What only the zone itself can tell to be impossible: an answer that no message holds.
	huge := records("huge")
	set := model.RecordSet{Name: "huge.apps.test.", Type: dns.TypeTXT}
	for i := range 90 {
		set.Records = append(set.Records, model.Record{Data: fmt.Sprintf(`"%d" `, i) + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 10)})
	}
	huge.Records = []model.RecordSet{set}
	good.Records[0].Records[0].Data = "192.0.2.10"
	b.update(huge, good)
	b.wantZone("a.apps.test. 5 TXT \"x\"\ngood.apps.test. 5 A 192.0.2.10")
	b.wantProblems(huge, "Refused: huge.apps.test. is not published as it says: ")
	huge.Records[0].Records = huge.Records[0].Records[:1]
	b.update(huge)
	b.wantProblems(huge)
	if !strings.Contains(b.zone(), "huge.apps.test. 5 TXT") {
		t.Error("what was mended is not published")
	}
}

func TestNamesOfRecordsAreClaimed(t *testing.T) {
	b := live(t)
	web := pool("web", "www.apps.test.", 1, 1)
	web.Created = b.now
	rival := records("rival", "www.apps.test. TXT x", "own.apps.test. TXT x")
	rival.Created = b.now.Add(time.Hour)
	b.update(rival, web)
	b.wantZone("own.apps.test. 5 TXT \"x\"\nwww.apps.test. 5 AAAA fd00::1")
	b.wantProblems(rival, "NameTaken: www.apps.test. is already published for Service shop/web")
	if x, _ := b.Explain("www.apps.test."); len(x.Rivals) != 1 || x.Rivals[0] != "DNSEndpoint shop/rival" {
		t.Errorf("rivals %v", x.Rivals)
	}
	b.remove(web)
	b.wantZone("own.apps.test. 5 TXT \"x\"\nwww.apps.test. 5 TXT \"x\"")
	b.wantProblems(rival)

	// Two parts of one object are two as well.
	part := records("rival", "own.apps.test. TXT y")
	part.Ref.Part, part.Created = "internal", rival.Created
	b.update(part)
	b.wantProblems(part, "NameTaken: own.apps.test. is already published for DNSEndpoint shop/rival, which")
}

func TestNamespacesHaveTheirSuffixes(t *testing.T) {
	b := newBench(t)
	b.options.Config.Kubernetes.Hosts = []config.Host{
		{Suffix: "apps.test.", Namespaces: []string{"*"}}, {Suffix: "bank.apps.test.", Namespaces: []string{"bank", "audit-*"}},
	}
	b.do(mail{synced: true})
	thief := pool("web", "www.bank.apps.test. www.apps.test.", 1, 1)
	thief.Ports = []model.Port{{Name: "http", Protocol: "tcp"}}
	thief.Members[0].Ports = []uint16{80}
	b.update(thief)
	b.wantZone("_http._tcp.www.apps.test. 5 SRV 0 0 80 www.apps.test.\nwww.apps.test. 5 AAAA fd00::1")
	b.wantProblems(thief, "NotAllowed: www.bank.apps.test. is for namespaces bank, audit-* alone, as all names below bank.apps.test. (hint: ")
	bank := pool("bank", "www.bank.apps.test.", 2, 2)
	bank.Ref.Namespace, bank.Created = "bank", b.now.Add(time.Hour)
	b.update(bank)
	b.want("www.bank.apps.test.", "fd00::2 ttl=5 max=3")
	b.wantProblems(bank)

	b.options.Config.Kubernetes.Hosts = b.options.Config.Kubernetes.Hosts[1:]
	b.update(thief)
	b.wantProblems(thief, "NotAllowed: www.bank.apps.test. is for", "NotAllowed: www.apps.test. is below no suffix")
}

func TestGroupsShareTheAnswers(t *testing.T) {
	b := live(t)
	p := pool("web", "www.apps.test.", 1, 4)
	p.Groups = []model.Group{{Name: "blue", Weight: 90}, {Name: "green", Weight: 10}, {Name: "off", Weight: 0}}
	for i, g := range []int{1, 0, 1, 2} {
		p.Members[i].Group = g
	}
	p.Members = append([]model.Member{{Address: netip.MustParseAddr("10.0.0.1"), Ready: true, Group: 1}}, p.Members...)
	b.update(p)
	b.wantZone(`
www.apps.test. 5 A 10.0.0.1
www.apps.test. 5 AAAA [ blue 90] fd00::2
www.apps.test. 5 AAAA [ green 10] fd00::1
www.apps.test. 5 AAAA [ green 10] fd00::3`)
	x, _ := b.Explain("www.apps.test.")
	if len(x.Groups) != 3 || x.Groups[0].Share != 0.9 || x.Groups[0].In != 1 || x.Groups[1].In != 3 || x.Groups[2].Share != 0 {
		t.Errorf("groups %+v", x.Groups)
	}
	shares := map[string]float64{}
	for _, m := range x.Members {
		shares[m.Group] += m.Weight
	}
	if fmt.Sprintf("%.3f %.3f %.3f", shares["blue"], shares["green"], shares["off"]) != "0.900 0.100 0.000" {
		t.Errorf("shares %v", shares)
	}
	p.Members[2].Ready = false // the only one of blue
	b.update(p)
	b.wantZone("www.apps.test. 5 A 10.0.0.1\nwww.apps.test. 5 AAAA fd00::1\nwww.apps.test. 5 AAAA fd00::3")
	p.Groups[1].Weight = 0
	b.update(p)
	b.wantZone("www.apps.test. no data")
	p.Groups[1].Weight, p.Members[0].Group = 10, 7
	b.update(p) // a mistake of a source's, not of an object's
	b.want("www.apps.test.", "fd00::1 fd00::3 ttl=5 max=3")
}

func TestSteeringActsWithinGroups(t *testing.T) {
	b := live(t)
	p := pool("web", "www.apps.test.", 1, 3)
	p.Groups = []model.Group{{Name: "blue", Weight: 1}, {Name: "green", Weight: 1}}
	p.Members[2].Group = 1
	p.Policy = policy(t, "< 8")
	p.Policy.Signals[0].Name, p.Policy.Steer.Rules[0].Signal = "load", "load"
	p.Policy.Steer.Weight = steer.Weight{By: steer.WeightInverse, Signal: "load"}
	p.Policy.Steer.Selection = steer.Selection{Kind: steer.SelectWeighted, MaxAnswers: 1}
	b.update(p)
	b.do(mail{results: []promql.Result{b.samples(b.queries[0], "web-1", "1", "web-2", "3", "web-3", "1")}})
	for owner, sets := range b.options.Catalog.Zone("apps.test.").All() {
		if owner != "www.apps.test." {
			continue
		}
		s := sets[0]
		if len(s.Groups) != 2 || s.Groups[0].Records != 2 || s.Groups[0].Weight != s.Groups[1].Weight || s.MaxAnswers != 1 {
			t.Errorf("set %+v", s)
		}
		if w := s.Weights; len(w) != 3 || float64(w[0])/float64(w[1]) < 2.9 || float64(w[0])/float64(w[1]) > 3.1 {
			t.Errorf("weights %v", w)
		}
	}
}

func TestPortsFollowTheMembers(t *testing.T) {
	b := live(t)
	p := pool("web", "www.apps.test. *.any.apps.test.", 1, 2)
	p.Ports = []model.Port{{Name: "web", Protocol: "tcp", Scheme: "https", ALPN: []string{"h2", "http/1.1"}}}
	p.Members[0].Ports, p.Members[1].Ports = []uint16{8443}, []uint16{8443}
	b.update(p)
	b.wantZone(`
*.any.apps.test. 5 AAAA fd00::1
*.any.apps.test. 5 AAAA fd00::2
*.any.apps.test. 5 HTTPS 1 . alpn="h2,http/1.1" port="8443" ipv6hint="fd00::1,fd00::2"
_web._tcp.www.apps.test. 5 SRV 0 0 8443 www.apps.test.
www.apps.test. 5 AAAA fd00::1
www.apps.test. 5 AAAA fd00::2
www.apps.test. 5 HTTPS 1 . alpn="h2,http/1.1" port="8443" ipv6hint="fd00::1,fd00::2"`)
	p.Hosts = p.Hosts[:1]
	p.Members[1].Ports[0] = 9443
	b.update(p)
	const one, two = "fd00-0000-0000-0000-0000-0000-0000-0001.www.apps.test.", "fd00-0000-0000-0000-0000-0000-0000-0002.www.apps.test."
	b.wantZone(`
_web._tcp.www.apps.test. 5 SRV 0 1 8443 ` + one + `
_web._tcp.www.apps.test. 5 SRV 0 1 9443 ` + two + `
` + one + ` 5 AAAA fd00::1
` + two + ` 5 AAAA fd00::2
www.apps.test. 5 AAAA fd00::1
www.apps.test. 5 AAAA fd00::2
www.apps.test. 5 HTTPS 1 ` + one + ` alpn="h2,http/1.1" port="8443" ipv6hint="fd00::1"
www.apps.test. 5 HTTPS 1 ` + two + ` alpn="h2,http/1.1" port="9443" ipv6hint="fd00::2"`)
	p.Members[0].Ready = false
	b.update(p)
	b.wantZone(`
_web._tcp.www.apps.test. 5 SRV 0 0 9443 www.apps.test.
www.apps.test. 5 AAAA fd00::2
www.apps.test. 5 HTTPS 1 . alpn="h2,http/1.1" port="9443" ipv6hint="fd00::2"`)
	p.Members[1].Ready = false
	b.update(p)
	b.wantZone("_web._tcp.www.apps.test. no data\nwww.apps.test. no data")
	p.Members[0].Terminating = true
	b.update(p) // the last resort
	b.wantZone(`
_web._tcp.www.apps.test. 5 SRV 0 0 8443 www.apps.test.
www.apps.test. 5 AAAA fd00::1
www.apps.test. 5 HTTPS 1 . alpn="h2,http/1.1" port="8443" ipv6hint="fd00::1"`)
	if x, _ := b.Explain("www.apps.test."); !x.LastResort {
		t.Error("the last resort is not explained")
	}
	if x, _ := b.Explain("_web._tcp.www.apps.test."); x.For != "www.apps.test." || len(x.Records) != 1 || x.Records[0].Options[0].Records[0] != "0 0 8443 www.apps.test." || len(x.Members) != 2 {
		t.Errorf("explanation %+v", x)
	}
	b.remove(p)
	b.wantZone("")
}

func TestNamesOfPortsBelongToTheHostsOwner(t *testing.T) {
	b := live(t)
	ported := func(name string, at int, created int) *model.Pool {
		p := pool(name, "www.apps.test.", at, at)
		p.Created = b.now.Add(time.Duration(created) * time.Hour)
		p.Ports = []model.Port{{Name: name, Protocol: "tcp"}}
		p.Members[0].Ports = []uint16{uint16(at)}
		return p
	}
	old, young := ported("old", 1, 1), ported("young", 2, 2)
	b.update(young, old)
	b.wantZone("_old._tcp.www.apps.test. 5 SRV 0 0 1 www.apps.test.\nwww.apps.test. 5 AAAA fd00::1")
	b.wantProblems(young, "NameTaken: www.apps.test. is already")
	b.remove(old)
	b.wantZone("_young._tcp.www.apps.test. 5 SRV 0 0 2 www.apps.test.\nwww.apps.test. 5 AAAA fd00::2")
	// What is said of a name counts more than what is made of a port, and who was first has it.
	first := records("first", "_young._tcp.www.apps.test. SRV 1 1 1 x.test.")
	b.update(first)
	b.wantZone("_young._tcp.www.apps.test. 5 SRV 1 1 1 x.test.\nwww.apps.test. 5 AAAA fd00::2")
	b.wantProblems(young, "NameTaken: _young._tcp.www.apps.test. is already")
	own := ported("young", 2, 2)
	own.Records = records("", `www.apps.test. TXT "x"`, "_young._tcp.www.apps.test. SRV 2 2 2 y.test.").Records
	b.remove(first)
	b.update(own)
	b.wantZone("_young._tcp.www.apps.test. 5 SRV 2 2 2 y.test.\nwww.apps.test. 5 AAAA fd00::2\nwww.apps.test. 5 TXT \"x\"")
}

// follower notes what is followed.
type follower struct{ names map[string]bool }

func (f *follower) Follow(name string) { f.names[name] = true }
func (f *follower) Forget(name string) { delete(f.names, name) }

func TestHostNamesAreFollowed(t *testing.T) {
	b := newBench(t)
	f := &follower{map[string]bool{}}
	b.ConnectFollower(f)
	outcome := func(err error, addresses ...string) mail {
		o := alias.Outcome{At: b.now, Err: err}
		for _, a := range addresses {
			o.Addresses = append(o.Addresses, netip.MustParseAddr(a))
		}
		return mail{followed: map[string]alias.Outcome{"lb.example.org.": o}}
	}
	one := records("one", "a.apps.test. A follow lb.example.org", "a.apps.test. AAAA follow lb.example.org", "a.apps.test. A 192.0.2.9")
	two := records("two", "b.apps.test. AAAA follow LB.example.org.")
	b.update(one, two)
	if wait := b.do(mail{synced: true}); wait != 10*time.Second {
		t.Errorf("the first addresses are waited for until %v", wait)
	}
	b.wantZone("no zone")
	if len(f.names) != 1 || !f.names["lb.example.org."] {
		t.Errorf("followed: %v", f.names)
	}
	b.do(outcome(nil, "2001:db8::1", "192.0.2.1"))
	b.wantZone("a.apps.test. 5 A 192.0.2.1\na.apps.test. 5 A 192.0.2.9\na.apps.test. 5 AAAA 2001:db8::1\nb.apps.test. 5 AAAA 2001:db8::1")
	serial := b.zones["apps.test."].zone.Serial()
	b.do(outcome(errors.New("no answer in time"), "2001:db8::1", "192.0.2.1"))
	b.wantProblems(two, "Unresolved: host name lb.example.org.: no answer in time; its last addresses stay (hint: ")
	if b.zones["apps.test."].zone.Serial() != serial {
		t.Error("a failure changed the zone")
	}
	if x, _ := b.Explain("b.apps.test."); len(x.Follows) != 1 || x.Follows[0].Age == nil || x.Follows[0].Error == "" || len(x.Follows[0].Addresses) != 2 {
		t.Errorf("explained: %+v", x.Follows)
	}
	b.do(outcome(errors.New("there is no such name")))
	b.wantZone("a.apps.test. 5 A 192.0.2.9\nb.apps.test. no data")
	b.wantProblems(two, "Unresolved: host name lb.example.org.: there is no such name; nothing is published for it")
	b.do(outcome(nil, "2001:db8::2"))
	b.wantZone("a.apps.test. 5 A 192.0.2.9\na.apps.test. 5 AAAA 2001:db8::2\nb.apps.test. 5 AAAA 2001:db8::2")
	b.wantProblems(two)
	b.remove(one)
	if !f.names["lb.example.org."] {
		t.Error("forgotten while somebody follows it")
	}
	b.remove(two)
	if len(f.names) != 0 || len(b.follows) != 0 {
		t.Errorf("still followed: %v", f.names)
	}
	b.do(outcome(nil, "2001:db8::3")) // on its way when it was forgotten
	b.wantZone("")
}

func TestCNAMEsThatLeadBack(t *testing.T) {
	b := live(t)
	a, c := records("a", "a.apps.test. CNAME b.apps.test.", "ok.apps.test. CNAME a.apps.test."), records("c", "b.apps.test. CNAME C.apps.test.", "*.apps.test. CNAME a.apps.test.")
	b.update(a)
	b.wantZone("a.apps.test. 5 CNAME b.apps.test.\nok.apps.test. 5 CNAME a.apps.test.")
	b.update(c) // c.apps.test. is covered by the pattern
	b.wantZone("*.apps.test. no data\na.apps.test. no data\nb.apps.test. no data\nok.apps.test. 5 CNAME a.apps.test.")
	b.wantProblems(a, "Loop: a.apps.test.: its CNAME leads back to it by b.apps.test., *.apps.test., a.apps.test.,")
	b.wantProblems(c, "Loop: b.apps.test.: ", "Loop: *.apps.test.: ")
	if len(b.loops) != 3 {
		t.Errorf("loops %v", b.loops)
	}
	d := records("d", "c.apps.test. A 192.0.2.1")
	b.update(d)
	b.wantZone("*.apps.test. 5 CNAME a.apps.test.\na.apps.test. 5 CNAME b.apps.test.\nb.apps.test. 5 CNAME C.apps.test.\nc.apps.test. 5 A 192.0.2.1\nok.apps.test. 5 CNAME a.apps.test.")
	b.wantProblems(a)
	b.remove(d)
	b.wantProblems(a, "Loop: a.apps.test.")
	b.remove(a) // then the pattern leads to itself
	b.wantProblems(c, "Loop: *.apps.test.: its CNAME leads back to it by *.apps.test.,")
	b.update(records("a", "a.apps.test. A 192.0.2.1"))
	b.wantProblems(c)
	b.remove(c)
	b.wantZone("a.apps.test. 5 A 192.0.2.1")
	if len(b.loops) != 0 || len(b.pointing) != 0 {
		t.Errorf("left over: loops %v, pointing %v", b.loops, b.pointing)
	}
}

func TestAThousandTargets(t *testing.T) {
	b := live(t)
	p := records("many")
	set := model.RecordSet{Name: "many.apps.test.", Type: dns.TypeAAAA}
	for i := range 1000 {
		set.Records = append(set.Records, model.Record{Data: fmt.Sprintf("2001:db8::%x", i+1)})
	}
	p.Records = []model.RecordSet{set}
	b.update(p, pool("web", "www.apps.test.", 1, 1))
	b.wantProblems(p, "TooManyTargets: many.apps.test. AAAA: 1000 targets do not fit")
	b.want("www.apps.test.", "fd00::1 ttl=5 max=3")
	if got := b.answers("many.apps.test."); !strings.HasSuffix(got, " ttl=5 max=100") || strings.Count(got, "2001:db8::") != 1000 {
		t.Errorf("%.50s…", got)
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		origin, name string
		want         bool
	}{
		{"apps.test.", "apps.test.", true},
		{"apps.test.", "a.apps.test.", true},
		{"apps.test.", "myapps.test.", false},
		{"apps.test.", "test.", false},
		{".", ".", true},
		{".", "test.", true},
		{"a.", "ba.", false},
	} {
		if got := within(c.origin, c.name); got != c.want {
			t.Errorf("%s below %s: %v", c.name, c.origin, got)
		}
	}
}
