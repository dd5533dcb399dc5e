// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

const interopSecret = "aW50ZXJvcGVyYWJpbGl0eSB3aXRoIG90aGVyIHNlcnZlcnM="

// signed are the peers again, with a key for everything. Knot DNS is a primary too: of example.net, whose file is
// read again at SIGHUP and gives differences.
func signed() []peer {
	return []peer{
		{"Knot DNS", "knotd", []string{"-c", "DIR/conf"}, `server:
    rundir: "DIR"
    listen: 127.0.0.1@PORT
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: "DIR"
key:
  - id: interop
    algorithm: ALGORITHM
    secret: ` + interopSecret + `
remote:
  - id: us
    address: PRIMARY@PRIMARYPORT
    key: interop
acl:
  - id: notify
    address: PRIMARY
    key: interop
    action: notify
  - id: transfer
    key: interop
    action: transfer
zone:
  - domain: example.org
    storage: "DIR"
    master: us
    acl: [notify, transfer]
    zonefile-sync: -1
    semantic-checks: off
  - domain: example.net
    file: "ZONE"
    notify: us
    acl: transfer
    zonefile-sync: -1
    zonefile-load: difference
    journal-content: changes
`},
		{"NSD", "nsd", []string{"-d", "-c", "DIR/conf"}, `server:
    server-count: 1
    ip-address: 127.0.0.1@PORT
    username: ""
    chroot: ""
    zonesdir: "DIR"
    database: ""
    xfrdfile: "DIR/xfrd.state"
    xfrdir: "DIR"
    zonelistfile: "DIR/zone.list"
    pidfile: "DIR/pid"
    xfrd-reload-timeout: 0
remote-control:
    control-enable: no
key:
    name: interop
    algorithm: ALGORITHM
    secret: ` + interopSecret + `
zone:
    name: example.org
    zonefile: "DIR/zone"
    request-xfr: PRIMARY@PRIMARYPORT interop
    allow-notify: PRIMARY interop
    provide-xfr: 127.0.0.1 interop
`},
	}
}

// TestInterop has zones go to Knot DNS and NSD, and come from Knot DNS, whole and by differences, with every message
// signed.
func TestInterop(t *testing.T) {
	paths := map[string]peer{}
	for _, p := range signed() {
		path, err := exec.LookPath(p.program)
		if err != nil {
			hint := fmt.Sprintf("%s is needed (hint: make setup unpacks it)", p.program)
			if os.Getenv("CI") == "true" {
				t.Fatal(hint)
			}
			t.Skip("NOT RUN: transfers with other name servers: " + hint)
		}
		paths[path] = p
	}
	for _, algorithm := range []string{"hmac-sha256", "hmac-sha384", "hmac-sha512"} {
		t.Run(algorithm, func(t *testing.T) { interop(t, paths, algorithm) })
	}
}

func interop(t *testing.T, others map[string]peer, algorithm string) {
	key, err := transfer.NewKey("interop", algorithm, interopSecret)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	text, _ := everything(rng)
	z := parse(t, text)
	catalog := new(zone.Catalog)
	catalog.Publish(z)
	registry := prometheus.NewRegistry()
	o := transfer.Options{Keys: transfer.Keys{key.Name: key}, Registerer: registry}
	o.Default.Allow = transfer.Access{{Key: key.Name}}
	at := map[string]netip.AddrPort{}
	for path, p := range others {
		at[path] = freePort(t)
		r := transfer.Remote{Addr: at[path], Key: key.Name}
		o.Default.Notify = append(o.Default.Notify, r)
		if p.program == "knotd" {
			o.Secondaries = []transfer.Secondary{{Origin: "example.net.", Primaries: []transfer.Remote{r}}}
		}
	}
	other := filepath.Join(t.TempDir(), "zone")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(other, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const before = "example.net. 300 SOA ns host 1 3600 600 86400 60\nexample.net. 300 NS ns.example.org.\na.example.net. 300 A 192.0.2.1\nb.example.net. 300 TXT \"b\"\nb.example.net. 300 A 192.0.2.2\n"
	const after = "example.net. 300 SOA ns host 2 3600 600 86400 60\nexample.net. 300 NS ns.example.org.\nb.example.net. 300 A 192.0.2.2\nc.example.net. 60 A 192.0.2.3\nc.example.net. 60 MX 5 b.example.net.\n"
	write(before)
	us := serve(t, catalog, o)
	var reload func()
	for path, p := range others {
		again := p.start(t, path, at[path], us, "ALGORITHM", algorithm, "ZONE", other)
		if p.program == "knotd" {
			reload = again
		}
	}
	same := func() {
		t.Helper()
		for path, p := range others {
			p.reaches(t, at[path], z.Serial())
			if d := cmp.Diff(whole(t, us, algorithm), whole(t, at[path], algorithm)); d != "" {
				t.Errorf("%s: %s", p.name, d)
			}
		}
	}
	same()
	for range 3 {
		if z, err = z.With(pools(rng)...); err != nil {
			t.Fatal(err)
		}
		catalog.Publish(z)
		same()
	}
	if given := counted(t, registry, "dnsingress_transfers_out_total", "ixfr"); given < 3*len(others) {
		t.Errorf("%d differences were transferred", given)
	}
	follows := func(serial uint32) *zone.Zone {
		t.Helper()
		for end := time.Now().Add(allow); ; time.Sleep(20 * time.Millisecond) {
			if z := catalog.Zone("example.net."); z.Serial() == serial {
				return z
			}
			if time.Now().After(end) {
				t.Fatalf("serial %d does not come", serial)
			}
		}
	}
	follows(1)
	write(after)
	reload() // Knot DNS tells us
	z = follows(2)
	var got []string
	for r := range z.Records() {
		rr, err := r.RR()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rr.String())
	}
	if len(got) != 4 {
		t.Errorf("from Knot DNS: %q", got)
	}
	if taken := counted(t, registry, "dnsingress_transfers_in_total", "ixfr"); taken != 1 {
		t.Errorf("%d differences came in", taken)
	}
}

// whole transfers the zone from a server and gives its records as sorted text.
func whole(t *testing.T, at netip.AddrPort, algorithm string) []string {
	t.Helper()
	m := new(dns.Msg).SetAxfr("example.org.")
	m.SetTsig("interop.", algorithm+".", 300, time.Now().Unix())
	tr := &dns.Transfer{TsigSecret: map[string]string{"interop.": interopSecret}, ReadTimeout: allow}
	in, err := tr.In(m, at.String())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for e := range in {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		for _, rr := range e.RR {
			if rr.Header().Rrtype == dns.TypeSOA && len(lines) > 0 {
				continue // the last
			}
			lines = append(lines, strings.ToLower(rr.String()))
		}
	}
	slices.Sort(lines)
	return lines
}
