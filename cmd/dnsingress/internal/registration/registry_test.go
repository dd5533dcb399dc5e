// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
)

func testPolicy() Policy {
	return Policy{
		Lease: time.Minute, Least: 2 * time.Second, Most: time.Hour, KeepLast: time.Hour, MostServers: 3, TTL: 30, AddressTTL: 60,
		Reserved: []string{"ns.apps.test."},
		Grants: []Grant{
			{Key: "a.", Children: []string{"shop.apps.test.", "*.team.apps.test."}, Nameservers: []string{"ns1.a.apps.test.", "*.b.apps.test.", "ns.elsewhere.example.", "ns1.shop.apps.test.", "ns.apps.test."}},
			{Key: "c.", Children: []string{"*.apps.test."}, Nameservers: []string{"*.c.apps.test.", "ns1.a.apps.test."}, Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:c::/48")}},
		},
	}
}

// desk is a registry whose sink keeps what there is.
type desk struct {
	*Registry
	t     testing.TB
	pools map[model.Ref]*model.Pool
	at    int64 // of the next signature
	mac   int
}

func newDesk(t testing.TB, state string) *desk {
	t.Helper()
	d := &desk{t: t, pools: map[model.Ref]*model.Pool{}, at: time.Now().Unix()}
	r, err := New(Options{
		Zones: map[string]Policy{"apps.test.": testPolicy()}, Serves: func(o string) bool { return o == "other.test." }, State: state, Log: slog.New(slog.DiscardHandler),
		Refers: func(children []string) [][]model.Nameserver {
			out := make([][]model.Nameserver, len(children))
			for i, child := range children {
				if p := d.pools[model.Registered(child)]; p != nil && p.Delegation != nil {
					out[i] = p.Delegation.Nameservers
				}
			}
			return out
		},
		Sink: func(updates []model.Update) {
			for _, u := range updates {
				if u.Pool == nil {
					delete(d.pools, u.Ref)
				} else {
					d.pools[u.Ref] = u.Pool
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Registry = r
	return d
}

// message is an UPDATE of lines: records as in a zone file to be added, with "-" before to be deleted, with "?" before as a
// prerequisite; "lease SECONDS". Of deletions, "-NAME TYPE" is of a set and "-NAME" of a name.
func message(t testing.TB, zone string, lines ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetUpdate(zone)
	parse := func(text string) dns.RR {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		return rr
	}
	for _, l := range lines {
		f := strings.Fields(l)
		switch {
		case f[0] == "lease":
			var seconds uint32
			if _, err := fmt.Sscan(f[1], &seconds); err != nil {
				t.Fatal(err)
			}
			opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{&dns.EDNS0_UL{Code: dns.EDNS0UL, Lease: seconds}}}
			m.Extra = append(m.Extra, opt)
		case l[0] == '?':
			m.Answer = append(m.Answer, parse(l[1:]))
		case l[0] == '-' && len(f) == 1:
			m.RemoveName([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: l[1:]}}})
		case l[0] == '-' && len(f) == 2:
			m.RemoveRRset([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: f[0][1:], Rrtype: dns.StringToType[f[1]]}}})
		case l[0] == '-':
			m.Remove([]dns.RR{parse(l[1:])})
		default:
			m.Ns = append(m.Ns, parse(l))
		}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	read := new(dns.Msg)
	if err := read.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return read
}

// send sends a message that has just been signed.
func (d *desk) send(key string, m *dns.Msg) transfer.Verdict {
	d.mac++
	return d.Update(&transfer.Update{Msg: m, Key: key, Signed: d.at, MAC: fmt.Sprint("mac ", d.mac), From: netip.MustParseAddr("2001:db8::99")})
}

func (d *desk) take(key string, lines ...string) {
	d.t.Helper()
	if v := d.send(key, message(d.t, "apps.test.", lines...)); v.Rcode != dns.RcodeSuccess {
		d.t.Errorf("%q: %s: %s", lines, dns.RcodeToString[v.Rcode], v.Why)
	}
}

// holds is what is registered, one line a child and a name server.
func (d *desk) holds() string {
	var out []string
	for ref, p := range d.pools {
		text := ref.Name
		if del := p.Delegation; del != nil {
			for _, n := range del.Nameservers {
				text += " " + n.Name
			}
			for _, ds := range del.DS {
				text += " DS " + strings.Fields(ds)[0]
			}
		}
		for _, s := range p.Records {
			for _, r := range s.Records {
				text += " " + r.Data
			}
		}
		for _, x := range p.Problems {
			text += " " + x.Reason
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (d *desk) want(lines ...string) {
	d.t.Helper()
	if got := d.holds(); got != strings.Join(lines, "\n") {
		d.t.Errorf("registered:\n%s\nwant:\n%s", got, strings.Join(lines, "\n"))
	}
}

const oneDS = "12345 13 2 AA00000000000000000000000000000000000000000000000000000000000000"

func TestRegister(t *testing.T) {
	d := newDesk(t, "")
	shop := []string{"shop.apps.test. 0 NS ns1.a.apps.test.", "ns1.a.apps.test. 0 AAAA 2001:db8::1", "ns1.a.apps.test. 0 A 192.0.2.1"}
	d.take("a.", append(shop, "shop.apps.test. 0 DS "+oneDS)...)
	d.want("ns1.a.apps.test. 192.0.2.1 2001:db8::1", "shop.apps.test. ns1.a.apps.test. DS 12345")
	// Addresses of a message are all that there are; DS goes with NS.
	d.take("a.", "-ns1.a.apps.test. A", "-ns1.a.apps.test. AAAA", "ns1.a.apps.test. 0 AAAA 2001:db8::2", "x.team.apps.test. 0 NS ns1.a.apps.test.", "Shop.APPS.test. 0 NS NS1.a.apps.test.")
	d.want("ns1.a.apps.test. 2001:db8::2", "shop.apps.test. ns1.a.apps.test.", "x.team.apps.test. ns1.a.apps.test.")
	// Another key's leaf serves the same child.
	d.take("c.", "shop.apps.test. 0 NS ns.c.apps.test.", "ns.c.apps.test. 0 AAAA 2001:db8:c::1", "lease 7200")
	d.want("ns.c.apps.test. 2001:db8:c::1", "ns1.a.apps.test. 2001:db8::2", "shop.apps.test. ns.c.apps.test. ns1.a.apps.test.", "x.team.apps.test. ns1.a.apps.test.")
	// One that is elsewhere has no addresses here; one inside the child has.
	d.take("a.", "y.team.apps.test. 0 NS ns.elsewhere.example.", "shop.apps.test. 0 NS ns1.shop.apps.test.", "ns1.shop.apps.test. 0 AAAA 2001:db8::3")
	d.want("ns.c.apps.test. 2001:db8:c::1", "ns1.a.apps.test. 2001:db8::2", "ns1.shop.apps.test. 2001:db8::3", "shop.apps.test. ns.c.apps.test. ns1.a.apps.test. ns1.shop.apps.test.",
		"x.team.apps.test. ns1.a.apps.test.", "y.team.apps.test. ns.elsewhere.example.")
	// One name server leaves all of its children. Who is the last of one stays there.
	d.take("a.", "-ns1.a.apps.test.", "lease 0")
	d.want("ns.c.apps.test. 2001:db8:c::1", "ns1.a.apps.test. 2001:db8::2", "ns1.shop.apps.test. 2001:db8::3", "shop.apps.test. ns.c.apps.test. ns1.shop.apps.test. NameserverLeft",
		"x.team.apps.test. ns1.a.apps.test. LastNameserver", "y.team.apps.test. ns.elsewhere.example.")
	// Whoever comes takes its place.
	d.take("a.", "x.team.apps.test. 0 NS ns.b.apps.test.", "ns.b.apps.test. 0 AAAA 2001:db8::b", "-shop.apps.test. NS", "-y.team.apps.test. 0 NS ns.elsewhere.example.")
	d.want("ns.b.apps.test. 2001:db8::b", "ns.c.apps.test. 2001:db8:c::1", "shop.apps.test. ns.c.apps.test. NameserverLeft NameserverLeft",
		"x.team.apps.test. ns.b.apps.test.", "y.team.apps.test. ns.elsewhere.example. LastNameserver")
	// The whole set of a child goes with a word, also where it is the last one.
	d.take("a.", "-y.team.apps.test. NS", "-x.team.apps.test.")
	d.want("ns.c.apps.test. 2001:db8:c::1", "shop.apps.test. ns.c.apps.test. NameserverLeft NameserverLeft", "x.team.apps.test. NameserverLeft", "y.team.apps.test. NameserverLeft")
}

// TestTell asks for all that a name server's children are referred to.
func TestTell(t *testing.T) {
	d := newDesk(t, "")
	d.take("a.", "shop.apps.test. 0 NS ns1.a.apps.test.", "x.team.apps.test. 0 NS ns1.a.apps.test.", "y.team.apps.test. 0 NS ns1.a.apps.test.", "ns1.a.apps.test. 0 AAAA 2001:db8::1",
		"y.team.apps.test. 0 NS ns.elsewhere.example.")
	d.take("c.", "x.team.apps.test. 0 NS ns.c.apps.test.", "shop.apps.test. 0 NS ns.c.apps.test.", "pay.apps.test. 0 NS ns.c.apps.test.", "ns.c.apps.test. 0 AAAA 2001:db8:c::1")
	const (
		glueA, glueC = "ns1.a.apps.test. 30 AAAA 2001:db8::1", "ns.c.apps.test. 30 AAAA 2001:db8:c::1"
		shopC, shopA = "shop.apps.test. 30 NS ns.c.apps.test.", "shop.apps.test. 30 NS ns1.a.apps.test."
	)
	for _, c := range []struct {
		name, key, question string
		qtype               uint16
		want                []string
	}{
		{"a leaf", "a.", "NS1.a.apps.test._registered.Apps.test.", dns.TypeNS, []string{
			shopC, shopA, "x.team.apps.test. 30 PTR shop.apps.test.", "y.team.apps.test. 30 NS ns.elsewhere.example.", "y.team.apps.test. 30 NS ns1.a.apps.test.", glueC, glueA,
		}},
		{"another one", "c.", "ns.c.apps.test._registered.apps.test.", dns.TypeNS, []string{
			"pay.apps.test. 30 NS ns.c.apps.test.", shopC, shopA, "x.team.apps.test. 30 PTR shop.apps.test.", glueC, glueA,
		}},
		{"one of another key", "c.", "ns1.a.apps.test._registered.apps.test.", dns.TypeNS, nil},
		{"one that has not registered", "a.", "ns2.a.apps.test._registered.apps.test.", dns.TypeNS, nil},
		{"another zone", "a.", "ns1.a.apps.test._registered.other.test.", dns.TypeNS, nil},
		{"another type", "a.", "ns1.a.apps.test._registered.apps.test.", dns.TypeTXT, nil},
		{"an ordinary name", "a.", "shop.apps.test.", dns.TypeNS, nil},
	} {
		answer, extra, ok := d.Tell(c.key, dns.Question{Name: c.question, Qtype: c.qtype, Qclass: dns.ClassINET})
		var got []string
		for _, rr := range slices.Concat(answer, extra) {
			got = append(got, strings.Join(strings.Fields(strings.Replace(rr.String(), "IN", "", 1)), " "))
		}
		if ok != (c.want != nil) || !slices.Equal(got, c.want) {
			t.Errorf("%s is told %t\n%s\nwant\n%s", c.name, ok, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// TestTellMany has more to tell than there is room for in a message.
func TestTellMany(t *testing.T) {
	for _, c := range []struct {
		name     string
		same     bool // all have the same name servers
		children int
		all      bool
	}{{"a thousand that are alike", true, 1000, true}, {"many that are alike", true, 10000, false}, {"some of their own", false, 40, true}, {"many of their own", false, 2000, false}} {
		told := telling{origin: "apps.test.", first: map[string]string{}, glue: map[string]bool{}}
		all := true
		for i := range c.children {
			servers := []model.Nameserver{}
			for k := range 13 {
				n := model.Nameserver{Name: fmt.Sprintf("ns-%d.dns.apps.test.", k), Addresses: []netip.Addr{netip.AddrFrom16([16]byte{0x20, 1, 15: byte(k)})}}
				if !c.same {
					n.Name = fmt.Sprintf("ns-%d.dns-%d.apps.test.", k, i)
				}
				servers = append(servers, n)
			}
			if !told.add(fmt.Sprintf("zone-%d.apps.test.", i), servers) {
				all = false
				break
			}
		}
		m := new(dns.Msg).SetQuestion("ns-1.dns.apps.test._registered.apps.test.", dns.TypeNS)
		m.Answer, m.Extra, m.Compress = told.answer, told.extra, true
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if all != c.all || len(b) > 60<<10 || !all && len(b) < 24<<10 {
			t.Errorf("%s: %d octets, all are told: %t", c.name, len(b), all)
		}
	}
}

func TestRefuse(t *testing.T) {
	d := newDesk(t, "")
	d.take("a.", "shop.apps.test. 0 NS ns1.a.apps.test.", "ns1.a.apps.test. 0 AAAA 2001:db8::1")
	before := d.holds()
	const glue = "ns.b.apps.test. 0 AAAA 2001:db8::b"
	for _, c := range []struct {
		name, key, zone string
		lines           []string
		rcode           int
		reason, why     string
	}{
		{"a zone that is not granted", "a.", "apps.test.", []string{"pay.apps.test. 0 NS ns.b.apps.test.", glue}, dns.RcodeRefused, "not_granted", "zone pay.apps.test. with name server ns.b.apps.test. is not granted to key a."},
		{"one of two is not granted", "a.", "apps.test.", []string{"x.team.apps.test. 0 NS ns.b.apps.test.", "team.apps.test. 0 NS ns.b.apps.test.", glue}, dns.RcodeRefused, "not_granted", "zone team.apps.test."},
		{"a name server that is not granted", "a.", "apps.test.", []string{"shop.apps.test. 0 NS ns.c.apps.test."}, dns.RcodeRefused, "not_granted", "name server ns.c.apps.test. is not granted to key a."},
		{"a name server of another key", "c.", "apps.test.", []string{"shop.apps.test. 0 NS ns1.a.apps.test."}, dns.RcodeRefused, "taken", "registered by another key"},
		{"another's addresses", "c.", "apps.test.", []string{"ns1.a.apps.test. 0 AAAA 2001:db8:c::1"}, dns.RcodeRefused, "taken", ""},
		{"addresses that are not granted", "c.", "apps.test.", []string{"shop.apps.test. 0 NS ns.c.apps.test.", "ns.c.apps.test. 0 AAAA 2001:db8::1"}, dns.RcodeRefused, "not_granted", ""},
		{"an unknown key", "z.", "apps.test.", []string{"shop.apps.test. 0 NS ns1.a.apps.test."}, dns.RcodeRefused, "not_granted", "nothing in the zone apps.test. is granted to key z."},
		{"no signature", "", "apps.test.", []string{"shop.apps.test. 0 NS ns1.a.apps.test."}, dns.RcodeRefused, "unsigned", "hint: TSIG"},
		{"a zone that is not ours", "a.", "example.", []string{"x.example. 0 NS ns.b.apps.test."}, dns.RcodeNotAuth, "unknown_zone", ""},
		{"a zone of ours without registrations", "a.", "other.test.", nil, dns.RcodeRefused, "not_granted", ""},
		{"a name outside the zone", "a.", "apps.test.", []string{"shop.example. 0 NS ns1.a.apps.test."}, dns.RcodeNotZone, "outside", ""},
		{"addresses of a name outside", "a.", "apps.test.", []string{"y.team.apps.test. 0 NS ns.elsewhere.example.", "ns.elsewhere.example. 0 AAAA 2001:db8::1"}, dns.RcodeNotZone, "outside", ""},
		{"the zone itself", "c.", "apps.test.", []string{"apps.test. 0 NS ns.c.apps.test.", "ns.c.apps.test. 0 AAAA 2001:db8:c::1"}, dns.RcodeRefused, "not_granted", "the zone itself"},
		{"the upper's own name server", "a.", "apps.test.", []string{"shop.apps.test. 0 NS ns.apps.test."}, dns.RcodeRefused, "reserved", ""},
		{"a name server inside the child without an address", "a.", "apps.test.", []string{"shop.apps.test. 0 NS ns1.shop.apps.test."}, dns.RcodeRefused, "no_glue", "RFC 9471"},
		{"a child as a name server", "c.", "apps.test.", []string{"ns1.a.apps.test. 0 NS ns.c.apps.test.", "ns.c.apps.test. 0 AAAA 2001:db8:c::1"}, dns.RcodeRefused, "taken", "cannot be a child zone too"},
		{"addresses alone", "a.", "apps.test.", []string{glue}, dns.RcodeRefused, "unsupported", ""},
		{"DS alone", "c.", "apps.test.", []string{"shop.apps.test. 0 DS " + oneDS}, dns.RcodeRefused, "not_granted", "comes without a name server of key c."},
		{"other types", "a.", "apps.test.", []string{"shop.apps.test. 0 TXT hello"}, dns.RcodeRefused, "unsupported", ""},
		{"too many", "a.", "apps.test.", []string{"shop.apps.test. 0 NS n1.b.apps.test.", "shop.apps.test. 0 NS n2.b.apps.test.", "shop.apps.test. 0 NS n3.b.apps.test."}, dns.RcodeRefused, "too_many", "would have 4 name servers"},
		{"another prerequisite", "a.", "apps.test.", []string{"?shop.apps.test. 0 NS ns1.a.apps.test."}, dns.RcodeRefused, "unsupported", ""},
		{"a prerequisite with a TTL", "a.", "apps.test.", []string{"?_registered.apps.test. 5 TXT a b"}, dns.RcodeFormatError, "malformed", ""},
		{"another's digest", "c.", "apps.test.", []string{`?_registered.apps.test. 0 TXT "ns1.a.apps.test." "x"`}, dns.RcodeRefused, "not_granted", ""},
		{"a digest of something else", "a.", "apps.test.", []string{`?_registered.apps.test. 0 TXT "ns1.a.apps.test." "x"`}, dns.RcodeNXRrset, "unknown_state", ""},
	} {
		v := d.send(c.key, message(t, c.zone, c.lines...))
		if v.Rcode != c.rcode || !strings.Contains(v.Why, c.why) || v.Stale {
			t.Errorf("%s: %s, %q, want %s, %q", c.name, dns.RcodeToString[v.Rcode], v.Why, dns.RcodeToString[c.rcode], c.why)
		}
		if got := d.holds(); got != before {
			t.Errorf("%s changed what is registered: %s", c.name, got)
		}
	}
	_, _, no := d.Leases()
	counts := map[string]int{}
	for _, r := range no {
		counts[r.Reason] += r.Count
	}
	for reason, want := range map[string]int{"not_granted": 9, "taken": 3, "unsigned": 1, "outside": 2, "malformed": 1} {
		if counts[reason] != want {
			t.Errorf("%d refusals are listed as %s, want %d", counts[reason], reason, want)
		}
	}
}

// TestReplay: what has been seen, is older, or was signed before this process began is refused and changes nothing.
func TestReplay(t *testing.T) {
	dir := t.TempDir()
	d := newDesk(t, dir)
	join := message(t, "apps.test.", "shop.apps.test. 0 NS ns1.a.apps.test.", "ns1.a.apps.test. 0 AAAA 2001:db8::1")
	other := message(t, "apps.test.", "shop.apps.test. 0 NS ns.b.apps.test.", "ns.b.apps.test. 0 AAAA 2001:db8::b")
	leave := message(t, "apps.test.", "-ns1.a.apps.test.", "lease 0")
	now := time.Now().Unix()
	send := func(m *dns.Msg, at int64, mac string, stale bool) {
		t.Helper()
		v := d.Update(&transfer.Update{Msg: m, Key: "a.", Signed: at, MAC: mac})
		if v.Stale != stale || !stale && v.Rcode != dns.RcodeSuccess {
			t.Errorf("signed at %d, %s: %+v, want stale %v", at-now, mac, v, stale)
		}
	}
	send(join, now, "1", false)
	send(other, now+5, "2", false) // another name server of the key, whose clock is ahead
	send(leave, now+1, "3", false)
	send(join, now+2, "4", false)
	both := d.holds()
	send(leave, now+1, "3", true) // older, and seen
	send(leave, now+1, "5", true) // older
	send(join, now+2, "4", true)  // seen
	send(leave, now-10, "6", true)
	if got := d.holds(); got != both {
		t.Errorf("replays changed what is registered:\n%s\nwas:\n%s", got, both)
	}
	// The reply is BADTIME, and the refusal is listed with how often there was one.
	_, _, no := d.Leases()
	if len(no) != 1 || no[0].Reason != "stale" || no[0].Count != 4 {
		t.Errorf("refusals: %+v", no)
	}
	// A restart a while later knows what was registered, and takes none of the old messages.
	d.keep()
	again := newDesk(t, dir)
	again.started = now + 60
	if got := again.holds(); got != both {
		t.Errorf("after a restart:\n%s\nwant:\n%s", got, both)
	}
	if v := again.Update(&transfer.Update{Msg: leave, Key: "a.", Signed: now + 3, MAC: "7"}); !v.Stale || again.holds() != both {
		t.Errorf("what was signed before a restart is %+v after it", v)
	}
}

// TestLeases: who does not renew goes, the last one stays for a while, and how long caches may hold who went is told.
func TestLeases(t *testing.T) {
	b := newBook("apps.test.", testPolicy())
	start := time.Now()
	apply := func(at time.Duration, key string, lines ...string) error {
		r, err := parse(message(t, "apps.test.", lines...))
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.apply(r, key, start.Add(at))
		return err
	}
	servers := func(child string) string {
		p := b.delegation(child)
		if p == nil {
			return "-"
		}
		var out []string
		if p.Delegation != nil {
			for _, n := range p.Delegation.Nameservers {
				out = append(out, n.Name)
			}
		}
		for _, x := range p.Problems {
			out = append(out, x.Reason)
		}
		return strings.Join(out, " ")
	}
	at := func(d time.Duration, wantNext time.Duration, child, want string) {
		t.Helper()
		_, next := b.expire(start.Add(d))
		if got := servers(child); got != want {
			t.Errorf("after %v %s has %q, want %q", d, child, got, want)
		}
		if wantNext > 0 && next.Sub(start) != wantNext || wantNext == 0 && !next.IsZero() {
			t.Errorf("after %v the next look is after %v, want %v", d, next.Sub(start), wantNext)
		}
	}
	if err := apply(0, "a.", "shop.apps.test. 0 NS ns1.a.apps.test.", "ns1.a.apps.test. 0 AAAA 2001:db8::1", "lease 20"); err != nil {
		t.Fatal(err)
	}
	if err := apply(0, "a.", "shop.apps.test. 0 NS ns.b.apps.test.", "ns.b.apps.test. 0 AAAA 2001:db8::b", "lease 10"); err != nil {
		t.Fatal(err)
	}
	at(9*time.Second, 10*time.Second, "shop.apps.test.", "ns.b.apps.test. ns1.a.apps.test.")
	// A renewal of a digest that holds.
	e := Entry{Host: "ns1.a.apps.test.", Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::1")}, Children: map[string][]string{"shop.apps.test.": nil}}
	if err := apply(9*time.Second, "a.", fmt.Sprintf("?_registered.apps.test. 0 TXT %q %q", e.Host, e.digest()), "lease 20"); err != nil {
		t.Fatal(err)
	}
	at(10*time.Second, 29*time.Second, "shop.apps.test.", "ns1.a.apps.test. NameserverLeft")
	at(29*time.Second, 40*time.Second, "shop.apps.test.", "ns1.a.apps.test. LastNameserver NameserverLeft")
	at(40*time.Second, 29*time.Second+time.Hour, "shop.apps.test.", "ns1.a.apps.test. LastNameserver")
	// A renewal of what has ended is none: all of it is wanted again.
	if err := apply(41*time.Second, "a.", fmt.Sprintf("?_registered.apps.test. 0 TXT %q %q", e.Host, e.digest())); refusalOf(err).rcode != dns.RcodeNXRrset {
		t.Errorf("a renewal after the end is %v", err)
	}
	at(29*time.Second+time.Hour, 59*time.Second+time.Hour, "shop.apps.test.", "NameserverLeft")
	at(59*time.Second+time.Hour, 0, "shop.apps.test.", "-")
	if len(b.hosts)+len(b.children)+len(b.left) != 0 {
		t.Errorf("left over: %v %v %v", b.hosts, b.children, b.left)
	}
	// Bounds of leases, and one where an object delegates the child too.
	b.static = func(string) bool { return true }
	if err := apply(0, "a.", "shop.apps.test. 0 NS ns1.a.apps.test.", "ns1.a.apps.test. 0 AAAA 2001:db8::1", "lease 1"); err != nil {
		t.Fatal(err)
	}
	at(2*time.Second, 32*time.Second, "shop.apps.test.", "NameserverLeft")
}

// TestStateThatCannotBeRead: the registry starts without it and waits for leaves.
func TestStateThatCannotBeRead(t *testing.T) {
	for name, text := range map[string]string{"no JSON": "{", "another version": `{"version": 9, "zone": "apps.test."}`, "another zone": `{"version": 1, "zone": "x."}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "apps.test.registrations"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b := newBook("apps.test.", testPolicy())
		if found, err := b.load(dir, time.Now()); found || err == nil || !strings.Contains(err.Error(), "hint: remove the file") {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	// What is granted no more stays out.
	dir := t.TempDir()
	d := newDesk(t, dir)
	d.take("c.", "shop.apps.test. 0 NS ns.c.apps.test.", "ns.c.apps.test. 0 AAAA 2001:db8:c::1")
	d.keep()
	p := testPolicy()
	p.Grants = p.Grants[:1]
	b := newBook("apps.test.", p)
	if found, err := b.load(dir, time.Now()); !found || err != nil || len(b.hosts)+len(b.children) != 0 {
		t.Errorf("%v, %v: %v", found, err, b.children)
	}
}

// FuzzUpdate has messages of any octets taken: no fault, nothing that is not granted, and either all of it or nothing.
func FuzzUpdate(f *testing.F) {
	for _, lines := range [][]string{
		{"shop.apps.test. 0 NS ns1.a.apps.test.", "ns1.a.apps.test. 0 AAAA 2001:db8::1", "shop.apps.test. 0 DS " + oneDS, "lease 60"},
		{"-ns1.a.apps.test.", "lease 0"},
		{"-shop.apps.test. NS", "-shop.apps.test. DS", "-ns1.a.apps.test. AAAA", "-x.team.apps.test. 0 NS ns1.a.apps.test."},
		{`?_registered.apps.test. 0 TXT "ns1.a.apps.test." "0123"`},
		{"a.team.apps.test. 0 NS ns.elsewhere.example.", "b.team.apps.test. 0 NS x.b.apps.test.", "x.b.apps.test. 0 A 192.0.2.1"},
	} {
		b, err := message(f, "apps.test.", lines...).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		m := new(dns.Msg)
		if m.Unpack(octets) != nil {
			return
		}
		d := newDesk(t, "")
		d.take("a.", "shop.apps.test. 0 NS ns1.a.apps.test.", "ns1.a.apps.test. 0 AAAA 2001:db8::1")
		before := d.holds()
		v := d.send("a.", m)
		if v.Rcode != dns.RcodeSuccess && d.holds() != before {
			t.Fatalf("refused with %s, and changed", v.Why)
		}
		p := testPolicy()
		b := d.books["apps.test."]
		leases := 0
		for _, h := range b.hosts {
			for child, c := range h.claims {
				leases++
				if c.ended.IsZero() && !p.mayServe("a.", child, h.name, h.addresses) {
					t.Fatalf("%s with %s is registered", child, h.name)
				}
				if b.children[child][h.name] != c {
					t.Fatalf("%s is not entered with both sides", child)
				}
			}
		}
		for child, claims := range b.children {
			if leases -= len(claims); len(claims) == 0 {
				t.Fatalf("%s has nobody", child)
			}
		}
		if leases != 0 {
			t.Fatal("the two sides differ")
		}
	})
}
