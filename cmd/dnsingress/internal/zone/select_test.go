// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"gonum.org/v1/gonum/stat/distuv"
)

// pond is a set of addresses 2001:db8::1, ::2, … and who asks for it, with random numbers from a fixed seed.
type pond struct {
	t        testing.TB
	zone     *Zone
	query    []byte
	question Question
	reply    Reply
	rng      *rand.Rand
	buf      []byte
}

func newPond(t testing.TB, members int, set RRset) *pond {
	t.Helper()
	for i := range members {
		set.Records = append(set.Records, &dns.AAAA{
			Hdr:  dns.RR_Header{Rrtype: dns.TypeAAAA, Class: dns.ClassINET},
			AAAA: netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)).AsSlice(),
		})
	}
	return newPondOf(t, set)
}

func newPondOf(t testing.TB, set RRset) *pond {
	t.Helper()
	set.Type, set.TTL = dns.TypeAAAA, 5
	z, err := compileText(t, apex).With(Change{Owner: "pool.example.org.", RRsets: []RRset{set}})
	if err != nil {
		t.Fatal(err)
	}
	p := &pond{t: t, zone: z, query: query(t, "pool.example.org.", dns.TypeAAAA), rng: rand.New(rand.NewPCG(1, 2)), buf: make([]byte, maxMessage)}
	p.from("2001:db8:ffff::1")
	return p
}

// from sets who asks.
func (p *pond) from(addr string) { p.question.Client = netip.MustParseAddr(addr).As16() }

// ask returns the members of one answer, from 0, in its order. The slice is the caller's.
func (p *pond) ask() []int {
	end, err := p.question.Parse(p.query)
	if err != nil {
		p.t.Fatal(err)
	}
	p.reply.seeded, p.reply.seed = true, p.rng.Uint64()
	p.reply.Start(p.buf, p.query, end)
	p.zone.Answer(&p.question, &p.reply)
	msg := p.reply.Bytes()[end:]
	var out []int
	for ; len(msg) > 0; msg = msg[28:] {
		out = append(out, int(msg[26])<<8+int(msg[27])-1)
	}
	if want := int(p.reply.counts[answer]); len(out) != want || p.reply.Truncated {
		p.t.Fatalf("%d records, %d counted", len(out), want)
	}
	return out
}

// many returns how often each member is in an answer and each comes first, and how often each subset is given.
func (p *pond) many(rounds, members, want int) (in, first []float64, subsets map[string]float64) {
	p.t.Helper()
	in, first, subsets = make([]float64, members), make([]float64, members), map[string]float64{}
	for range rounds {
		got := p.ask()
		if len(got) != want {
			p.t.Fatalf("%d answers, not %d: %v", len(got), want, got)
		}
		first[got[0]]++
		slices.Sort(got)
		if len(slices.Compact(slices.Clone(got))) != want {
			p.t.Fatalf("twice in one answer: %v", got)
		}
		for _, m := range got {
			in[m]++
		}
		subsets[fmt.Sprint(got)]++
	}
	return in, first, subsets
}

// fits does Pearson's test of counts of a categorical variable.
func fits(t testing.TB, what string, counts, probabilities []float64) {
	t.Helper()
	total, sum, freedom := 0.0, 0.0, -1.0
	for _, c := range counts {
		total += c
	}
	for i, c := range counts {
		e := total * probabilities[i]
		if e == 0 {
			if c > 0 {
				t.Errorf("%s: %v times what should never be", what, c)
			}
			continue
		}
		sum += (c - e) * (c - e) / e
		freedom++
	}
	if freedom <= 0 {
		return
	}
	if p := (distuv.ChiSquared{K: freedom}).Survival(sum); p < 1e-4 {
		t.Errorf("%s: p = %.2g: counts %v against %v", what, p, counts, probabilities)
	}
}

// included tests how often members are in answers against a probability each, by five standard deviations.
func included(t testing.TB, what string, rounds int, counts, probabilities []float64) {
	t.Helper()
	for i, p := range probabilities {
		n := float64(rounds)
		if d, limit := counts[i]-n*p, 5*math.Sqrt(n*p*(1-p)); math.Abs(d) > limit+1e-6 {
			t.Errorf("%s: member %d in %v of %v answers, expected %.1f ± %.1f", what, i, counts[i], n, n*p, limit)
		}
	}
}

