// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// option is a Group with its records, as data.
type option struct {
	Group
	data []string
}

func weighted(weight uint32, data ...string) option {
	return option{Group{Weight: weight, Name: data[0]}, data}
}

func local(location string, weight uint32, data ...string) option {
	return option{Group{Weight: weight, Location: location, Name: data[0]}, data}
}

// optional makes a set of options.
func optional(t testing.TB, rtype uint16, options ...option) RRset {
	t.Helper()
	set := RRset{Type: rtype, TTL: 60}
	for _, o := range options {
		for _, data := range o.data {
			set.Records = append(set.Records, records(t, fmt.Sprintf(". 0 IN %s %s", dns.TypeToString[rtype], data))...)
		}
		o.Records = len(o.data)
		set.Groups = append(set.Groups, o.Group)
	}
	return set
}

func with(t testing.TB, z *Zone, owner string, sets ...RRset) *Zone {
	t.Helper()
	next, err := z.With(Change{Owner: owner, RRsets: sets})
	if err != nil {
		t.Fatal(err)
	}
	return next
}

var clients = map[netip.Prefix]string{
	netip.MustParsePrefix("2001:db8:1::/48"): "GEO-EU/IE/IE-L",
	netip.MustParsePrefix("2001:db8:2::/48"): "GEO-EU/DE",
	netip.MustParsePrefix("2001:db8:3::/48"): "GEO-OC/AU",
	netip.MustParsePrefix("2001:db8:4::/48"): "GEO-NA/US/US-CA",
	netip.MustParsePrefix("192.0.2.0/24"):    "GEO-EU/IE",
}

// crowd asks a zone as many clients.
type crowd struct {
	t        testing.TB
	zone     *Zone
	question Question
	reply    Reply
	rng      *rand.Rand
	buf      []byte
}

func newCrowd(t testing.TB, z *Zone) *crowd {
	t.Helper()
	where, err := NewLocations(clients)
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{t: t, zone: z, rng: rand.New(rand.NewPCG(7, 8)), buf: make([]byte, maxMessage)}
	c.question.Locations = where
	return c
}

