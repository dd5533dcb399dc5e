// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zonefile"
	"github.com/miekg/dns"
)

// peer is another authoritative server: how it is configured and started in the foreground. Of its
// configuration, PORT, DIR and ZONE are replaced.
type peer struct {
	name, program string
	args          []string
	config        string
}

var peers = []peer{
	{"Knot DNS", "knotd", []string{"-c", "DIR/conf"}, `server:
    rundir: "DIR"
    listen: 127.0.0.1@PORT
    udp-workers: 1
    tcp-workers: 1
log:
  - target: stderr
    any: error
database:
    storage: "DIR"
zone:
  - domain: example.org
    file: "ZONE"
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
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
    minimal-responses: yes
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: example.org
    zonefile: "ZONE"
`},
	{"BIND", "named", []string{"-g", "-c", "DIR/conf"}, `options {
    directory "DIR"; pid-file "DIR/pid"; session-keyfile "DIR/session.key";
    listen-on port PORT { 127.0.0.1; }; listen-on-v6 { none; };
    recursion no; minimal-responses yes; minimal-any yes; dnssec-validation no; notify no;
    check-names primary ignore; check-integrity no; check-mx ignore; check-sibling no; check-srv-cname ignore; check-mx-cname ignore;
};
controls { };
zone "example.org" { type primary; file "ZONE"; };
`},
}

// start runs the peer for a zone file and returns its address.
func (p peer) start(t *testing.T, path, zoneFile string) string {
	t.Helper()
	dir := t.TempDir()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := pc.LocalAddr().String()
	pc.Close()
	_, port, _ := net.SplitHostPort(address)
	fill := strings.NewReplacer("PORT", port, "DIR", dir, "ZONE", zoneFile)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(fill.Replace(p.config)), 0o644); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, a := range p.args {
		args = append(args, fill.Replace(a))
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	c := &dns.Client{Timeout: time.Second}
	for end := time.Now().Add(patience); ; {
		m, _, err := c.Exchange(ask("example.org.", dns.TypeSOA), address)
		if err == nil && len(m.Answer) == 1 {
			return address
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", p.name, log.String())
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(end) {
			stop()
			<-ended
			t.Fatalf("%s does not answer for the zone: %v %v %s", p.name, m, err, log.String())
		}
	}
}

// TestDifferential asks generated zones of other servers as well. An answer of ours that none of them gives is
// an error; where they differ among themselves, one of them has to agree with us.
func TestDifferential(t *testing.T) {
	zones, err := strconv.ParseUint(os.Getenv("DIFFERENTIAL"), 10, 64)
	if err != nil || zones == 0 {
		t.Skip("NOT RUN: the comparison with other name servers (hint: apt-get install knot nsd bind9, and DIFFERENTIAL=3 for three zones)")
	}
	found := 0
	for _, p := range peers {
		if _, err := exec.LookPath(p.program); err == nil {
			found++
		} else {
			t.Logf("%s is not there: %v", p.name, err)
		}
	}
	if found < 2 {
		t.Fatal("at least two of knotd, nsd and named are needed")
	}
	for seed := range zones {
		t.Run(fmt.Sprint("zone ", seed), func(t *testing.T) { differential(t, seed) })
	}
}

func differential(t *testing.T, seed uint64) {
	text, names := everything(rand.New(rand.NewPCG(seed, 7)))
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	z, _, err := zonefile.Load(file, "")
	if err != nil {
		t.Fatal(err)
	}
	catalog := new(zone.Catalog)
	catalog.Publish(z)
	responder, buf := NewResponder(catalog), make([]byte, maxMessage)
	var who []string
	var conns []*dns.Conn
	for _, p := range peers {
		path, err := exec.LookPath(p.program)
		if err != nil {
			continue
		}
		conn, err := dns.Dial("udp", p.start(t, path, file))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.UDPSize = 4096
		who, conns = append(who, p.name), append(conns, conn)
	}
	asked, split, wrong := 0, 0, 0
	for _, name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeDNAME, dns.TypeMX, dns.TypeTXT, dns.TypeDS, dns.TypeSRV, 65280} {
			query := ask(name, qtype)
			query.SetEdns0(4096, false)
			asked++
			ours := essence(unpack(t, responder.Respond(buf, pack(t, query), Peer{TCP: true})), z)
			var theirs []string
			for _, conn := range conns {
				conn.SetDeadline(time.Now().Add(patience))
				if err := conn.WriteMsg(query); err != nil {
					t.Fatal(err)
				}
				m, err := conn.ReadMsg()
				if err != nil {
					t.Fatal(err)
				}
				theirs = append(theirs, essence(m, z))
			}
			if len(slices.Compact(slices.Sorted(slices.Values(theirs)))) > 1 {
				split++
			}
			if slices.Contains(theirs, ours) {
				continue
			}
			if wrong++; wrong <= 10 {
				report := fmt.Sprintf("%s %s\nours:\n%s", name, dns.Type(qtype), ours)
				for i := range who {
					report += fmt.Sprintf("%s:\n%s", who[i], theirs[i])
				}
				t.Error(report)
			}
		}
	}
	t.Logf("%d questions to %s: they differ among themselves in %d, nobody agrees with us in %d", asked, strings.Join(who, ", "), split, wrong)
	if wrong > 0 {
		t.Logf("the zone:\n%s", text)
	}
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

