// SPDX-License-Identifier: Apache-2.0

package dnssec_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// listen serves a zone and returns the port on ::1.
func listen(t *testing.T, catalog *zone.Catalog, transfers server.Handler) string {
	t.Helper()
	s := server.New(server.Config{Listen: []string{"[::1]:0"}, Catalog: catalog, Transfer: transfers, Registerer: prometheus.NewRegistry()})
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

// need returns the path of a program that a test cannot do without.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(program + " is needed")
	}
	t.Skip("NOT RUN: there is no " + program + " (hint: make setup)")
	return ""
}

// unbound writes a configuration that trusts a key and asks a port, and returns its path.
func unbound(t *testing.T, port string, anchor *dnssec.Key) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "unbound.conf")
	text := fmt.Sprintf("server:\n  do-not-query-localhost: no\n  username: \"\"\n  chroot: \"\"\n  trust-anchor: \"%s\"\nstub-zone:\n  name: example.org\n  stub-addr: ::1@%s\n",
		strings.ReplaceAll(anchor.DS(3600).String(), "\t", " "), port)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// validate asks with Unbound's library.
func validate(t *testing.T, host, config, name, rtype string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out, err := exec.CommandContext(ctx, host, "-C", config, "-v", "-t", rtype, name).CombinedOutput()
	if err != nil && len(out) == 0 || ctx.Err() != nil {
		t.Fatalf("%s %s: %v: %s", name, rtype, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Unbound, which shares no line with this, finds every form of answer secure, over UDP and TCP.
func TestUnboundValidates(t *testing.T) {
	host := need(t, "unbound-host")
	for _, algorithm := range []uint8{dns.ECDSAP256SHA256, dns.ED25519} {
		t.Run(dns.AlgorithmToString[algorithm], func(t *testing.T) {
			ksk := newKey(t, algorithm, true)
			s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{ksk, newKey(t, algorithm, false)}})
			catalog := new(zone.Catalog)
			catalog.Publish(change(t, signedZone(t, s, feature+wildCut), pool("pool.example.org.", 24, 8, 5), pool("large.example.org.", 200, 0, 5)))
			port := listen(t, catalog, nil)
			good := unbound(t, port, ksk)
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
				{"no.example.org", "NSEC"},
				{"no.example.org", "RRSIG"},
				{"ent.example.org", "A"},
				{"ent.example.org", "NSEC"},
				{"ent.example.org", "RRSIG"},
				{"web.example.org", "RRSIG"},
				{"a.cuts.example.org", "TXT"},
				{"a.cuts.example.org", "NS"},
				{"a.cuts.example.org", "A"},
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
				got := validate(t, host, good, q[0], q[1])
				verdict := "(secure)"
				if q[1] == "RRSIG" {
					verdict = "(insecure)" // there is no signature over signatures, RFC 4035 §2.2; but none is denied
				}
				for line := range strings.Lines(got) {
					if !strings.HasSuffix(strings.TrimSpace(line), verdict) {
						t.Errorf("%s %s: %s", q[0], q[1], strings.TrimSpace(line))
					}
				}
				if got == "" {
					t.Errorf("%s %s: nothing", q[0], q[1])
				}
			}
			// It does look: with the anchor of another key, everything is bogus.
			bad := unbound(t, port, newKey(t, algorithm, true))
			if got := validate(t, host, bad, "web.example.org", "AAAA"); !strings.Contains(strings.ToLower(got), "(bogus") && !strings.Contains(got, "SERVFAIL") {
				t.Errorf("with another anchor: %s", got)
			}
		})
	}
}

// secondary starts a Knot DNS that validates what it takes from a port, and returns its port on ::1 and what it logged
// until it had the zone, unless it could not have that port.
func secondary(t *testing.T, knot, primary string) (port string, seen []string, bound bool) {
	t.Helper()
	free, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	port = fmt.Sprint(free.LocalAddr().(*net.UDPAddr).Port)
	free.Close()
	dir := t.TempDir()
	text := fmt.Sprintf(`server:
    rundir: %[1]s
    listen: ::1@%[2]s
database:
    storage: %[1]s
log:
  - target: stderr
    any: info
remote:
  - id: primary
    address: ::1@%[3]s
zone:
  - domain: example.org
    storage: %[1]s
    zonefile-sync: -1
    zonefile-load: none
    master: primary
    dnssec-validation: on
`, dir, port, primary)
	if err := os.WriteFile(filepath.Join(dir, "knot.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute) // to end the wait below, whatever happens
	t.Cleanup(stop)
	c := exec.CommandContext(ctx, knot, "-c", filepath.Join(dir, "knot.conf"))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 10 * time.Second
	lines, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt)
		_ = c.Wait()
	})
	for scan := bufio.NewScanner(lines); scan.Scan(); {
		seen = append(seen, scan.Text())
		if strings.Contains(scan.Text(), "zone updated") {
			return port, seen, true
		}
		if strings.Contains(scan.Text(), "cannot bind") {
			return port, seen, false
		}
		if strings.Contains(scan.Text(), " error: ") {
			t.Fatalf("Knot DNS: %s", strings.Join(seen, "\n"))
		}
	}
	t.Fatalf("Knot DNS ended: %s", strings.Join(seen, "\n"))
	return port, seen, false
}

// A Knot DNS without keys takes a signed zone, finds it whole and well signed, and answers what Unbound finds secure.
func TestKnotTakesTheSignedZone(t *testing.T) {
	knot, host := need(t, "knotd"), need(t, "unbound-host")
	ksk := newKey(t, dns.ECDSAP256SHA256, true)
	s := newSigner(t, dnssec.Options{Keys: []*dnssec.Key{ksk, newKey(t, dns.ECDSAP256SHA256, false)}})
	catalog := new(zone.Catalog)
	allow := transfer.Grant{}
	if err := allow.UnmarshalText([]byte("::1")); err != nil {
		t.Fatal(err)
	}
	transfers, err := transfer.New(transfer.Options{
		Catalog: catalog, Signed: true, Default: transfer.Policy{Allow: transfer.Access{allow}}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	catalog.Publish(change(t, signedZone(t, s, feature), pool("pool.example.org.", 24, 8, 5), zone.Change{Owner: "empty.example.org."}))
	primary := listen(t, catalog, transfers)
	var port string
	var seen []string
	for try, bound := 0, false; !bound; try++ { // another can take the port before Knot DNS does
		if try == 5 {
			t.Fatalf("Knot DNS: %s", strings.Join(seen, "\n"))
		}
		port, seen, bound = secondary(t, knot, primary)
	}
	if !strings.Contains(strings.Join(seen, "\n"), "DNSSEC, validation successful") {
		t.Errorf("Knot DNS does not say that the zone is well signed:\n%s", strings.Join(seen, "\n"))
	}
	config := unbound(t, port, ksk)
	for _, q := range [][2]string{
		{"example.org", "SOA"},
		{"pool.example.org", "AAAA"},
		{"any.wild.example.org", "TXT"},
		{"no.example.org", "A"},
		{"leaf.tree.example.org", "A"},
		{"plain.example.org", "DS"},
		{"ent.example.org", "A"},
		{"empty.example.org", "A"},
	} {
		got := validate(t, host, config, q[0], q[1])
		for line := range strings.Lines(got + "\n") {
			if !strings.HasSuffix(strings.TrimSpace(line), "(secure)") {
				t.Errorf("%s %s: %q\n%s", q[0], q[1], got, strings.Join(seen, "\n"))
			}
		}
	}
}
