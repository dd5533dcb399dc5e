// SPDX-License-Identifier: Apache-2.0

package dnssec_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// feature is a zone with every form of answer.
const feature = `
@             3600 SOA ns1 hostmaster 1 3600 600 604800 300
@             3600 NS ns1
@             3600 NS Ns2.Example.NET.
@             300  MX 10 Mail.Example.ORG.
@             300  TXT "one" "two"
ns1           3600 AAAA 2001:db8::53
ns1           3600 A 192.0.2.53
mail          300  A 192.0.2.25
www           300  CNAME Web
www2          300  CNAME www
out           300  CNAME www.example.net.
dangling      300  CNAME nowhere
web           60   AAAA 2001:db8::1
web           60   AAAA 2001:db8::2
web           60   AAAA 2001:db8::3
*.wild        300  TXT "expanded"
*.wild        300  A 192.0.2.99
*.alias       300  CNAME web
exact.wild    300  TXT "not expanded"
deep.down.ent 300  A 192.0.2.1
tree          300  DNAME forest
leaf.forest   300  A 192.0.2.2
gone          300  DNAME example.net.
signed        3600 NS ns.signed
signed        3600 DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
ns.signed     3600 A 192.0.2.80
plain         3600 NS ns.plain
plain         3600 NS ns1
ns.plain      3600 AAAA 2001:db8::81
odd           300  TYPE65280 \# 4 01020304
_sip._tcp     300  SRV 1 2 5060 Mail
caa           300  CAA 0 issue "ca.example.net"
caps          300  NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:a@b!" Mail.Example.ORG.
svc           300  HTTPS 1 . alpn=h2
`

// records parses lines of example.org.
func records(t testing.TB, lines string) []dns.RR {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(lines), "example.org.", "")
	var rrs []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		rrs = append(rrs, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return rrs
}