func even(n int) []float64 { return slices.Repeat([]float64{1 / float64(n)}, n) }

func times(f float64, v []float64) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = f * v[i]
	}
	return out
}

// TestRandom: every subset is as likely as any other, and every member of it in front.
func TestRandom(t *testing.T) {
	for _, c := range []struct{ members, most, subsets int }{{10, 3, 120}, {5, 1, 5}, {5, 4, 5}} {
		_, first, subsets := newPond(t, c.members, RRset{MaxAnswers: c.most, Select: Selection{Kind: Random}}).many(24_000, c.members, c.most)
		fits(t, "first", first, even(c.members))
		var counts []float64
		for _, n := range subsets {
			counts = append(counts, n)
		}
		if len(counts) != c.subsets {
			t.Fatalf("%v: %d subsets, not %d", c, len(counts), c.subsets)
		}
		fits(t, "subsets", counts, even(c.subsets))
	}
}

// TestWeighted: inclusion is exactly proportional to weight, up to certainty, and all pairs that can be are.
func TestWeighted(t *testing.T) {
	const rounds = 30_000
	for _, c := range []struct {
		weights       []uint32
		most          int
		probabilities []float64
	}{
		{[]uint32{1, 2, 3, 4}, 1, []float64{.1, .2, .3, .4}},
		{[]uint32{1, 2, 3, 4}, 2, []float64{.2, .4, .6, .8}},
		{[]uint32{0, 2, 3, 5}, 1, []float64{0, .2, .3, .5}},
		{[]uint32{100, 10, 10, 20}, 2, []float64{1, .25, .25, .5}},           // the first is certain
		{[]uint32{1000, 100, 1, 1, 2}, 3, []float64{1, 1, .25, .25, .5}},     // and the second is of the rest
		{[]uint32{4, 4, 1, 1, 1, 1}, 3, []float64{1, 1, .25, .25, .25, .25}}, // two of exactly one
		{[]uint32{math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32}, 3, []float64{.75, .75, .75, .75}},
		{nil, 2, []float64{.4, .4, .4, .4, .4}},
		{[]uint32{0, 0, 0, 0}, 2, []float64{.5, .5, .5, .5}}, // nobody is worse than the others
	} {
		members := len(c.probabilities)
		p := newPond(t, members, RRset{MaxAnswers: c.most, Select: Selection{Kind: Weighted}, Weights: c.weights})
		in, first, subsets := p.many(rounds, members, c.most)
		what := fmt.Sprint(c.weights, c.most)
		included(t, what, rounds, in, c.probabilities)
		fits(t, what+" in front", first, times(1/float64(c.most), c.probabilities))
		if c.most == 2 && c.weights == nil && len(subsets) != 10 {
			t.Errorf("%d of 10 pairs", len(subsets))
		}
	}
	// Fewer have a weight than an answer has room for.
	if got := newPond(t, 4, RRset{MaxAnswers: 3, Select: Selection{Kind: Weighted}, Weights: []uint32{0, 7, 0, 1}}).ask(); !slices.Equal(slices.Sorted(slices.Values(got)), []int{1, 3}) {
		t.Errorf("members with a weight are 1 and 3: %v", got)
	}
}

// TestTwoChoices: with one answer, the member of rank r among n is taken with a probability of 2(n-r)/(n(n-1)).
func TestTwoChoices(t *testing.T) {
	p := newPond(t, 5, RRset{MaxAnswers: 1, Select: Selection{Kind: TwoChoices}, Weights: []uint32{50, 10, 40, 20, 30}})
	in, _, _ := p.many(30_000, 5, 1)
	fits(t, "by rank", in, []float64{.4, 0, .3, .1, .2})
	p = newPond(t, 5, RRset{MaxAnswers: 2, Select: Selection{Kind: TwoChoices}})
	in, _, _ = p.many(30_000, 5, 2)
	included(t, "equals", 30_000, in, times(2, even(5)))
	// Of two answers from three the lightest never wins: it meets a heavier one in every pair.
	p = newPond(t, 3, RRset{MaxAnswers: 2, Select: Selection{Kind: TwoChoices}, Weights: []uint32{3, 2, 1}})
	_, _, subsets := p.many(30_000, 3, 2)
	fits(t, "pairs", []float64{subsets["[0 1]"], subsets["[0 2]"], subsets["[1 2]"]}, []float64{1, 0, 0})
}

