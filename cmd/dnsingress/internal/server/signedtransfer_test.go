// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// TestSignedTransfer has servers without keys get a zone that is signed as it is answered: every set of their answers
// must have a signature that holds, denials too, also after a change.
func TestSignedTransfer(t *testing.T) {
	others := found(t)
	rng := rand.New(rand.NewPCG(3, 7))
	text, names := everything(rng)
	z, err := parse(t, text).With(pools(rng)...)
	if err != nil {
		t.Fatal(err)
	}
	key, err := dnssec.Generate("example.org.", dns.ED25519, true)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dnssec.New("example.org.", dnssec.Options{Keys: []*dnssec.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	if z, err = signer.Sign(z); err != nil {
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
	us := serve(t, catalog, transfer.Options{Default: policy, Signed: true})
	for path, p := range others {
		p.start(t, path, at[path], us)
	}
	for range 2 {
		for path, p := range others {
			p.reaches(t, at[path], z.Serial())
			verified := 0
			conn := dial(t, at[path])
			for _, name := range names {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeMX, dns.TypeDS, dns.TypeTXT, dns.TypeSOA} {
					query := new(dns.Msg).SetQuestion(name, qtype)
					query.SetEdns0(4096, true)
					verified += verify(t, p.name, exchange(t, conn, query), z)
				}
			}
			if verified < 2*len(names) {
				t.Errorf("%s: only %d signatures in the answers for %d names", p.name, verified, len(names))
			}
		}
		if z, err = z.With(pools(rng)...); err != nil {
			t.Fatal(err)
		}
		catalog.Publish(z)
	}
}

// verify checks the sets of an answer that must be signed, and returns how many signatures held.
func verify(t *testing.T, who string, m *dns.Msg, z *zone.Zone) int {
	t.Helper()
	apex, _ := z.RRsets("example.org.")
	var keys []*dns.DNSKEY
	for _, s := range apex {
		for _, rr := range s.Records {
			if k, ok := rr.(*dns.DNSKEY); ok {
				keys = append(keys, k)
			}
		}
	}
	type set struct {
		owner string
		rtype uint16
	}
	verified := 0
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		sets, dnames := map[set][]dns.RR{}, []string{}
		for _, rr := range section {
			h := rr.Header()
			k := set{dns.CanonicalName(h.Name), h.Rrtype}
			if h.Rrtype != dns.TypeRRSIG {
				sets[k] = append(sets[k], rr)
			}
			if h.Rrtype == dns.TypeDNAME {
				dnames = append(dnames, k.owner)
			}
		}
		for k, rrs := range sets {
			held := false
			for _, rr := range section {
				sig, ok := rr.(*dns.RRSIG)
				if !ok || dns.CanonicalName(sig.Hdr.Name) != k.owner || sig.TypeCovered != k.rtype {
					continue
				}
				for _, key := range keys {
					held = held || sig.Verify(key, rrs) == nil && sig.ValidityPeriod(time.Now())
				}
			}
			made := false // of a DNAME, which is signed in its place (RFC 6672 §5.3.1)
			for _, d := range dnames {
				made = made || k.rtype == dns.TypeCNAME && k.owner != d && dns.IsSubDomain(d, k.owner)
			}
			referral := k.rtype == dns.TypeNS && k.owner != "example.org."
			switch {
			case held:
				verified++
			case !made && !referral:
				t.Errorf("%s: no signature of %s %s holds:\n%v", who, k.owner, dns.Type(k.rtype), m)
			}
		}
	}
	return verified
}