// ask returns the data of an answer's records in order, and the scope.
func (c *crowd) ask(client, name string, rtype uint16) (answer []string, scope int) {
	c.t.Helper()
	c.question.Client = netip.MustParseAddr(client).As16()
	msg := query(c.t, name, rtype)
	end, err := c.question.Parse(msg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.reply.seeded, c.reply.seed = true, c.rng.Uint64()
	c.reply.Start(c.buf, msg, end)
	c.zone.Answer(&c.question, &c.reply)
	var m dns.Msg
	if err := m.Unpack(c.reply.Bytes()); err != nil {
		c.t.Fatal(err)
	}
	if m.Rcode != dns.RcodeSuccess || m.Truncated || len(m.Answer) == 0 {
		c.t.Fatalf("%s for %s:\n%v", name, client, &m)
	}
	for _, rr := range m.Answer {
		answer = append(answer, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return answer, c.reply.Scope
}

// TestOptionsByWeight: an answer is one option, as often as its weight says, and of an option with more records than an answer
// has all are as often in one.
func TestOptionsByWeight(t *testing.T) {
	const rounds = 40_000
	for _, c := range []struct {
		weights       []uint32
		probabilities []float64
	}{
		{[]uint32{100, 100}, []float64{.5, .5}},
		{[]uint32{120, 255, 0, 25}, []float64{.3, .6375, 0, .0625}},
		{[]uint32{0, 0, 0}, even(3)},
		{[]uint32{1, 4294967295, 4294967295}, []float64{0x1p-33, .5, .5}},
		{[]uint32{1, 2, 3, 4, 5, 6, 7}, times(1./28, []float64{1, 2, 3, 4, 5, 6, 7})},
	} {
		var options []option
		for i, w := range c.weights {
			options = append(options, weighted(w, fmt.Sprintf("192.0.2.%d", 4*i), fmt.Sprintf("192.0.2.%d", 4*i+1), fmt.Sprintf("192.0.2.%d", 4*i+2)))
		}
		set := optional(t, dns.TypeA, options...)
		set.MaxAnswers = 2
		crowd := newCrowd(t, with(t, compileText(t, apex), "www.example.org.", set))
		counts, members := make([]float64, len(c.weights)), make([]float64, 3)
		for range rounds {
			got, scope := crowd.ask("2001:db8:1::1", "www.example.org.", dns.TypeA)
			var of [2]int
			for i, a := range got {
				of[i] = int(netip.MustParseAddr(a).As4()[3])
				members[of[i]%4]++
			}
			if len(got) != 2 || of[0]/4 != of[1]/4 || scope != 0 {
				t.Fatalf("%v with scope %d", got, scope)
			}
			counts[of[0]/4]++
		}
		fits(t, fmt.Sprint(c.weights), counts, c.probabilities)
		fits(t, "members", members, even(3))
	}
}

// TestOptionsByLocation: the nearest place that fits, then "*", then what is for nobody in particular, then any.
func TestOptionsByLocation(t *testing.T) {
	const ireland, leinster, germany, australia, california, nowhere = "192.0.2.7", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1", "2001:db8:4::1", "2001:db8:ffff::1"
	everywhere := []string{ireland, leinster, germany, australia, california, nowhere}
	for _, c := range []struct {
		name    string
		options []option
		want    map[string]string // by client; the rest get ""'s
	}{
		{
			"country, continent, default",
			[]option{local("IE", 0, "192.0.2.1"), local("GEO-EU", 0, "192.0.2.2"), local("AU", 0, "192.0.2.3"), local("*", 0, "192.0.2.4")},
			map[string]string{ireland: "192.0.2.1", leinster: "192.0.2.1", germany: "192.0.2.2", australia: "192.0.2.3", "": "192.0.2.4"},
		},
		{
			"subdivision before country, whole paths too",
			[]option{local("US-CA", 0, "192.0.2.1"), local("US", 0, "192.0.2.2"), local("GEO-EU/IE", 0, "192.0.2.3"), local("IE-L", 0, "192.0.2.5"), local("", 0, "192.0.2.4")},
			map[string]string{california: "192.0.2.1", ireland: "192.0.2.3", leinster: "192.0.2.5", "": "192.0.2.4"},
		},
		{
			"the longer of two that end at one place",
			[]option{local("IE", 0, "192.0.2.1"), local("GEO-EU/IE", 0, "192.0.2.2"), local("*", 0, "192.0.2.4")},
			map[string]string{ireland: "192.0.2.2", leinster: "192.0.2.2", "": "192.0.2.4"},
		},
		{
			"default before none",
			[]option{local("", 0, "192.0.2.1"), local("*", 0, "192.0.2.4"), local("I", 0, "192.0.2.5"), local("E", 0, "192.0.2.6"), local("U/IE", 0, "192.0.2.7"), local("GEO", 0, "192.0.2.8")},
			map[string]string{"": "192.0.2.4"},
		},
		{
			"the default is one that a country has too",
			[]option{local("IE", 100, "192.0.2.1"), local("*", 100, "192.0.2.1"), local("AU", 100, "192.0.2.2")},
			map[string]string{australia: "192.0.2.2", "": "192.0.2.1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			crowd := newCrowd(t, with(t, compileText(t, apex), "www.example.org.", optional(t, dns.TypeA, c.options...)))
			for _, client := range everywhere {
				want, ok := c.want[client]
				if !ok {
					want = c.want[""]
				}
				for range 20 {
					got, scope := crowd.ask(client, "www.example.org.", dns.TypeA)
					_, of := crowd.question.Locations.Find(netip.MustParseAddr(client))
					if len(got) != 1 || got[0] != want || scope != of || scope == 0 {
						t.Fatalf("%s gets %v with scope %d, want %s with %d", client, got, scope, want, of)
					}
				}
			}
			crowd.question.Locations = nil // nobody knows where anybody is
			if got, scope := crowd.ask(ireland, "www.example.org.", dns.TypeA); got[0] != c.want[""] || scope != 0 {
				t.Errorf("without a table: %v with scope %d, want %s with 0", got, scope, c.want[""])
			}
		})
	}
	// Where nobody thought of a client it gets any, by weight.
	crowd := newCrowd(t, with(t, compileText(t, apex), "www.example.org.", optional(t, dns.TypeA, local("IE", 1, "192.0.2.1"), local("AU", 3, "192.0.2.2"))))
	counts := map[string]float64{}
	for range 10_000 {
		got, _ := crowd.ask(california, "www.example.org.", dns.TypeA)
		counts[got[0]]++
	}
	fits(t, "clients for whom there is nothing", []float64{counts["192.0.2.1"], counts["192.0.2.2"]}, []float64{.25, .75})
}

// TestStableOptions: each client subnet stays with its option, shares are by weight, an option that goes moves only its own,
// and which one a client has at one name says nothing of another name.
func TestStableOptions(t *testing.T) {
	const clients = 20_000
	// shares returns the option of each client at the names a and b.
	shares := func(weights ...uint32) (of [2][]int) {
		t.Helper()
		var options []option
		for i, w := range weights {
			o := weighted(w, fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("192.0.2.%d", 100+i))
			o.Name = fmt.Sprint("cluster-", i)
			options = append(options, o)
		}
		set := optional(t, dns.TypeA, options...)
		set.Select.Kind = Sticky
		crowd := newCrowd(t, with(t, with(t, compileText(t, apex), "a.example.org.", set), "b.example.org.", set))
		for k, name := range []string{"a.example.org.", "b.example.org."} {
			for i := range clients {
				got, scope := crowd.ask(subnet(i), name, dns.TypeA)
				again, _ := crowd.ask(strings.Replace(subnet(i), "::7", "::8", 1), name, dns.TypeA)
				option := int(netip.MustParseAddr(got[0]).As4()[3]) % 100
				if slices.Sort(got); len(got) != 2 || got[0] == got[1] || scope != 56 {
					t.Fatalf("%v with scope %d", got, scope)
				}
				if slices.Sort(again); !slices.Equal(got, again) {
					t.Fatalf("client %d: %v, then %v", i, got, again)
				}
				of[k] = append(of[k], option)
			}
		}
		return of
	}
	before := shares(100, 200, 100, 0)
	pairs := make([]float64, 9)
	for i := range clients {
		pairs[3*before[0][i]+before[1][i]]++
	}
	fits(t, "two names", pairs, []float64{1. / 16, 1. / 8, 1. / 16, 1. / 8, 1. / 4, 1. / 8, 1. / 16, 1. / 8, 1. / 16})
	moved := make([]float64, 4)
	for i, now := range shares(100, 0, 100, 0)[0] {
		if was := before[0][i]; was != now {
			if was != 1 {
				t.Fatalf("client %d moved from %d to %d", i, was, now)
			}
			moved[now]++
		}
	}
	fits(t, "moved", moved, []float64{.5, 0, .5, 0})
}

// Two options of one place that are alike in name have their shares all the same.
func TestStableNamesakes(t *testing.T) {
	options := []option{weighted(1, "192.0.2.1"), weighted(1, "192.0.2.2"), weighted(2, "192.0.2.3")}
	for i := range options {
		options[i].Name = "same"
	}
	set := optional(t, dns.TypeA, options...)
	set.Select.Kind = Sticky
	crowd, counts := newCrowd(t, with(t, compileText(t, apex), "www.example.org.", set)), map[string]float64{}
	for i := range 8000 {
		got, _ := crowd.ask(subnet(i), "www.example.org.", dns.TypeA)
		counts[got[0]]++
	}
	fits(t, "namesakes", []float64{counts["192.0.2.1"], counts["192.0.2.2"], counts["192.0.2.3"]}, []float64{.25, .25, .5})
}

// chain is Kuadrant's: listener, geo, weights, addresses.
func chained(t testing.TB, stable bool) *Zone {
	geo := optional(t, dns.TypeCNAME, local("IE", 0, "ie.klb.shop.example.org."), local("AU", 0, "aus.klb.shop.example.org."), local("*", 0, "ie.klb.shop.example.org."))
	weights := func(a, b string) RRset {
		set := optional(t, dns.TypeCNAME, weighted(100, a), weighted(300, b))
		if stable {
			set.Select.Kind = Sticky
		}
		return set
	}
	z := with(t, compileText(t, apex+"shop.example.org. 300 IN CNAME klb.shop.example.org.\n"), "klb.shop.example.org.", geo)
	z = with(t, z, "ie.klb.shop.example.org.", weights("ab1.klb.shop.example.org.", "aws.lb.example.com."))
	z = with(t, z, "aus.klb.shop.example.org.", weights("ab2.klb.shop.example.org.", "ab3.klb.shop.example.org."))
	for i, name := range []string{"ab1", "ab2", "ab3"} {
		z = with(t, z, name+".klb.shop.example.org.", RRset{Type: dns.TypeA, TTL: 60, Records: records(t, fmt.Sprintf(". 0 IN A 192.0.2.%d", i+1))})
	}
	return z
}

// TestChainOfChoices follows a chain of CNAMEs, each of them chosen, in one answer.
func TestChainOfChoices(t *testing.T) {
	crowd := newCrowd(t, chained(t, false))
	const rounds = 8000
	counts := map[string]float64{}
	for range rounds {
		for client, geo := range map[string]string{"2001:db8:1::1": "ie", "2001:db8:4::1": "ie", "2001:db8:3::1": "aus"} {
			got, scope := crowd.ask(client, "shop.example.org.", dns.TypeA)
			if len(got) < 3 || got[0] != "klb.shop.example.org." || got[1] != geo+".klb.shop.example.org." || scope == 0 {
				t.Fatalf("%s gets %v with scope %d", client, got, scope)
			}
			want := map[string][]string{
				"ab1.klb.shop.example.org.": {"192.0.2.1"}, "ab2.klb.shop.example.org.": {"192.0.2.2"}, "ab3.klb.shop.example.org.": {"192.0.2.3"}, "aws.lb.example.com.": nil,
			}[got[2]]
			if !slices.Equal(got[3:], want) {
				t.Fatalf("%s gets %v", client, got)
			}
			counts[got[2]]++
		}
	}
	fits(t, "IE", []float64{counts["ab1.klb.shop.example.org."], counts["aws.lb.example.com."]}, []float64{.25, .75})
	fits(t, "AU", []float64{counts["ab2.klb.shop.example.org."], counts["ab3.klb.shop.example.org."]}, []float64{.25, .75})
	if got, _ := crowd.ask("2001:db8:3::1", "klb.shop.example.org.", dns.TypeCNAME); !slices.Equal(got, []string{"aus.klb.shop.example.org."}) {
		t.Errorf("the CNAME itself: %v", got)
	}
	if got, _ := crowd.ask("2001:db8:3::1", "klb.shop.example.org.", dns.TypeANY); !slices.Equal(got, []string{"aus.klb.shop.example.org."}) {
		t.Errorf("ANY: %v", got)
	}
}

// TestDNAMEOfChoices: one that is met twice in an answer is the same both times.
func TestDNAMEOfChoices(t *testing.T) {
	z := compileText(t, apex+`x.a.example.org. 60 IN CNAME y.d.example.org.
x.b.example.org. 60 IN CNAME y.d.example.org.
y.a.example.org. 60 IN A 192.0.2.1
y.b.example.org. 60 IN A 192.0.2.2
`)
	z = with(t, z, "d.example.org.", optional(t, dns.TypeDNAME, weighted(1, "a.example.org."), weighted(3, "b.example.org.")))
	crowd := newCrowd(t, z)
	seen := map[string]float64{}
	for range 4000 {
		got, _ := crowd.ask("2001:db8:1::1", "x.d.example.org.", dns.TypeA)
		seen[fmt.Sprint(got)]++
	}
	a := "[a.example.org. x.a.example.org. y.d.example.org. y.a.example.org. 192.0.2.1]"
	b := "[b.example.org. x.b.example.org. y.d.example.org. y.b.example.org. 192.0.2.2]"
	if len(seen) != 2 {
		t.Fatalf("answers: %v", slices.Collect(maps.Keys(seen)))
	}
	fits(t, "DNAME", []float64{seen[a], seen[b]}, []float64{.25, .75})
}

// Additional addresses are of the option that was answered, and of one of their own.
func TestAdditionalOptions(t *testing.T) {
	z := with(t, compileText(t, apex), "_http._tcp.example.org.", optional(t, dns.TypeSRV, local("IE", 1, "0 0 80 a.example.org."), local("*", 1, "0 0 80 b.example.org.")))
	z = with(t, z, "a.example.org.", optional(t, dns.TypeA, local("IE", 1, "192.0.2.1"), local("*", 1, "192.0.2.2")))
	z = with(t, z, "b.example.org.", optional(t, dns.TypeA, local("IE", 1, "192.0.2.3"), local("*", 1, "192.0.2.4")))
	crowd := newCrowd(t, z)
	for client, want := range map[string]string{"192.0.2.7": "192.0.2.1", "2001:db8:3::1": "192.0.2.4"} {
		crowd.ask(client, "_http._tcp.example.org.", dns.TypeSRV)
		var m dns.Msg
		if err := m.Unpack(crowd.reply.Bytes()); err != nil {
			t.Fatal(err)
		}
		if len(m.Extra) != 1 || m.Extra[0].(*dns.A).A.String() != want {
			t.Errorf("%s gets %v, want %s", client, m.Extra, want)
		}
	}
}

// TestFlattened: plain DNS has the records of all options, and of a CNAME the heaviest for anybody.
func TestFlattened(t *testing.T) {
	z := with(t, chained(t, true), "www.example.org.", optional(t, dns.TypeA, local("IE", 1, "192.0.2.1", "192.0.2.2"), local("AU", 1, "192.0.2.2"), local("*", 0, "192.0.2.3")))
	z = with(t, z, "d.example.org.", optional(t, dns.TypeDNAME, weighted(3, "b.example.net."), weighted(3, "a.example.net."), weighted(1, "c.example.net.")))
	z = with(t, z, "e.example.org.", optional(t, dns.TypeCNAME, local("IE", 9, "ie.example.net."), local("", 9, "none.example.net."), local("*", 1, "default.example.net.")))
	z = with(t, z, "f.example.org.", optional(t, dns.TypeCNAME, local("IE", 8, "ie.example.net."), local("AU", 9, "au.example.net.")))
	var got []string
	for _, line := range flat(t, z) {
		if fields := strings.Fields(line); strings.HasSuffix(fields[0], ".shop.example.org.") || strings.HasPrefix(fields[0], "www.") || len(fields[0]) == len("d.example.org.") {
			got = append(got, strings.Join(fields, " "))
		}
	}
	want := []string{
		"ab1.klb.shop.example.org. 60 IN A 192.0.2.1",
		"ab2.klb.shop.example.org. 60 IN A 192.0.2.2",
		"ab3.klb.shop.example.org. 60 IN A 192.0.2.3",
		"aus.klb.shop.example.org. 60 IN CNAME ab3.klb.shop.example.org.",
		"d.example.org. 60 IN DNAME a.example.net.",
		"e.example.org. 60 IN CNAME default.example.net.",
		"f.example.org. 60 IN CNAME au.example.net.",
		"ie.klb.shop.example.org. 60 IN CNAME aws.lb.example.com.",
		"klb.shop.example.org. 60 IN CNAME ie.klb.shop.example.org.",
		"www.example.org. 60 IN A 192.0.2.1",
		"www.example.org. 60 IN A 192.0.2.2",
		"www.example.org. 60 IN A 192.0.2.3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// What differs is of the flat form, also where only weights changed.
	next := with(t, z, "d.example.org.", optional(t, dns.TypeDNAME, weighted(3, "b.example.net."), weighted(2, "a.example.net.")))
	removed, added := next.Diff(z)
	if len(removed) != 1 || len(added) != 1 || !strings.HasSuffix(text(t, removed[0]), "a.example.net.") || !strings.HasSuffix(text(t, added[0]), "b.example.net.") {
		t.Errorf("removed %v, added %v", removed, added)
	}
	same := with(t, z, "d.example.org.", optional(t, dns.TypeDNAME, weighted(4, "b.example.net."), weighted(4, "a.example.net.")))
	if removed, added := same.Diff(z); len(removed)+len(added) != 0 {
		t.Errorf("only weights: removed %v, added %v", removed, added)
	}
}

// TestOptionsAreGivenBack: what a zone says that it has is what makes it.
func TestOptionsAreGivenBack(t *testing.T) {
	set := optional(t, dns.TypeA, local("*", 2, "192.0.2.3", "192.0.2.4"), local("IE", 7, "192.0.2.1"), local("IE", 0, "192.0.2.2"), option{Group: Group{Location: "AU", Weight: 1}})
	set.MaxAnswers, set.Select = 1, Selection{Kind: Near, Bits4: 24, Bits6: 56, Least: 2}
	set.Weights, set.Locations = []uint32{1, 2, 3, 4}, []string{"a", "b", "c", "d"}
	z := with(t, compileText(t, apex), "www.example.org.", set)
	got, _ := z.RRsets("www.example.org.")
	if len(got) != 1 {
		t.Fatalf("%d sets", len(got))
	}
	want := []Group{{1, 7, "IE", "192.0.2.1"}, {1, 0, "IE", "192.0.2.2"}, {2, 2, "*", "192.0.2.3"}}
	if diff := cmp.Diff(want, got[0].Groups); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(got[0].Weights, []uint32{3, 4, 1, 2}) || !slices.Equal(got[0].Locations, []string{"c", "d", "a", "b"}) || got[0].Select != set.Select || got[0].MaxAnswers != 1 {
		t.Errorf("%+v", got[0])
	}
	again, _ := with(t, z, "www.example.org.", got...).RRsets("www.example.org.")
	if diff := cmp.Diff(got, again); diff != "" {
		t.Error(diff)
	}
	// Through what changes the node alone: a name below.
	below := with(t, z, "a.www.example.org.", RRset{Type: dns.TypeA, Records: records(t, ". 0 IN A 192.0.2.9")})
	if now, _ := below.RRsets("www.example.org."); !cmp.Equal(got, now) {
		t.Error(cmp.Diff(got, now))
	}
}

// TestOneOptionIsNone: a set of one option is as one without.
func TestOneOptionIsNone(t *testing.T) {
	z := compileText(t, apex)
	set := optional(t, dns.TypeA, option{Group: Group{Location: "AU"}}, local("IE", 7, "192.0.2.1", "192.0.2.2"))
	got := with(t, z, "www.example.org.", set).find("\x03www\x07example\x03org\x00")
	set.Groups = nil
	if want := with(t, z, "www.example.org.", set).find("\x03www\x07example\x03org\x00"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatIsWrongWithOptions(t *testing.T) {
	two := []option{weighted(1, "a.example.net."), weighted(1, "b.example.net.")}
	for _, c := range []struct {
		set   RRset
		owner string
		want  string
	}{
		{optional(t, dns.TypeCNAME, weighted(1, "a.example.net.", "b.example.net."), weighted(1, "c.example.net.")), "www", "more than one CNAME (RFC"},
		{optional(t, dns.TypeDNAME, weighted(1, "a.example.net.", "b.example.net."), weighted(1, "c.example.net.")), "www", "more than one DNAME (RFC"},
		{optional(t, dns.TypeCNAME, two...), "", "CNAME at the origin"},
		{optional(t, dns.TypeNS, two...), "www", "NS: no options to choose from"},
		{func() RRset { s := optional(t, dns.TypeCNAME, two...); s.Groups[1].Records = 2; return s }(), "www", "options of 3 records together, of 2"},
		{func() RRset { s := optional(t, dns.TypeCNAME, two...); s.Groups[1].Records = -1; return s }(), "www", "option 1 of -1 records"},
		{optional(t, dns.TypeCNAME, local(strings.Repeat("x", 256), 1, "a.example.net."), two[0]), "www", "has more than 255 octets"},
	} {
		owner := strings.TrimPrefix(c.owner+".example.org.", ".")
		if _, err := compileText(t, apex).With(Change{Owner: owner, RRsets: []RRset{c.set}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q is not in: %v", c.want, err)
		}
	}
}

func TestOptionsAllocateNothing(t *testing.T) {
	for _, stable := range []bool{false, true} {
		crowd := newCrowd(t, chained(t, stable))
		crowd.question.Client = netip.MustParseAddr("2001:db8:3::1").As16()
		msg := query(t, "shop.example.org.", dns.TypeA)
		if n := testing.AllocsPerRun(1000, func() {
			end, err := crowd.question.Parse(msg)
			if err != nil {
				t.Fatal(err)
			}
			crowd.reply.Start(crowd.buf, msg, end)
			crowd.zone.Answer(&crowd.question, &crowd.reply)
		}); n != 0 {
			t.Errorf("stable %t: %v allocations", stable, n)
		}
	}
}

func BenchmarkOptions(b *testing.B) {
	where, err := NewLocations(clients)
	if err != nil {
		b.Fatal(err)
	}
	countries := []option{local("*", 1, "192.0.2.255")}
	for i := range 200 {
		countries = append(countries, local(fmt.Sprintf("%c%c", 'A'+i/26, 'A'+i%26), 1, fmt.Sprintf("192.0.2.%d", i)))
	}
	stable := optional(b, dns.TypeA, weighted(1, "192.0.2.1"), weighted(2, "192.0.2.2"), weighted(3, "192.0.2.3"))
	stable.Select.Kind = Sticky
	for _, c := range []struct {
		name string
		set  RRset
	}{
		{"none", optional(b, dns.TypeA, weighted(1, "192.0.2.1"))},
		{"weights", optional(b, dns.TypeA, weighted(1, "192.0.2.1"), weighted(2, "192.0.2.2"), weighted(3, "192.0.2.3"))},
		{"stable", stable},
		{"places", optional(b, dns.TypeA, local("IE", 1, "192.0.2.1"), local("AU", 2, "192.0.2.2"), local("*", 3, "192.0.2.3"))},
		{"countries", optional(b, dns.TypeA, countries...)},
	} {
		z := with(b, compileText(b, apex), "www.example.org.", c.set)
		msg := query(b, "www.example.org.", dns.TypeA)
		b.Run(c.name, func(b *testing.B) {
			var q Question
			var r Reply
			q.Locations, q.Client = where, netip.MustParseAddr("2001:db8:3::1").As16()
			buf := make([]byte, 1232)
			b.ReportAllocs()
			for b.Loop() {
				end, err := q.Parse(msg)
				if err != nil {
					b.Fatal(err)
				}
				r.Start(buf, msg, end)
				z.Answer(&q, &r)
			}
		})
	}
}