// TestRotate: answers go round.
func TestRotate(t *testing.T) {
	p := newPond(t, 5, RRset{MaxAnswers: 2, Select: Selection{Kind: Rotate}})
	before := p.ask()
	for range 20 {
		got := p.ask()
		if got[0] != (before[1]+1)%5 || got[1] != (got[0]+1)%5 {
			t.Fatalf("%v after %v", got, before)
		}
		before = got
	}
}

// TestAll: the whole set whatever the maximum is, and everyone in front as often.
func TestAll(t *testing.T) {
	_, first, _ := newPond(t, 6, RRset{MaxAnswers: 2, Select: Selection{Kind: All}, Weights: []uint32{1, 2, 3, 4, 5, 0}}).many(6000, 6, 6)
	fits(t, "first", first, even(6))
}

// TestWindowFirst: the same for the kind that needs no plan.
func TestWindowFirst(t *testing.T) {
	_, first, _ := newPond(t, 6, RRset{MaxAnswers: 2}).many(6000, 6, 2)
	fits(t, "first", first, even(6))
}

// subnet returns an address in the /56 with the given number.
func subnet(n int) string { return fmt.Sprintf("2001:db8:%x:%x00::7", n>>8, n&0xFF) }

// answers asks for each of many client subnets and returns what each gets.
func (p *pond) answers(clients int) [][]int {
	out := make([][]int, clients)
	for i := range out {
		p.from(subnet(i))
		out[i] = p.ask()
	}
	return out
}

func TestStickyShares(t *testing.T) {
	const clients = 20_000
	for _, c := range []struct {
		weights       []uint32
		most          int
		probabilities []float64
	}{
		{nil, 1, even(7)},
		{nil, 3, times(3, even(7))},
		{[]uint32{1, 2, 3, 4}, 1, []float64{.1, .2, .3, .4}},
		{[]uint32{1, 1000, 0, 1000}, 1, []float64{1. / 2001, 1000. / 2001, 0, 1000. / 2001}},
	} {
		n := len(c.probabilities)
		p := newPond(t, n, RRset{MaxAnswers: c.most, Select: Selection{Kind: Sticky}, Weights: c.weights})
		counts := make([]float64, n)
		for i, got := range p.answers(clients) {
			p.from(subnet(i))
			if again := p.ask(); !slices.Equal(got, again) {
				t.Fatalf("client %d: %v, then %v", i, got, again)
			}
			for _, m := range got {
				counts[m]++
			}
		}
		if p.reply.Scope != 56 {
			t.Errorf("scope %d", p.reply.Scope)
		}
		included(t, fmt.Sprint("sticky ", c.weights, c.most), clients, counts, c.probabilities)
	}
}

// TestStickyMovesFew: a member that goes, or gets lighter, moves only its own clients; they spread over the rest.
func TestStickyMovesFew(t *testing.T) {
	const clients = 5000
	set := RRset{MaxAnswers: 1, Select: Selection{Kind: Sticky}}
	weights := []uint32{10, 10, 20, 10, 10}
	set.Weights = weights
	before := newPond(t, 5, set).answers(clients)
	for name, w := range map[string][]uint32{"goes": {10, 10, 0, 10, 10}, "is halved": {10, 10, 10, 10, 10}} {
		set.Weights = w
		moved := make([]float64, 5)
		for i, after := range newPond(t, 5, set).answers(clients) {
			if before[i][0] != after[0] {
				if before[i][0] != 2 {
					t.Fatalf("%s: client %d moved from %d to %d", name, i, before[i][0], after[0])
				}
				moved[after[0]]++
			}
		}
		fits(t, name, moved, []float64{.25, .25, 0, .25, .25})
	}
}