func plainZone(t testing.TB, lines string) *zone.Zone {
	t.Helper()
	z, err := zone.New("example.org.", records(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func newKey(t testing.TB, algorithm uint8, signsKeys bool) *dnssec.Key {
	t.Helper()
	k, err := dnssec.Generate("Example.org.", algorithm, signsKeys)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSigner(t testing.TB, o dnssec.Options) *dnssec.Signer {
	t.Helper()
	s, err := dnssec.New("example.org.", o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signedZone(t testing.TB, s *dnssec.Signer, lines string) *zone.Zone {
	t.Helper()
	z, err := s.Sign(plainZone(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// client asks zones in process.
type client struct {
	question zone.Question
	reply    zone.Reply
	buf      [65535]byte
}

// ask answers a question with DO, in the case that name has.
func (c *client) ask(t testing.TB, z *zone.Zone, name string, rtype uint16, with func(*zone.Question)) *dns.Msg {
	t.Helper()
	q := &dns.Msg{Question: []dns.Question{{Name: name, Qtype: rtype, Qclass: dns.ClassINET}}}
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	end, err := c.question.Parse(wire)
	if err != nil {
		t.Fatal(err)
	}
	c.question.Secure, c.question.Compact = true, false
	if with != nil {
		with(&c.question)
	}
	c.reply.Start(c.buf[:], wire, end)
	z.Answer(&c.question, &c.reply)
	var m dns.Msg
	if err := m.Unpack(c.reply.Bytes()); err != nil {
		t.Fatalf("%s %s: %v", name, dns.Type(rtype), err)
	}
	return &m
}

// keysOf returns the keys that a zone publishes.
func keysOf(t testing.TB, z *zone.Zone) []*dns.DNSKEY {
	t.Helper()
	sets, _ := z.RRsets(z.Origin())
	var keys []*dns.DNSKEY
	for _, s := range sets {
		if s.Type == dns.TypeDNSKEY {
			for _, rr := range s.Records {
				keys = append(keys, rr.(*dns.DNSKEY))
			}
		}
	}
	if len(keys) == 0 {
		t.Fatal("the zone has no DNSKEY")
	}
	return keys
}

type setName struct {
	owner string
	rtype uint16
}

// verify checks every signature of a section, and that every set of it that needs one has one by every key that must. It
// returns the sets that have none.
func verify(t testing.TB, section []dns.RR, keys []*dns.DNSKEY, at time.Time) (unsigned []setName) {
	t.Helper()
	sets, signatures := map[setName][]dns.RR{}, map[setName][]*dns.RRSIG{}
	var order []setName
	for _, rr := range section {
		h := rr.Header()
		if sig, ok := rr.(*dns.RRSIG); ok {
			n := setName{dns.CanonicalName(h.Name), sig.TypeCovered}
			signatures[n] = append(signatures[n], sig)
			continue
		}
		n := setName{dns.CanonicalName(h.Name), h.Rrtype}
		if sets[n] == nil {
			order = append(order, n)
		}
		sets[n] = append(sets[n], rr)
	}
	for n, sigs := range signatures {
		if sets[n] == nil && len(section) != len(sigs) {
			t.Errorf("signature of %s %s without the set", n.owner, dns.Type(n.rtype))
		}
	}
	for _, n := range order {
		if len(signatures[n]) == 0 {
			unsigned = append(unsigned, n)
		}
		for _, sig := range signatures[n] {
			i := slices.IndexFunc(keys, func(k *dns.DNSKEY) bool { return k.KeyTag() == sig.KeyTag && k.Algorithm == sig.Algorithm })
			if i < 0 {
				t.Errorf("%s %s is signed by %d, which is not published", n.owner, dns.Type(n.rtype), sig.KeyTag)
				continue
			}
			if err := sig.Verify(keys[i], sets[n]); err != nil {
				t.Errorf("%s %s: %v\n%v\n%v", n.owner, dns.Type(n.rtype), err, sig, sets[n])
			}
			if !sig.ValidityPeriod(at) {
				t.Errorf("%s %s: the signature is not valid at %v: %v", n.owner, dns.Type(n.rtype), at, sig)
			}
			if ttl := sets[n][0].Header().Ttl; sig.Hdr.Ttl != ttl || ttl > sig.OrigTtl {
				t.Errorf("%s %s: TTL %d of the set, %d of its signature, Original TTL %d", n.owner, dns.Type(n.rtype), ttl, sig.Hdr.Ttl, sig.OrigTtl)
			}
		}
	}
	return unsigned
}

// summary is a reply's code and the sets of its sections: what a test compares.
func summary(m *dns.Msg) string {
	var b strings.Builder
	b.WriteString(dns.RcodeToString[m.Rcode])
	if !m.Authoritative {
		b.WriteString(" -AA")
	}
	if m.Truncated {
		b.WriteString(" TC")
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		b.WriteString(" |")
		var last string
		for _, rr := range section {
			name := strings.TrimSuffix(strings.TrimSuffix(dns.CanonicalName(rr.Header().Name), "example.org."), ".")
			text := fmt.Sprintf(" %s/%s", name, dns.Type(rr.Header().Rrtype))
			switch rr := rr.(type) {
			case *dns.RRSIG:
				text = "+sig"
			case *dns.NSEC:
				var types []string
				for _, t := range rr.TypeBitMap {
					types = append(types, dns.Type(t).String())
				}
				text += "(" + strings.Join(types, " ") + ")"
			}
			if text != last {
				b.WriteString(text)
			}
			last = text
		}
	}
	return b.String()
}

func TestEveryFormOfAnswer(t *testing.T) {
	for _, keys := range []struct {
		name string
		keys []*dnssec.Key
		sigs int // of a set
	}{
		{"CSK of P-256", []*dnssec.Key{newKey(t, dns.ECDSAP256SHA256, true)}, 1},
		{"CSK of Ed25519", []*dnssec.Key{newKey(t, dns.ED25519, true)}, 1},
		{"KSK and ZSK", []*dnssec.Key{newKey(t, dns.ECDSAP256SHA256, true), newKey(t, dns.ECDSAP256SHA256, false)}, 1},
		{"two algorithms", []*dnssec.Key{newKey(t, dns.ED25519, true), newKey(t, dns.ECDSAP256SHA256, true), newKey(t, dns.ECDSAP256SHA256, false)}, 2},
	} {
		t.Run(keys.name, func(t *testing.T) {
			s := newSigner(t, dnssec.Options{Keys: keys.keys})
			z := signedZone(t, s, feature)
			everyForm(t, z, keys.sigs)
		})
	}
}

const denied = "| /SOA+sig "

func everyForm(t *testing.T, z *zone.Zone, sigs int) {
	for _, q := range []struct {
		name  string
		rtype uint16
		want  string
	}{
		{"example.org.", dns.TypeSOA, "NOERROR | /SOA+sig | |"},
		{"example.org.", dns.TypeNS, "NOERROR | /NS+sig | | ns1/A+sig ns1/AAAA+sig"},
		{"example.org.", dns.TypeMX, "NOERROR | /MX+sig | | mail/A+sig"},
		{"example.org.", dns.TypeDNSKEY, "NOERROR | /DNSKEY+sig | |"},
		{"example.org.", dns.TypeCDS, "NOERROR | /CDS+sig | |"},
		{"example.org.", dns.TypeCDNSKEY, "NOERROR | /CDNSKEY+sig | |"},
		{"example.org.", dns.TypeA, "NOERROR | " + denied + "/NSEC(NS SOA MX TXT RRSIG NSEC DNSKEY CDS CDNSKEY) |"},
		{"example.org.", dns.TypeDS, "NOERROR | " + denied + "/NSEC(NS SOA MX TXT RRSIG NSEC DNSKEY CDS CDNSKEY) |"},
		{"example.org.", dns.TypeANY, "NOERROR | /NS+sig | | ns1/A+sig ns1/AAAA+sig"},
		{"example.org.", dns.TypeRRSIG, "NOERROR |+sig | |"},
		{"web.example.org.", dns.TypeAAAA, "NOERROR | web/AAAA+sig | |"},
		{"WEB.Example.ORG.", dns.TypeAAAA, "NOERROR | web/AAAA+sig | |"},
		{"web.example.org.", dns.TypeNSEC, "NOERROR | web/NSEC(AAAA RRSIG NSEC)+sig | |"},
		{"web.example.org.", dns.TypeA, "NOERROR | " + denied + "web/NSEC(AAAA RRSIG NSEC) |"},
		{"WEB.Example.ORG.", dns.TypeA, "NOERROR | " + denied + "web/NSEC(AAAA RRSIG NSEC) |"},
		{"www.example.org.", dns.TypeAAAA, "NOERROR | www/CNAME+sig web/AAAA+sig | |"},
		{"wWw2.example.org.", dns.TypeAAAA, "NOERROR | www2/CNAME+sig www/CNAME+sig web/AAAA+sig | |"},
		{"www.example.org.", dns.TypeMX, "NOERROR | www/CNAME+sig " + denied + "web/NSEC(AAAA RRSIG NSEC) |"},
		{"www.example.org.", dns.TypeNSEC, "NOERROR | www/NSEC(CNAME RRSIG NSEC)+sig | |"},
		{"out.example.org.", dns.TypeA, "NOERROR | out/CNAME+sig | |"},
		{"dangling.example.org.", dns.TypeA, "NOERROR | dangling/CNAME+sig " + denied + "nowhere/NSEC(RRSIG NSEC NXNAME) |"},
		{"no.example.org.", dns.TypeA, "NOERROR | " + denied + "no/NSEC(RRSIG NSEC NXNAME) |"},
		{"a.b.c.No.example.org.", dns.TypeTXT, "NOERROR | " + denied + "a.b.c.no/NSEC(RRSIG NSEC NXNAME) |"},
		{"no.example.org.", dns.TypeNSEC, "NOERROR | no/NSEC(RRSIG NSEC NXNAME)+sig | |"},
		{"no.example.org.", dns.TypeRRSIG, "NOERROR |+sig | |"},
		{"ent.example.org.", dns.TypeNSEC, "NOERROR | ent/NSEC(RRSIG NSEC)+sig | |"},
		{"ent.example.org.", dns.TypeRRSIG, "NOERROR |+sig | |"},
		{"dangling.example.org.", dns.TypeNSEC, "NOERROR | dangling/NSEC(CNAME RRSIG NSEC)+sig | |"},
		{"no.tree.example.org.", dns.TypeNSEC, "NOERROR | tree/DNAME+sig no.tree/CNAME no.forest/NSEC(RRSIG NSEC NXNAME)+sig | |"},
		{"ent.example.org.", dns.TypeA, "NOERROR | " + denied + "ent/NSEC(RRSIG NSEC) |"},
		{"a.wild.example.org.", dns.TypeTXT, "NOERROR | a.wild/TXT+sig | |"},
		{"a.b.wild.example.org.", dns.TypeA, "NOERROR | a.b.wild/A+sig | |"},
		{"*.wild.example.org.", dns.TypeA, "NOERROR | *.wild/A+sig | |"},
		{"a.wild.example.org.", dns.TypeMX, "NOERROR | " + denied + "a.wild/NSEC(A TXT RRSIG NSEC) |"},
		{"*.wild.example.org.", dns.TypeMX, "NOERROR | " + denied + "*.wild/NSEC(A TXT RRSIG NSEC) |"},
		{"exact.wild.example.org.", dns.TypeA, "NOERROR | " + denied + "exact.wild/NSEC(TXT RRSIG NSEC) |"},
		{"x.exact.wild.example.org.", dns.TypeA, "NOERROR | " + denied + "x.exact.wild/NSEC(RRSIG NSEC NXNAME) |"},
		{"a.alias.example.org.", dns.TypeAAAA, "NOERROR | a.alias/CNAME+sig web/AAAA+sig | |"},
		{"*foo.example.org.", dns.TypeA, "NOERROR | " + denied + "*foo/NSEC(RRSIG NSEC NXNAME) |"},
		{"tree.example.org.", dns.TypeDNAME, "NOERROR | tree/DNAME+sig | |"},
		{"leaf.tree.example.org.", dns.TypeA, "NOERROR | tree/DNAME+sig leaf.tree/CNAME leaf.forest/A+sig | |"},
		{"no.Tree.example.org.", dns.TypeA, "NOERROR | tree/DNAME+sig no.tree/CNAME " + denied + "no.forest/NSEC(RRSIG NSEC NXNAME) |"},
		{"x.gone.example.org.", dns.TypeA, "NOERROR | gone/DNAME+sig x.gone/CNAME | |"},
		{"host.signed.example.org.", dns.TypeA, "NOERROR -AA | | signed/NS signed/DS+sig | ns.signed/A"},
		{"signed.example.org.", dns.TypeDS, "NOERROR | signed/DS+sig | |"},
		{"host.plain.example.org.", dns.TypeA, "NOERROR -AA | | plain/NS plain/NSEC(NS RRSIG NSEC)+sig | ns.plain/AAAA ns1/A ns1/AAAA"},
		{"plain.example.org.", dns.TypeDS, "NOERROR | " + denied + "plain/NSEC(NS RRSIG NSEC) |"},
		{"ns.plain.example.org.", dns.TypeAAAA, "NOERROR -AA | | plain/NS plain/NSEC(NS RRSIG NSEC)+sig | ns.plain/AAAA ns1/A ns1/AAAA"},
		{"odd.example.org.", 65280, "NOERROR | odd/TYPE65280+sig | |"},
		{"odd.example.org.", dns.TypeA, "NOERROR | " + denied + "odd/NSEC(RRSIG NSEC TYPE65280) |"},
		{"_sip._tcp.example.org.", dns.TypeSRV, "NOERROR | _sip._tcp/SRV+sig | | mail/A+sig"},
		{"caa.example.org.", dns.TypeCAA, "NOERROR | caa/CAA+sig | |"},
		{"caa.example.org.", dns.TypeA, "NOERROR | " + denied + "caa/NSEC(RRSIG NSEC CAA) |"},
		{"caps.example.org.", dns.TypeNAPTR, "NOERROR | caps/NAPTR+sig | |"},
		{"svc.example.org.", dns.TypeHTTPS, "NOERROR | svc/HTTPS+sig | |"},
	} {
		t.Run(q.name+" "+dns.Type(q.rtype).String(), func(t *testing.T) {
			m := new(client).ask(t, z, q.name, q.rtype, nil)
			want := q.want
			if strings.Contains(want, denied) {
				want = strings.Replace(want, ") |", ")+sig |", 1)
			}
			if got := summary(m); strings.TrimSpace(got) != strings.TrimSpace(want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			keys := keysOf(t, z)
			for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
				for _, n := range verify(t, section, keys, time.Now()) {
					glue := i == 2 && !m.Authoritative
					delegation := i == 1 && n.rtype == dns.TypeNS
					if synthesized := n.rtype == dns.TypeCNAME && strings.Contains(summary(m), "/DNAME"); !delegation && !synthesized && !glue {
						t.Errorf("%s %s is not signed", n.owner, dns.Type(n.rtype))
					}
				}
				for _, rr := range section {
					if n, ok := rr.(*dns.NSEC); ok && n.NextDomain != "\\000."+dns.CanonicalName(n.Hdr.Name) {
						t.Errorf("%v does not end next to its owner", n)
					}
				}
			}
			if n := len(m.Answer); sigs > 1 && n > 0 && q.rtype == dns.TypeTXT && n != 1+sigs {
				t.Errorf("%d records in the answer, want the set and %d signatures", n, sigs)
			}
		})
	}
}

// wildCut is a wildcard with NS, whose expansions are answers and not delegations (RFC 4592 §4.2 leaves it open).
const wildCut = `
*.cuts        300  NS ns1
*.cuts        300  TXT "beside"
`

func TestWildcardWithNS(t *testing.T) {
	z := signedZone(t, newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}}), feature+wildCut)
	for rtype, want := range map[uint16]string{
		dns.TypeNS:    "NOERROR | a.cuts/NS+sig | | ns1/A+sig ns1/AAAA+sig",
		dns.TypeTXT:   "NOERROR | a.cuts/TXT+sig | |",
		dns.TypeRRSIG: "NOERROR |+sig | |",
		dns.TypeA:     "NOERROR | | /SOA+sig a.cuts/NSEC(TXT RRSIG NSEC)+sig |",
	} {
		m := new(client).ask(t, z, "a.cuts.example.org.", rtype, nil)
		if got := summary(m); got != want {
			t.Errorf("%s: got  %s\nwant %s", dns.Type(rtype), got, want)
		}
		for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
			if unsigned := verify(t, section, keysOf(t, z), time.Now()); unsigned != nil {
				t.Errorf("%s: unsigned %v", dns.Type(rtype), unsigned)
			}
		}
	}
}

// Every name, also one without data or that there is not, has signatures: those of its NSEC record at least, which says so.
func TestSignaturesOfNamesWithoutData(t *testing.T) {
	z := signedZone(t, newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}}), feature)
	for _, name := range []string{"no.example.org.", "ent.example.org."} {
		both := new(client).ask(t, z, name, dns.TypeNSEC, nil).Answer
		sigs := new(client).ask(t, z, name, dns.TypeRRSIG, nil).Answer
		if unsigned := verify(t, both, keysOf(t, z), time.Now()); len(both) != 2 || unsigned != nil {
			t.Errorf("%s NSEC: unsigned %v in %v", name, unsigned, both)
		}
		if len(sigs) != 1 || sigs[0].String() != both[1].String() {
			t.Errorf("%s RRSIG: %v, want that of %v", name, sigs, both)
		}
	}
	// With CO the code is that of the denial.
	for rtype, want := range map[uint16]string{
		dns.TypeNSEC:  "NXDOMAIN | no/NSEC(RRSIG NSEC NXNAME)+sig | |",
		dns.TypeRRSIG: "NXDOMAIN |+sig | |",
	} {
		m := new(client).ask(t, z, "no.example.org.", rtype, func(q *zone.Question) { q.Compact = true })
		if got := summary(m); got != want {
			t.Errorf("%s with CO: got  %s\nwant %s", dns.Type(rtype), got, want)
		}
	}
}

// Who sets CO gets the code NXDOMAIN with the proof (RFC 9824 §5.1), and who asks for no signatures gets none.
func TestCodesOfDenials(t *testing.T) {
	z := signedZone(t, newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}}), feature)
	for _, q := range []struct {
		name            string
		secure, compact bool
		want            string
	}{
		{"no.example.org.", true, false, "NOERROR | | /SOA+sig no/NSEC(RRSIG NSEC NXNAME)+sig |"},
		{"no.example.org.", true, true, "NXDOMAIN | | /SOA+sig no/NSEC(RRSIG NSEC NXNAME)+sig |"},
		{"no.example.org.", false, true, "NXDOMAIN | | /SOA |"},
		{"no.example.org.", false, false, "NXDOMAIN | | /SOA |"},
		{"ent.example.org.", true, true, "NOERROR | | /SOA+sig ent/NSEC(RRSIG NSEC)+sig |"},
		{"dangling.example.org.", true, true, "NXDOMAIN | dangling/CNAME+sig | /SOA+sig nowhere/NSEC(RRSIG NSEC NXNAME)+sig |"},
		{"web.example.org.", false, false, "NOERROR | web/AAAA | |"},
		{"x.plain.example.org.", false, false, "NOERROR -AA | | plain/NS | ns.plain/AAAA ns1/A ns1/AAAA"},
	} {
		m := new(client).ask(t, z, q.name, dns.TypeAAAA, func(z *zone.Question) { z.Secure, z.Compact = q.secure, q.compact })
		if got := summary(m); strings.TrimSpace(got) != strings.TrimSpace(q.want) {
			t.Errorf("%s: got  %s\nwant %s", q.name, got, q.want)
		}
	}
}

