// SPDX-License-Identifier: Apache-2.0

package dnssec_test

import (
	"crypto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// What is written is read again, here and by another implementation.
func TestKeyFiles(t *testing.T) {
	for _, algorithm := range []uint8{dns.ECDSAP256SHA256, dns.ED25519} {
		t.Run(dns.AlgorithmToString[algorithm], func(t *testing.T) {
			dir := t.TempDir()
			k := newKey(t, algorithm, true)
			paths, err := k.Write(dir, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{paths[0], paths[1], filepath.Join(dir, k.Name())} {
				got, err := dnssec.Load(path)
				if err != nil {
					t.Fatal(err)
				}
				if got.DNSKEY(0).String() != k.DNSKEY(0).String() || got.Tag() != k.Tag() || !got.SignsKeys() {
					t.Errorf("read %v, want %v", got.DNSKEY(0), k.DNSKEY(0))
				}
			}
			if _, err := k.Write(dir, time.Now()); err == nil {
				t.Error("a key overwrote another")
			}
			info, err := os.Stat(filepath.Join(dir, k.Name()+".private"))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the private file: %v, %v", info.Mode(), err)
			}
			// miekg/dns signs with the private file and verifies with the public one.
			f, err := os.Open(filepath.Join(dir, k.Name()+".private"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			private, err := k.DNSKEY(0).ReadPrivateKey(f, f.Name())
			if err != nil {
				t.Fatal(err)
			}
			sig := &dns.RRSIG{KeyTag: k.Tag(), SignerName: "example.org.", Algorithm: algorithm, Inception: 1, Expiration: 2}
			set := records(t, "a 60 A 192.0.2.1")
			if err := sig.Sign(private.(crypto.Signer), set); err != nil {
				t.Fatal(err)
			}
			if err := sig.Verify(k.DNSKEY(0), set); err != nil {
				t.Error(err)
			}
		})
	}
}

// Two signers with the same keys make the same signatures, so replicas answer for one another and a restart changes nothing.
func TestReplicasSignAlike(t *testing.T) {
	for _, algorithm := range []uint8{dns.ECDSAP256SHA256, dns.ED25519} {
		k := newKey(t, algorithm, true)
		now := time.Now()
		var first string
		for i := range 2 {
			s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{k}, Now: func() time.Time { return now }})
			m := new(client).ask(t, signedZone(t, s, feature), "caa.example.org.", dns.TypeCAA, nil)
			sig := m.Answer[1].(*dns.RRSIG)
			if i == 0 {
				first = sig.String()
			} else if sig.String() != first {
				t.Errorf("%v\nbut the other has\n%v", sig, first)
			}
		}
	}
}

// Replicas that have the records of a set in another order make the same signatures all the same.
func TestOrderOfRecordsDoesNotMatter(t *testing.T) {
	k, now := newKey(t, dns.ECDSAP256SHA256, true), time.Now()
	signature := func(set string) string {
		s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{k}, Now: func() time.Time { return now }})
		return new(client).ask(t, signedZone(t, s, feature+set), "two.example.org.", dns.TypeTXT, nil).Answer[2].String()
	}
	one, other := signature("two 60 TXT a\ntwo 60 TXT b\n"), signature("two 60 TXT b\ntwo 60 TXT a\n")
	if one != other {
		t.Errorf("%s\nbut in the other order\n%s", one, other)
	}
}