// TestStickyIsTheSameEverywhere has the answers of the day it was written: replicas of different versions and
// processors must agree, in whatever order they got the members.
func TestStickyIsTheSameEverywhere(t *testing.T) {
	sticky := RRset{MaxAnswers: 3, Select: Selection{Kind: Sticky}, Weights: []uint32{1, 2, 3, 4, 5, 6, 7, 8}}
	subsetting := RRset{MaxAnswers: 3, Select: Selection{Kind: Subsetting}}
	clients := []string{"2001:db8::1", "2001:db8:0:100::1", "fd00:1:2:3::4", "192.0.2.1", "192.0.3.1", "::"}
	for _, c := range []struct {
		set  RRset
		want string
	}{
		{sticky, "[7 2 3] [5 3 2] [5 7 1] [1 6 4] [5 6 7] [7 6 5]"},
		{subsetting, "[3 1 2] [4 0 5] [5 0 7] [3 4 0] [5 2 7] [5 0 7]"},
	} {
		for _, order := range [][]int{{0, 1, 2, 3, 4, 5, 6, 7}, {7, 3, 1, 5, 0, 2, 6, 4}} {
			set := c.set
			set.Weights = nil
			for _, i := range order {
				if c.set.Weights != nil {
					set.Weights = append(set.Weights, c.set.Weights[i])
				}
				set.Records = append(set.Records, records(t, fmt.Sprintf(". 0 IN AAAA 2001:db8::%x", i+1))...)
			}
			p := newPondOf(t, set)
			var got []string
			for _, client := range clients {
				p.from(client)
				got = append(got, fmt.Sprint(p.ask()))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%v from %v:\n got %s\nwant %s", c.set.Select.Kind, order, s, c.want)
			}
		}
	}
}

// TestClientSubnets: who is one client, and what scope the answer has.
func TestClientSubnets(t *testing.T) {
	for _, c := range []struct {
		selection Selection
		same      [2]string
		other     string
		scope     int
	}{
		{Selection{Kind: Sticky}, [2]string{"2001:db8:1:200::1", "2001:db8:1:2ff:ffff::"}, "2001:db8:1:300::", 56},
		{Selection{Kind: Sticky, Bits6: 48}, [2]string{"2001:db8:1::", "2001:db8:1:ffff::"}, "2001:db8:2::", 48},
		{Selection{Kind: Sticky, Bits6: 128}, [2]string{"2001:db8::1", "2001:db8::1"}, "2001:db8::2", 128},
		{Selection{Kind: Sticky}, [2]string{"192.0.2.1", "192.0.2.255"}, "192.0.3.1", 96 + 24},
		{Selection{Kind: Subsetting, Bits4: 32}, [2]string{"192.0.2.1", "192.0.2.1"}, "192.0.2.2", 96 + 32},
		{Selection{Kind: Subsetting}, [2]string{"2001:db8:1:200::1", "2001:db8:1:2ff:ffff::"}, "2001:db8:1:300::", 56},
	} {
		p := newPond(t, 1000, RRset{MaxAnswers: 1, Select: c.selection})
		ask := func(client string) int { p.from(client); return p.ask()[0] }
		if a, b := ask(c.same[0]), ask(c.same[1]); a != b {
			t.Errorf("%v: %s gets %d, %s gets %d", c.selection, c.same[0], a, c.same[1], b)
		}
		if a, b := ask(c.same[0]), ask(c.other); a == b {
			t.Errorf("%v: %s and %s both get %d", c.selection, c.same[0], c.other, a)
		}
		if p.reply.Scope != c.scope {
			t.Errorf("%v: scope %d, not %d", c.selection, p.reply.Scope, c.scope)
		}
	}
	// What is the same for all has no scope.
	for k := range kinds {
		most := 2
		if k == Near {
			most = 1
		}
		for _, members := range []int{1, 2, 3} {
			p := newPond(t, members, RRset{MaxAnswers: most, Select: Selection{Kind: k}})
			depends := (k == Sticky || k == Subsetting) && members > most
			if p.ask(); depends != (p.reply.Scope > 0) {
				t.Errorf("%v of %d from %d: scope %d", k, most, members, p.reply.Scope)
			}
		}
	}
}

// TestSubsetting: subsets of one round are disjoint, and clients whose numbers follow one another fill every
// member evenly, to one client a round.
func TestSubsetting(t *testing.T) {
	const members, most, rounds = 12, 4, 500
	p := newPond(t, members, RRset{MaxAnswers: most, Select: Selection{Kind: Subsetting}})
	counts := make([]float64, members)
	together := map[string]bool{}
	const begin = 0x20010DB8000000 % (members / most) // the place of the first client in its round
	for i, got := range p.answers(members / most * rounds)[(members/most-begin)%(members/most):] {
		for _, m := range got {
			counts[m]++
			if want := float64(i/(members/most) + 1); counts[m] > want {
				t.Fatalf("member %d is in %v subsets of %v rounds", m, counts[m], want)
			}
		}
		slices.Sort(got)
		together[fmt.Sprint(got)] = true
	}
	if len(together) < 400 { // of 495
		t.Errorf("rounds do not shuffle: %d different subsets", len(together))
	}
	// Members that do not fill a subset take turns in being left out.
	p = newPond(t, 10, RRset{MaxAnswers: 4, Select: Selection{Kind: Subsetting}})
	counts = make([]float64, 10)
	for _, got := range p.answers(10_000) {
		for _, m := range got {
			counts[m]++
		}
	}
	included(t, "ten by four", 10_000, counts, times(4, even(10)))
}