// The name next to one that nothing can stand below is another one.
func TestNextToTheLongestNames(t *testing.T) {
	z := signedZone(t, newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}}), feature)
	label := func(c string, n int) string { return strings.Repeat(c, n) }
	tail := "." + label("b", 63) + "." + label("c", 63) + ".example.org."
	last := strings.Repeat(`\255`, 52) // each is one octet
	for _, c := range []struct{ name, next string }{
		{label("a", 51) + "." + label("d", 50) + tail, `\000.` + label("a", 51) + "." + label("d", 50) + tail},
		{label("a", 52) + "." + label("d", 59) + tail, label("a", 52) + `\000.` + label("d", 59) + tail},
		{label("a", 53) + "." + label("d", 59) + tail, label("a", 52) + "b." + label("d", 59) + tail},
		{label("a", 52) + "@." + label("d", 59) + tail, label("a", 52) + "[." + label("d", 59) + tail},
		{label("a", 52) + `\255.` + label("d", 59) + tail, label("a", 51) + "b." + label("d", 59) + tail},
		{last + `\255.` + label("d", 59) + tail, label("d", 59) + `\000` + tail},
	} {
		m := new(client).ask(t, z, c.name, dns.TypeA, nil)
		i := slices.IndexFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNSEC })
		if i < 0 {
			t.Fatalf("%s: no NSEC in\n%v", c.name, m)
		}
		if got := m.Ns[i].(*dns.NSEC).NextDomain; strings.ReplaceAll(got, `\@`, "@") != c.next {
			t.Errorf("next to %s\nis %s\nwant %s", c.name, got, c.next)
		}
		if unsigned := verify(t, m.Ns, keysOf(t, z), time.Now()); unsigned != nil {
			t.Errorf("unsigned: %v", unsigned)
		}
	}
}