// A key is replaced by having both for a while; whoever knows only one of them can validate all the time.
func TestRollover(t *testing.T) {
	old, next := newKey(t, dns.ECDSAP256SHA256, true), newKey(t, dns.ECDSAP256SHA256, true)
	oldZSK, nextZSK := newKey(t, dns.ECDSAP256SHA256, false), newKey(t, dns.ECDSAP256SHA256, false)
	edKSK, edZSK := newKey(t, dns.ED25519, true), newKey(t, dns.ED25519, false)
	for _, step := range []struct {
		name         string
		keys         []*dnssec.Key
		signs, rest  []*dnssec.Key // of DNSKEY, and of everything else
		cds, dnskeys int
	}{
		{"one", []*dnssec.Key{old}, []*dnssec.Key{old}, []*dnssec.Key{old}, 1, 1},
		{"both", []*dnssec.Key{old, next}, []*dnssec.Key{old, next}, []*dnssec.Key{old, next}, 2, 2},
		{"the other", []*dnssec.Key{next}, []*dnssec.Key{next}, []*dnssec.Key{next}, 1, 1},
		{"both of two zone keys", []*dnssec.Key{next, oldZSK, nextZSK}, []*dnssec.Key{next}, []*dnssec.Key{oldZSK, nextZSK}, 1, 3},
		{"another algorithm", []*dnssec.Key{next, newKey(t, dns.ED25519, true)}, []*dnssec.Key{next}, []*dnssec.Key{next}, 2, 2},
		{"a pair of another algorithm", []*dnssec.Key{next, edKSK, edZSK}, []*dnssec.Key{next, edKSK}, []*dnssec.Key{next, edZSK}, 2, 3},
	} {
		t.Run(step.name, func(t *testing.T) {
			z := signedZone(t, newSigner(t, dnssec.Options{Keys: step.keys}), feature)
			c := new(client)
			tags := func(m *dns.Msg) map[uint16]bool {
				got := map[uint16]bool{}
				for _, rr := range m.Answer {
					if sig, ok := rr.(*dns.RRSIG); ok {
						got[sig.KeyTag] = true
					}
				}
				if unsigned := verify(t, m.Answer, keysOf(t, z), time.Now()); unsigned != nil {
					t.Errorf("unsigned: %v", unsigned)
				}
				return got
			}
			for rtype, want := range map[uint16][]*dnssec.Key{dns.TypeDNSKEY: step.signs, dns.TypeCDS: step.signs, dns.TypeMX: step.rest} {
				got := tags(c.ask(t, z, "example.org.", rtype, nil))
				for _, k := range want {
					if !got[k.Tag()] {
						t.Errorf("%s is signed by %v, but not by %d", dns.Type(rtype), got, k.Tag())
					}
				}
			}
			if n := len(keysOf(t, z)); n != step.dnskeys {
				t.Errorf("%d keys are published, want %d", n, step.dnskeys)
			}
			cds := 0
			for _, rr := range c.ask(t, z, "example.org.", dns.TypeCDS, nil).Answer {
				if _, ok := rr.(*dns.CDS); ok {
					cds++
				}
			}
			if cds != step.cds {
				t.Errorf("%d CDS, want %d", cds, step.cds)
			}
		})
	}
}

// Keys of an apex that changes stay, and no change can bring in what is made for answers.
func TestChangesOfTheApexKeepTheKeys(t *testing.T) {
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, true)}})
	z := change(t, signedZone(t, s, feature), pool("example.org.", 3, 0, 5))
	m := new(client).ask(t, z, "example.org.", dns.TypeAAAA, nil)
	if unsigned := verify(t, m.Answer, keysOf(t, z), time.Now()); unsigned != nil || len(m.Answer) != 4 {
		t.Errorf("unsigned: %v in\n%v", unsigned, m)
	}
	bad := pool("x.example.org.", 1, 0, 5)
	bad.RRsets[0] = zone.RRset{Type: dns.TypeNSEC, TTL: 60, Records: records(t, "x 60 NSEC y A")}
	if _, err := z.With(bad); err == nil || !strings.Contains(err.Error(), "NSEC in a zone that is signed as it answers") {
		t.Errorf("a change to NSEC: %v", err)
	}
}

func TestWhatIsWrongWithOptions(t *testing.T) {
	k := newKey(t, dns.ED25519, true)
	for _, c := range []struct {
		origin string
		o      dnssec.Options
		want   string
	}{
		{"example.org.", dnssec.Options{}, "there is no key"},
		{"example.net.", dnssec.Options{Keys: []*dnssec.Key{k}}, "is for the zone example.org."},
		{"example.org.", dnssec.Options{Keys: []*dnssec.Key{k, k}}, "is given twice"},
		{"example.org.", dnssec.Options{Keys: []*dnssec.Key{newKey(t, dns.ED25519, false)}}, "no key of algorithm ED25519 has flags 257"},
		{"example.org.", dnssec.Options{Keys: []*dnssec.Key{k}, Validity: time.Minute}, "a validity of 1m0s (hint: 24h0m0s to 2160h0m0s)"},
	} {
		if _, err := dnssec.New(c.origin, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%s): %v, want %q", c.origin, err, c.want)
		}
	}
}