// everything makes a zone with what can meet in one, and the names to ask for. It keeps to what all peers load.
func everything(rng *rand.Rand) (text string, names []string) {
	var b strings.Builder
	b.WriteString("$ORIGIN example.org.\n$TTL 300\n@ SOA ns1 host 7 3600 600 86400 60\n@ NS ns1\n@ NS ns.example.net.\n@ MX 10 m\nns1 A 192.0.2.1\nns1 AAAA 2001:db8::1\n")
	labels := []string{"a", "b", "c", "d", "*", "M", "x-y"}
	name := func() string {
		parts := make([]string, 1+rng.IntN(3))
		for i := range parts {
			parts[i] = labels[rng.IntN(len(labels))]
		}
		return strings.Join(parts, ".")
	}
	seen := map[string]bool{"": true, "ns1": true}
	var renamed []string // Knot DNS takes no data below these
	for range 60 {
		n := name()
		key := strings.ToLower(n)
		if seen[key] || slices.ContainsFunc(renamed, func(r string) bool { return strings.HasSuffix(key, "."+r) }) {
			continue
		}
		seen[key] = true
		add := func(format string, a ...any) { fmt.Fprintf(&b, "%s %s\n", n, fmt.Sprintf(format, a...)) }
		switch kind := rng.IntN(12); {
		case kind < 2:
			target := name()
			if rng.IntN(4) == 0 {
				target = "out.example.net."
			}
			add("CNAME %s", target)
		case kind == 2 && !strings.Contains(n, "*") && !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(s string) bool { return strings.HasSuffix(s, "."+key) }):
			renamed = append(renamed, key)
			target := name()
			for strings.HasSuffix("."+strings.ToLower(target), "."+key) {
				target = name() // below itself it makes names without end, and each server stops elsewhere
			}
			add("DNAME %s", target)
			add("TXT \"beside a DNAME\"")
		case kind < 5 && !strings.Contains(n, "*"):
			add("NS ns.%s", n)
			add("NS ns.example.net.")
			fmt.Fprintf(&b, "ns.%s A 192.0.2.%d\nns.%s AAAA 2001:db8::%d\n", n, 2+rng.IntN(200), n, rng.IntN(200))
			seen["ns."+key] = true
			if rng.IntN(2) == 0 {
				add("DS 12345 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF")
			}
		case kind == 5:
			add("MX 10 %s", name())
			add("SRV 1 2 53 %s", name())
		case kind == 6:
			add("TYPE65280 \\# 4 01020304")
			add("TXT \"one\" \"two\"")
		default:
			for range 1 + rng.IntN(3) {
				add("A 192.0.2.%d", rng.IntN(250))
			}
			add("AAAA 2001:db8::%d", rng.IntN(250))
		}
	}
	ask := map[string]bool{"example.org.": true}
	for n := range seen {
		full := n + ".example.org."
		for off, end := 0, n == ""; !end; off, end = dns.NextLabel(full, off) {
			if strings.HasSuffix(full[off:], ".example.org.") {
				ask[full[off:]] = true
				ask["nx."+full[off:]] = true
				ask["b.nx."+full[off:]] = true
				ask["*."+full[off:]] = true
			}
		}
	}
	for n := range ask {
		names = append(names, n)
	}
	slices.Sort(names)
	return b.String(), names
}
