// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

func TestCollapse(t *testing.T) {
	for _, c := range []struct{ name, sets, want string }{
		{"weights on two floors multiply", `
www.test. 300 CNAME klb.www.test.
klb.www.test. 300 CNAME x.klb.www.test. weight=1 set=x
klb.www.test. 300 CNAME y.klb.www.test. weight=1 set=y
x.klb.www.test. 60 CNAME a.klb.www.test. weight=100 set=a
x.klb.www.test. 60 CNAME b.klb.www.test. weight=200 set=b
y.klb.www.test. 60 CNAME c.klb.www.test. weight=7 set=c
a.klb.www.test. 60 A 192.0.2.1
b.klb.www.test. 30 A 192.0.2.2
c.klb.www.test. 60 A 192.0.2.3`, `
www.test. 30 A 192.0.2.1 weight=50 set=a.klb.www.test
www.test. 30 A 192.0.2.2 weight=100 set=b.klb.www.test
www.test. 30 A 192.0.2.3 weight=150 set=c.klb.www.test`},
		{"a country within a continent", `
www.test. 300 CNAME klb.www.test.
klb.www.test. 300 CNAME eu.klb.www.test. geo=GEO-EU set=eu
klb.www.test. 300 CNAME us.klb.www.test. geo=* set=default
eu.klb.www.test. 60 CNAME ie.klb.www.test. geo=IE set=ie
eu.klb.www.test. 60 CNAME de.klb.www.test. geo=* set=rest
us.klb.www.test. 60 A 192.0.2.1
ie.klb.www.test. 60 A 192.0.2.2
de.klb.www.test. 60 A 192.0.2.3`, `
www.test. 60 A 192.0.2.1 geo=* set=us.klb.www.test
www.test. 60 A 192.0.2.3 geo=GEO-EU set=de.klb.www.test
www.test. 60 A 192.0.2.2 geo=IE set=ie.klb.www.test`},
		{"no default: whoever is of no place gets any", `
www.test. 300 CNAME klb.www.test.
klb.www.test. 300 CNAME ie.klb.www.test. geo=IE set=ie
klb.www.test. 300 CNAME us.klb.www.test. geo=US set=us
ie.klb.www.test. 60 A 192.0.2.1
us.klb.www.test. 60 A 192.0.2.2`, `
www.test. 60 A 192.0.2.1 geo=IE set=ie.klb.www.test
www.test. 60 A 192.0.2.2 geo=US set=us.klb.www.test`},
		{"places that nobody is at together", `
www.test. 300 CNAME klb.www.test.
klb.www.test. 300 CNAME ie.klb.www.test. geo=IE set=ie
ie.klb.www.test. 60 CNAME us.klb.www.test. geo=US set=us
us.klb.www.test. 60 A 192.0.2.2`, `
www.test. 60 A 192.0.2.2`},
		{"only what has addresses of the type counts", `
www.test. 300 CNAME klb.www.test.
klb.www.test. 300 CNAME a.klb.www.test. weight=1 set=a
klb.www.test. 300 CNAME b.klb.www.test. weight=3 set=b
klb.www.test. 300 CNAME gone.klb.www.test. weight=3 set=c
a.klb.www.test. 60 A 192.0.2.1
b.klb.www.test. 60 A 192.0.2.2
b.klb.www.test. 60 AAAA 2001:db8::2`, `
www.test. 60 A 192.0.2.1 weight=1 set=a.klb.www.test
www.test. 60 A 192.0.2.2 weight=3 set=b.klb.www.test
www.test. 60 AAAA 2001:db8::2`},
		{"a weight of 0 gets nobody, unless all have it", `
www.test. 300 CNAME klb.www.test.
klb.www.test. 300 CNAME a.klb.www.test. weight=0 set=a
klb.www.test. 300 CNAME b.klb.www.test. weight=3 set=b
all.test. 300 CNAME lb-0.all.test.
lb-0.all.test. 300 CNAME a.klb.www.test. weight=0 set=a
lb-0.all.test. 300 CNAME b.klb.www.test. weight=0 set=b
a.klb.www.test. 60 A 192.0.2.1
b.klb.www.test. 60 A 192.0.2.2`, `
www.test. 60 A 192.0.2.2
all.test. 60 A 192.0.2.1 weight=1 set=a.klb.www.test
all.test. 60 A 192.0.2.2 weight=1 set=b.klb.www.test`},
		{"other records stay", `
www.test. 300 CNAME klb.www.test.
klb.www.test. 60 A 192.0.2.1
klb.www.test. 60 TXT seen
mail.test. 60 MX 10_www.test.`, `
www.test. 60 A 192.0.2.1
klb.www.test. 60 TXT seen
mail.test. 60 MX 10_www.test.`},
		{"by way of a wildcard", `
www.test. 300 CNAME x.klb.test.
*.klb.test. 60 A 192.0.2.1`, `
www.test. 60 A 192.0.2.1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Collapse(parse(t, c.sets), "test.")
			tab := table{}
			for _, s := range got {
				for _, r := range s.Records {
					tab.add(s, r)
				}
			}
			compare(t, tab.sorted(), c.want)
		})
	}
	if got := Dangling(parse(t, "www.test. 1 CNAME gone.test.\nb.test. 1 CNAME lb.example."), "test."); !cmp.Equal(got, map[string]string{"gone.test.": "www.test."}) {
		t.Errorf("dangling: %v", got)
	}
}

func TestGround(t *testing.T) {
	apex := func(name string) bool { return name == "test." }
	const chain = `
klb.test. 300 CNAME x.klb.test. geo=* set=default
x.klb.test. 300 CNAME lb.example. weight=1 set=lb
x.klb.test. 300 CNAME a.klb.test. weight=3 set=a
a.klb.test. 60 A 192.0.2.1
other.test. 60 A 192.0.2.2
`
	compare(t, Ground(parse(t, chain+"test. 300 CNAME klb.test."), "test.", apex), `
other.test. 60 A 192.0.2.2
test. 60 A addresses of lb.example. weight=1 set=lb.example
test. 60 A 192.0.2.1 weight=3 set=a.klb.test
test. 300 AAAA addresses of lb.example.`)
	sets := parse(t, chain+"*.test. 300 CNAME klb.test.\ntest. 300 CNAME klb.test.")
	if got := Ground(sets, "test.", apex); len(got) != 7 { // the chain stays for those that are no apex
		t.Errorf("left:\n%s", text(got))
	}
	sets = parse(t, chain+"www.test. 300 CNAME klb.test.")
	compare(t, Ground(sets, "test.", apex), text(sets))
}

// TestSameChoice goes down random chains as a resolver would, one name after another, and compares how often it ends
// where with what the collapsed answer says.
func TestSameChoice(t *testing.T) {
	clients := []string{"IE", "US", "AU", "DE", geo.Anywhere}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		sets := randomChain(r)
		for _, flat := range Flatten(sets, "test.", "www.test.") {
			for _, client := range clients {
				want := map[string]float64{}
				lost := follow(sets, flat.Type, "www.test.", client, 1, want)
				if lost == 1 {
					continue // the chain gives such clients nothing
				}
				for k := range want {
					want[k] /= 1 - lost
				}
				got := map[string]float64{}
				if left := follow([]model.RecordSet{flat}, flat.Type, "www.test.", client, 1, got); left != 0 {
					t.Fatalf("seed %d: %s gets nothing", seed, client)
				}
				for k := range want {
					if math.Abs(want[k]-got[k]) > 1e-6 {
						t.Fatalf("seed %d, client at %s, %s: %s is given %.6f of the answers, in the chain %.6f\n%s\n%s",
							seed, client, dns.TypeToString[flat.Type], k, got[k], want[k], text(sets), text([]model.RecordSet{flat}))
					}
				}
			}
		}
	}
}

// randomChain has three floors. Clients of each place find something for them on each.
func randomChain(r *rand.Rand) []model.RecordSet {
	tab := table{}
	floors := [][]string{{"www.test."}, {"a.klb.test.", "b.klb.test."}, {"c.klb.test.", "d.klb.test."}, {"e.klb.test.", "f.klb.test.", "g.klb.test."}}
	for i, floor := range floors[:3] {
		for _, name := range floor {
			places := []string{""}
			if r.IntN(2) == 0 {
				places = [][]string{{"IE", "*"}, {"GEO-EU", "US", "*"}, {"GEO-EU", "DE", ""}}[r.IntN(3)]
			}
			for _, place := range places {
				for k, target := range floors[i+1] {
					if k > 0 && r.IntN(2) == 0 {
						continue
					}
					w := uint32(r.IntN(5))
					if k == 0 {
						w++
					}
					tab.add(model.RecordSet{Name: name, Type: dns.TypeCNAME}, model.Record{Data: target, Geo: place, Weight: &w, Set: target + place})
				}
			}
		}
	}
	for i, name := range floors[3] {
		// All have both types: else the chain has NODATA for some, which cannot be the same.
		tab.add(model.RecordSet{Name: name, Type: dns.TypeA}, model.Record{Data: fmt.Sprintf("192.0.2.%d", i)})
		tab.add(model.RecordSet{Name: name, Type: dns.TypeAAAA}, model.Record{Data: fmt.Sprintf("2001:db8::%d", i)})
	}
	return tab.sorted()
}

// follow adds to out how often each option of addresses is reached, and gives the share of those that reach none.
func follow(sets []model.RecordSet, rtype uint16, name, client string, share float64, out map[string]float64) (lost float64) {
	for _, s := range sets {
		if s.Name != name || s.Type != dns.TypeCNAME && s.Type != rtype {
			continue
		}
		best := -1
		rank := func(place string) int {
			switch {
			case place == client && client != geo.Anywhere:
				return 4
			case place == "GEO-EU" && (client == "IE" || client == "DE"):
				return 3
			case place == geo.Anywhere:
				return 2
			case place == "":
				return 1
			}
			return -1
		}
		for _, r := range s.Records {
			best = max(best, rank(r.Geo))
		}
		options, total := map[string][]model.Record{}, 0.0
		for _, r := range s.Records {
			if rank(r.Geo) != best {
				continue
			}
			if options[r.Set] == nil {
				total += weight(r)
			}
			options[r.Set] = append(options[r.Set], r)
		}
		for _, records := range options {
			part := share * weight(records[0]) / total
			if s.Type == dns.TypeCNAME {
				lost += follow(sets, rtype, records[0].Data, client, part, out)
				continue
			}
			var data []string
			for _, r := range records {
				data = append(data, r.Data)
			}
			out[strings.Join(data, " ")] += part
		}
		return lost
	}
	return share
}

func weight(r model.Record) float64 {
	if r.Weight == nil {
		return 1
	}
	return float64(*r.Weight)
}