// What does not fit is said to be cut, whole or not at all.
func TestSignedAnswersAreCutWhole(t *testing.T) {
	z := change(t, signedZone(t, newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}}), feature), pool("pool.example.org.", 16, 0, 5))
	for _, f := range append(slices.Clone(forms), struct {
		name, owner string
		rtype       uint16
	}{"16", "pool.example.org.", dns.TypeAAAA}) {
		whole := len(mustPack(t, new(client).ask(t, z, f.owner, f.rtype, nil)))
		for room := len(f.owner) + 40; room < 700; room += 7 {
			c := new(client)
			wire := mustPack(t, &dns.Msg{Question: []dns.Question{{Name: f.owner, Qtype: f.rtype, Qclass: dns.ClassINET}}})
			end, err := c.question.Parse(wire)
			if err != nil {
				t.Fatal(err)
			}
			c.question.Secure = true
			c.reply.Start(c.buf[:room], wire, end)
			z.Answer(&c.question, &c.reply)
			var m dns.Msg
			if err := m.Unpack(c.reply.Bytes()); err != nil {
				t.Fatalf("%s in %d octets: %v", f.name, room, err)
			}
			if unsigned := verify(t, m.Answer, keysOf(t, z), time.Now()); unsigned != nil {
				t.Errorf("%s in %d octets: %v without signatures", f.name, room, unsigned)
			}
			if m.Truncated && len(m.Answer) > 0 {
				t.Errorf("%s in %d octets: cut, with %v", f.name, room, m.Answer)
			}
			if !m.Truncated && room < whole/2 {
				t.Errorf("%s fits %d octets", f.name, room)
			}
		}
	}
}

func mustPack(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}