func TestNear(t *testing.T) {
	where, err := NewLocations(map[netip.Prefix]string{
		netip.MustParsePrefix("2001:db8:1::/48"):     "a",
		netip.MustParsePrefix("2001:db8:1:1::/64"):   "a/1",
		netip.MustParsePrefix("2001:db8:2::/48"):     "b",
		netip.MustParsePrefix("2001:db8:3::/48"):     "c",
		netip.MustParsePrefix("192.0.2.0/25"):        "b",
		netip.MustParsePrefix("2001:db8:5::/48"):     "ab",
		netip.MustParsePrefix("2001:db8:6:600::/56"): "",
	})
	if err != nil {
		t.Fatal(err)
	}
	locations := []string{"a/1", "a/1", "a/2", "b/1", "b/2", "", "b/1"}
	third := 1. / 3
	for _, c := range []struct {
		client        string
		most, least   int
		want          int
		scope         int
		probabilities []float64
	}{
		{"2001:db8:1:1::9", 0, 0, 2, 64, []float64{1, 1, 0, 0, 0, 0, 0}},         // node
		{"2001:db8:1:1::9", 1, 0, 1, 64, []float64{.5, .5, 0, 0, 0, 0, 0}},       // at most one
		{"2001:db8:1:1::9", 0, 3, 3, 64, []float64{1, 1, 1, 0, 0, 0, 0}},         // spills to the zone
		{"2001:db8:1:1::9", 0, 4, 4, 64, []float64{1, 1, 1, .25, .25, .25, .25}}, // and beyond
		{"2001:db8:1:2::9", 0, 0, 3, 63, []float64{1, 1, 1, 0, 0, 0, 0}},         // zone
		{"2001:db8:2::9", 2, 0, 2, 48, []float64{0, 0, 0, 2 * third, 2 * third, 0, 2 * third}},
		{"192.0.2.1", 2, 0, 2, 96 + 25, []float64{0, 0, 0, 2 * third, 2 * third, 0, 2 * third}},
		{"2001:db8:3::9", 0, 0, 7, 48, []float64{1, 1, 1, 1, 1, 1, 1}}, // none there
		{"2001:db8:5::9", 1, 0, 1, 48, even(7)},                        // "ab" is not in "a"
		{"2001:db8:8::9", 1, 0, 1, 45, even(7)},                        // nowhere
	} {
		p := newPond(t, len(locations), RRset{MaxAnswers: c.most, Select: Selection{Kind: Near, Least: c.least}, Locations: locations})
		p.question.Locations = where
		p.from(c.client)
		in, _, _ := p.many(5000, len(locations), c.want)
		included(t, fmt.Sprint(c), 5000, in, c.probabilities)
		if p.reply.Scope != c.scope {
			t.Errorf("%s: scope %d, not %d", c.client, p.reply.Scope, c.scope)
		}
	}
	// By weight among the equally near; none of weight 0.
	p := newPond(t, 7, RRset{MaxAnswers: 1, Select: Selection{Kind: Near}, Locations: locations, Weights: []uint32{9, 9, 9, 1, 3, 9, 0}})
	p.question.Locations = where
	p.from("192.0.2.1")
	in, _, _ := p.many(20_000, 7, 1)
	fits(t, "near by weight", in, []float64{0, 0, 0, .25, .75, 0, 0})
	// Without locations, or a table, it is a weighted choice.
	p = newPond(t, 3, RRset{MaxAnswers: 1, Select: Selection{Kind: Near}, Weights: []uint32{1, 1, 2}})
	in, _, _ = p.many(20_000, 3, 1)
	fits(t, "near nothing", in, []float64{.25, .25, .5})
	if p.reply.Scope != 0 {
		t.Errorf("scope %d without a table", p.reply.Scope)
	}
}

