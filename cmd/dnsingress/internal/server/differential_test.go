// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// found are the peers that are installed.
func found(t *testing.T) map[string]peer {
	t.Helper()
	at := map[string]peer{}
	for _, p := range peers() {
		if path, err := exec.LookPath(p.program); err == nil {
			at[path] = p
		}
	}
	if len(at) < 2 {
		hint := "at least two of knotd, nsd and named are needed (hint: make setup unpacks Knot DNS and NSD)"
		if os.Getenv("CI") == "true" {
			t.Fatal(hint)
		}
		t.Skip("NOT RUN: the comparison with other name servers: " + hint)
	}
	return at
}

// TestDifferential has other servers get generated zones from ours by AXFR, and their changes by IXFR, and asks all of
// every name and type. An answer of ours that none of them gives is an error, apart from what differences lists; where
// they differ among themselves, one of them has to agree with us. DIFFERENTIAL is the number of zones, 2 if unset.
func TestDifferential(t *testing.T) {
	others := found(t)
	zones, err := strconv.ParseUint(os.Getenv("DIFFERENTIAL"), 10, 64)
	if err != nil {
		zones = 2
	}
	for seed := range zones {
		t.Run(fmt.Sprint("zone ", seed), func(t *testing.T) { differential(t, others, seed) })
	}
}

// difference is one that there may be between a server and its secondaries.
type difference struct {
	why string
	// holds tells whether it explains an answer of ours beside one of theirs.
	holds func(z *zone.Zone, ours, theirs *dns.Msg) bool
}

func differences() []difference {
	return []difference{
		{"a pool is answered in part here, and whole where it has been transferred to", func(z *zone.Zone, ours, theirs *dns.Msg) bool {
			if ours.Rcode != theirs.Rcode || len(ours.Answer) == 0 || len(ours.Answer) >= len(theirs.Answer) {
				return false
			}
			sets, _ := z.RRsets(ours.Answer[len(ours.Answer)-1].Header().Name)
			i := slices.IndexFunc(sets, func(s zone.RRset) bool { return s.Type == ours.Answer[len(ours.Answer)-1].Header().Rrtype })
			if i < 0 || sets[i].MaxAnswers == 0 || len(theirs.Answer)-len(ours.Answer) != len(sets[i].Records)-sets[i].MaxAnswers {
				return false
			}
			return !slices.ContainsFunc(ours.Answer, func(rr dns.RR) bool {
				return !slices.ContainsFunc(theirs.Answer, func(other dns.RR) bool { return rr.String() == other.String() })
			})
		}},
		{"a name without data has a record of type 65281 where it has been transferred to", func(_ *zone.Zone, ours, theirs *dns.Msg) bool {
			return len(ours.Answer) == 0 && ours.Question[0].Qtype == 65281 && len(theirs.Answer) == 1 && ours.Rcode == theirs.Rcode
		}},
	}
}

func differential(t *testing.T, others map[string]peer, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	text, names := everything(rng)
	z, err := parse(t, text).With(pools(rng)...)
	if err != nil {
		t.Fatal(err)
	}
	catalog := new(zone.Catalog)
	catalog.Publish(z)
	at := map[string]netip.AddrPort{}
	policy := transfer.Policy{Allow: transfer.Access{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}}
	for path := range others {
		at[path] = freePort(t)
		policy.Notify = append(policy.Notify, transfer.Remote{Addr: at[path]})
	}
	registry := prometheus.NewRegistry()
	us := serve(t, catalog, transfer.Options{Default: policy, Registerer: registry})
	for path, p := range others {
		p.start(t, path, at[path], us)
	}
	c := &comparison{text: text, ours: dial(t, us), explained: map[string]int{}}
	all := func() {
		for path, p := range others {
			p.reaches(t, at[path], z.Serial())
		}
	}
	all()
	for path, p := range others {
		c.who, c.theirs = append(c.who, p.name), append(c.theirs, dial(t, at[path]))
	}
	c.run(t, z, names)
	const rounds = 3
	for range rounds { // each by NOTIFY and IXFR
		if z, err = z.With(pools(rng)...); err != nil {
			t.Fatal(err)
		}
		catalog.Publish(z)
		all()
	}
	c.run(t, z, names)
	if given := counted(t, registry, "dnsingress_transfers_out_total", "ixfr"); given < rounds*len(others) {
		t.Errorf("%d differences were transferred", given)
	}
}

