// SPDX-License-Identifier: Apache-2.0

package dnssec_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// listen serves a zone and returns the port on ::1.
func listen(t *testing.T, catalog *zone.Catalog) string {
	t.Helper()
	s := server.New(server.Config{Listen: []string{"[::1]:0"}, Catalog: catalog, Registerer: prometheus.NewRegistry()})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	address := fmt.Sprint(s.Addrs()[0])
	return address[strings.LastIndex(address, ":")+1:]
}

// Unbound, which shares no line with this, finds every form of answer secure, over UDP and TCP.
func TestUnboundValidates(t *testing.T) {
	host, err := exec.LookPath("unbound-host")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("unbound-host is needed")
		}
		t.Skip("SKIPPED: no validator is here (hint: make setup, or apt-get install unbound-host)")
	}
	for _, algorithm := range []uint8{dns.ECDSAP256SHA256, dns.ED25519} {
		t.Run(dns.AlgorithmToString[algorithm], func(t *testing.T) {
			ksk := newKey(t, algorithm, true)
			s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{ksk, newKey(t, algorithm, false)}})
			catalog := new(zone.Catalog)
			catalog.Publish(change(t, signedZone(t, s, feature), pool("pool.example.org.", 24, 8, 5), pool("large.example.org.", 200, 0, 5)))
			port := listen(t, catalog)
			config := func(anchor string) string {
				path := filepath.Join(t.TempDir(), "unbound.conf")
				text := fmt.Sprintf("server:\n  do-not-query-localhost: no\n  username: \"\"\n  chroot: \"\"\n  trust-anchor: \"%s\"\nstub-zone:\n  name: example.org\n  stub-addr: ::1@%s\n", strings.ReplaceAll(anchor, "\t", " "), port)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			ask := func(config, name, rtype string) string {
				out, err := exec.CommandContext(t.Context(), host, "-C", config, "-v", "-t", rtype, name).CombinedOutput()
				if err != nil && len(out) == 0 {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(out))
			}
			good := config(ksk.DS(3600).String())
			for _, q := range [][2]string{
				{"example.org", "SOA"},
				{"example.org", "DNSKEY"},
				{"example.org", "CDS"},
				{"example.org", "A"},
				{"www2.example.org", "AAAA"},
				{"www2.example.org", "TXT"},
				{"dangling.example.org", "A"},
				{"no.example.org", "A"},
				{"no.at.all.example.org", "MX"},
				{"ent.example.org", "A"},
				{"any.wild.example.org", "TXT"},
				{"any.wild.example.org", "MX"},
				{"any.alias.example.org", "AAAA"},
				{"leaf.tree.example.org", "A"},
				{"nope.tree.example.org", "A"},
				{"signed.example.org", "DS"},
				{"plain.example.org", "DS"},
				{"odd.example.org", "TYPE65280"},
				{"caps.example.org", "NAPTR"},
				{"_sip._tcp.example.org", "SRV"},
				{"svc.example.org", "HTTPS"},
				{"pool.example.org", "AAAA"},
				{"pool.example.org", "AAAA"},
				{"pool.example.org", "A"},
				{"large.example.org", "AAAA"}, // over TCP
			} {
				got := ask(good, q[0], q[1])
				for line := range strings.Lines(got) {
					if !strings.HasSuffix(strings.TrimSpace(line), "(secure)") {
						t.Errorf("%s %s: %s", q[0], q[1], strings.TrimSpace(line))
					}
				}
				if got == "" {
					t.Errorf("%s %s: nothing", q[0], q[1])
				}
			}
			// It does look: with the anchor of another key, everything is bogus.
			bad := config(newKey(t, algorithm, true).DS(3600).String())
			if got := ask(bad, "web.example.org", "AAAA"); !strings.Contains(strings.ToLower(got), "(bogus") && !strings.Contains(got, "SERVFAIL") {
				t.Errorf("with another anchor: %s", got)
			}
		})
	}
}