// TestOrderDoesNotSteer: a client that sorts by RFC 6724 §6 rule 9 connects to one member however a full answer is
// ordered, and to all of them alike if answers are subsets.
func TestOrderDoesNotSteer(t *testing.T) {
	client := netip.MustParseAddr("2001:db8::3:1").As16()
	me := newAddress(&client)
	connects := func(set RRset) []float64 {
		p := newPond(t, 8, set)
		counts := make([]float64, 8)
		for range 8000 {
			best, length := -1, -1
			for _, m := range p.ask() {
				a := netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", m+1)).As16()
				if l := me.shared(newAddress(&a)); l > length || l == length && m < best {
					best, length = m, l
				}
			}
			counts[best]++
		}
		return counts
	}
	for _, set := range []RRset{{}, {Select: Selection{Kind: All}}, {Select: Selection{Kind: Rotate}}} {
		if got := slices.Max(connects(set)); got != 8000 {
			t.Errorf("%v: order alone moved a client that sorts: %v", set.Select.Kind, got)
		}
	}
	fits(t, "subsets of one", connects(RRset{MaxAnswers: 1, Select: Selection{Kind: Random}}), even(8))
}

// TestSelectionOfOtherRecords: records of different sizes and names to be compressed.
func TestSelectionOfOtherRecords(t *testing.T) {
	for _, text := range []string{"TXT %q", "MX 10 %s.mail.example.org.", "NS %s.example.org."} {
		set := RRset{TTL: 5, MaxAnswers: 3}
		var weights []uint32
		for i := range 9 {
			set.Records = append(set.Records, records(t, ". 0 IN "+fmt.Sprintf(text, strings.Repeat("x", i+1)))...)
			weights = append(weights, uint32(i+1))
		}
		set.Type, set.Weights = set.Records[0].Header().Rrtype, weights
		for k := range kinds {
			set.Select.Kind = k
			z, err := compileText(t, apex).With(Change{Owner: "pool.example.org.", RRsets: []RRset{set}})
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				m := ask(t, z, "pool.example.org.", set.Type)
				got := m.Answer
				if set.Type == dns.TypeNS {
					got = m.Ns // a referral
				}
				seen := map[string]bool{}
				for _, rr := range got {
					seen[rr.String()] = true
				}
				if want := 3; len(seen) != want && (k != All || len(seen) != 9) {
					t.Fatalf("%v: %v", k, m)
				}
			}
		}
	}
}

// TestSelectionSurvives: changes elsewhere, at the name and at the origin keep what a set is chosen by; All gives it
// back, and Records gives every member.
func TestSelectionSurvives(t *testing.T) {
	set := RRset{
		MaxAnswers: 2, Select: Selection{Kind: Near, Bits4: 20, Bits6: 40, Least: 3},
		Weights: []uint32{5, 0, 7}, Locations: []string{"b", "a", ""},
	}
	z := newPond(t, 3, set).zone
	aaaa := z
	for _, c := range []Change{
		{Owner: "other.example.org."},
		{Owner: "x.pool.example.org."}, // gives the name a child
		{Owner: "y.pool.example.org."},
		{Owner: "example.org."},
	} {
		var err error
		if z, err = z.With(c); err != nil {
			t.Fatal(err)
		}
	}
	for _, z := range []*Zone{aaaa, z} {
		for owner, sets := range z.All() {
			if owner != "pool.example.org." {
				continue
			}
			s := sets[0]
			if s.Select != set.Select || s.MaxAnswers != 2 || !slices.Equal(s.Weights, set.Weights) || !slices.Equal(s.Locations, set.Locations) {
				t.Errorf("became %+v", s)
			}
			again, err := z.With(Change{Owner: owner, RRsets: sets})
			if err != nil {
				t.Fatal(err)
			}
			if string(again.find("\x04pool\x07example\x03org\x00")) != string(z.find("\x04pool\x07example\x03org\x00")) {
				t.Error("what All gave made another node")
			}
		}
		members := 0
		for r := range z.Records() {
			if r.Owner == "\x04pool\x07example\x03org\x00" && r.Type() == dns.TypeAAAA {
				members++
			}
		}
		if members != 3 {
			t.Errorf("%d of 3 records are transferred", members)
		}
	}
}