// counted sums a counter over the series that have a label of a value.
func counted(t *testing.T, g prometheus.Gatherer, name, value string) int {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetValue() == value {
					sum += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return sum
}

// comparison asks servers the same questions.
type comparison struct {
	text      string
	ours      *dns.Conn
	who       []string
	theirs    []*dns.Conn
	explained map[string]int // by the reason
	wrong     int
}

func (c *comparison) run(t *testing.T, z *zone.Zone, names []string) {
	t.Helper()
	names = slices.Clone(names)
	for owner := range z.All() {
		names = append(names, owner)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	asked, split := 0, 0
	for _, name := range names {
		for _, qtype := range []uint16{
			dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeDNAME, dns.TypeMX, dns.TypeTXT, dns.TypeDS,
			dns.TypeSRV, dns.TypePTR, dns.TypeCAA, dns.TypeNAPTR, dns.TypeHTTPS, dns.TypeTLSA, 65280, 65281,
		} {
			query := new(dns.Msg).SetQuestion(name, qtype)
			query.SetEdns0(4096, false)
			asked++
			m := exchange(t, c.ours, query)
			ours := essence(m, z)
			var theirs []*dns.Msg
			var texts []string
			for _, conn := range c.theirs {
				other := exchange(t, conn, query)
				theirs, texts = append(theirs, other), append(texts, essence(other, z))
			}
			if len(slices.Compact(slices.Sorted(slices.Values(texts)))) > 1 {
				split++
			}
			if slices.Contains(texts, ours) || c.explain(z, m, theirs) {
				continue
			}
			if c.wrong++; c.wrong <= 10 {
				report := fmt.Sprintf("%s %s\nours:\n%s", name, dns.Type(qtype), ours)
				for i := range c.who {
					report += fmt.Sprintf("%s:\n%s", c.who[i], texts[i])
				}
				t.Error(report)
			}
		}
	}
	t.Logf("%d questions to %s: they differ among themselves in %d, nobody agrees with us in %d; explained: %v", asked, strings.Join(c.who, ", "), split, c.wrong, c.explained)
	if c.wrong > 0 {
		t.Logf("the zone:\n%s", c.text)
	}
}

// explain tells whether one of the differences that there may be is all there is to every other server.
func (c *comparison) explain(z *zone.Zone, ours *dns.Msg, theirs []*dns.Msg) bool {
	for _, d := range differences() {
		if !slices.ContainsFunc(theirs, func(other *dns.Msg) bool { return !d.holds(z, ours, other) }) {
			c.explained[d.why]++
			return true
		}
	}
	return false
}

func exchange(t *testing.T, conn *dns.Conn, query *dns.Msg) *dns.Msg {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(allow)); err != nil {
		t.Fatal(err)
	}
	if err := conn.WriteMsg(query); err != nil {
		t.Fatal(err)
	}
	m, err := conn.ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// essence is what must agree: rcode, AA, the answer, the authority section without the NS records of the zone
// that some add to answers, and the glue of referrals.
func essence(m *dns.Msg, z *zone.Zone) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s aa=%v\n", dns.RcodeToString[m.Rcode], m.Authoritative)
	section := func(name string, rrs []dns.RR) {
		var lines []string
		for _, rr := range rrs {
			if rr.Header().Rrtype != dns.TypeOPT {
				lines = append(lines, fmt.Sprintf("  %s %s\n", name, strings.ToLower(rr.String())))
			}
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, ""))
	}
	section("answer", m.Answer)
	ns := slices.DeleteFunc(slices.Clone(m.Ns), func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeNS && strings.EqualFold(rr.Header().Name, z.Origin())
	})
	section("authority", ns)
	if len(ns) > 0 && ns[0].Header().Rrtype == dns.TypeNS {
		cut := ns[0].Header().Name
		section("glue", slices.DeleteFunc(slices.Clone(m.Extra), func(rr dns.RR) bool {
			return !dns.IsSubDomain(cut, rr.Header().Name) // what is not below the cut may stay out
		}))
	}
	return b.String()
}