// TestSelectionDuplicates: the first of equal records says what its weight is.
func TestSelectionDuplicates(t *testing.T) {
	set := RRset{MaxAnswers: 1, Select: Selection{Kind: Weighted}, Weights: []uint32{1, 9, 3}}
	for _, a := range []string{"2001:db8::1", "2001:db8::1", "2001:db8::2"} {
		set.Records = append(set.Records, records(t, ". 0 IN AAAA "+a)...)
	}
	in, _, _ := newPondOf(t, set).many(10_000, 2, 1)
	fits(t, "duplicates", in, []float64{.25, .75})
}

func TestSelectionRefused(t *testing.T) {
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprint("rack-", i)
	}
	for _, c := range []struct {
		set  RRset
		want string
	}{
		{RRset{Select: Selection{Kind: kinds}}, "AAAA: selection kind 9 is unknown"},
		{RRset{Select: Selection{Kind: Sticky, Bits4: 33}}, "AAAA: selection by 33 bits of an IPv4 address (hint: 1 to 32)"},
		{RRset{Select: Selection{Kind: Sticky, Bits6: -1}}, "AAAA: selection by -1 bits of an IPv6 address (hint: 1 to 128)"},
		{RRset{Select: Selection{Kind: Near, Least: -1}}, "AAAA: selection of at least -1 records"},
		{RRset{Weights: []uint32{1}}, "AAAA: 1 weights for 300 records"},
		{RRset{Locations: []string{"a"}}, "AAAA: 1 locations for 300 records"},
		{RRset{Select: Selection{Kind: Near}, Locations: many}, "AAAA: 300 different locations exceed 255"},
		{RRset{Select: Selection{Kind: Near}, Locations: append(make([]string, 299), strings.Repeat("x", 256))}, "has more than 255 octets"},
	} {
		for i := range 300 {
			c.set.Records = append(c.set.Records, records(t, fmt.Sprintf(". 0 IN AAAA 2001:db8::%x", i+1))...)
		}
		c.set.Type = dns.TypeAAAA
		if _, err := compileText(t, apex).With(Change{Owner: "pool.example.org.", RRsets: []RRset{c.set}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q is not in: %v", c.want, err)
		}
	}
}

func TestKindNames(t *testing.T) {
	for k := range kinds {
		if got, err := ParseKind(k.String()); got != k || err != nil {
			t.Errorf("%v: %v, %v", k, got, err)
		}
	}
	if _, err := ParseKind("best"); err == nil || !strings.Contains(err.Error(), "one of window, all,") {
		t.Error(err)
	}
}

// TestSelectionAllocatesNothing, of whatever kind.
func TestSelectionAllocatesNothing(t *testing.T) {
	where, err := NewLocations(map[netip.Prefix]string{netip.MustParsePrefix("2001:db8::/32"): "a"})
	if err != nil {
		t.Fatal(err)
	}
	for k := range kinds {
		p := selecting(t, k, where)
		end, err := p.question.Parse(p.query)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() {
			p.reply.Start(p.buf, p.query, end)
			p.zone.Answer(&p.question, &p.reply)
		}); n != 0 {
			t.Errorf("%v: %v allocations", k, n)
		}
	}
}

// selecting has two of ten members chosen by a kind.
func selecting(t testing.TB, k Kind, where *Locations) *pond {
	set := RRset{MaxAnswers: 2, Select: Selection{Kind: k}, Weights: []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}
	for i := range 10 {
		set.Locations = append(set.Locations, string(rune('a'+i%3)))
	}
	p := newPond(t, 10, set)
	p.question.Locations = where
	return p
}

func BenchmarkSelection(b *testing.B) {
	where, err := NewLocations(map[netip.Prefix]string{netip.MustParsePrefix("2001:db8::/32"): "a"})
	if err != nil {
		b.Fatal(err)
	}
	for k := range kinds {
		b.Run(k.String(), func(b *testing.B) {
			p := selecting(b, k, where)
			end, err := p.question.Parse(p.query)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p.reply.Start(p.buf, p.query, end)
				p.zone.Answer(&p.question, &p.reply)
			}
		})
	}
}

func TestMinusLog2(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 200_000 {
		u := rng.Uint64() >> (i % 64)
		if i == 0 {
			u = math.MaxUint64
		}
		want := -math.Log2(float64(u|1) / (1 << 64))
		got := float64(minusLog2(u)) / (1 << 32)
		if math.Abs(got-want) > 1e-4*want+2e-9 {
			t.Fatalf("-log2(%d/2^64) is %g, not %g", u, want, got)
		}
	}
}
