// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
)

// program finds another server's program, or says loudly that it is not there.
func program(t *testing.T, name, hint string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if path, err := filepath.Abs("../../../../build/" + name); err == nil {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is needed (hint: %s)", name, hint)
	}
	t.Skipf("NOT RUN: forwarding with %s, which is not here (hint: %s)", name, hint)
	return ""
}

// process is another server, run in the foreground until the test ends.
type process struct {
	at  netip.AddrPort
	cmd *exec.Cmd
}

// run starts a program with a configuration, in which DIR and PORT are replaced, and waits until it answers a question.
func run(t *testing.T, path string, args []string, config string, ready *dns.Msg) *process {
	t.Helper()
	dir, at := t.TempDir(), reserve(t)
	replace := strings.NewReplacer("DIR", dir, "PORT", fmt.Sprint(at.Port()))
	for name, text := range map[string]string{"conf": replace.Replace(config), "zone": westZone()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range args {
		args[i] = replace.Replace(a)
	}
	p := &process{at: at, cmd: exec.Command(path, args...)}
	var out bytes.Buffer
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = &out, &out, dir
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() { _ = p.cmd.Wait(); close(gone) })
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		_ = p.cmd.Process.Kill()
		wait.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", path, out.String())
		}
	})
	c := dns.Client{Timeout: time.Second}
	for end := time.Now().Add(allow); ; time.Sleep(20 * time.Millisecond) {
		if _, _, err := c.Exchange(ready, at.String()); err == nil {
			return p
		}
		select {
		case <-gone:
			t.Fatalf("%s ended:\n%s", path, out.String())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer:\n%s", path, out.String())
		}
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// westZone is the zone west.test. as a file.
func westZone() string {
	text := `west.test. 60 SOA ns.west.test. host.west.test. 1 3600 600 86400 5
west.test. 60 NS ns.west.test.
ns.west.test. 60 AAAA 2001:db8::53
www.west.test. 60 AAAA 2001:db8::1
www.west.test. 60 AAAA 2001:db8::2
www.west.test. 60 A 192.0.2.1
alias.west.test. 60 CNAME www.west.test.
*.wild.west.test. 60 TXT "wild"
_sip._udp.west.test. 60 SRV 1 2 3 www.west.test.
old.west.test. 60 DNAME new.west.test.
host.new.west.test. 60 A 192.0.2.7
`
	for i := range 100 {
		text += fmt.Sprintf("large.west.test. 60 AAAA 2001:db8:1::%x\n", i+1)
	}
	return text
}

// others are the servers of which Debian has packages, and CoreDNS.
var others = []struct {
	name, program, hint string
	args                []string
	config              string
}{
	{"Knot DNS", "knotd", "make setup unpacks it", []string{"-c", "DIR/conf"}, `server:
    rundir: "DIR"
    listen: ::1@PORT
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: error
database:
    storage: "DIR"
zone:
  - domain: west.test
    file: "DIR/zone"
    semantic-checks: off
`},
	{"NSD", "nsd", "make setup unpacks it", []string{"-d", "-c", "DIR/conf"}, `server:
    server-count: 1
    ip-address: ::1@PORT
    username: ""
    chroot: ""
    zonesdir: "DIR"
    database: ""
    xfrdfile: "DIR/xfrd.state"
    xfrdir: "DIR"
    zonelistfile: "DIR/zone.list"
    pidfile: "DIR/pid"
remote-control:
    control-enable: no
zone:
    name: west.test
    zonefile: "DIR/zone"
`},
	{"CoreDNS", "coredns", "make setup builds it", []string{"-conf", "DIR/conf"}, `west.test:PORT {
    bind ::1
    file DIR/zone
    cache
}
`},
}

// TestRealServers forwards to other servers, and gets from each what it says itself.
func TestRealServers(t *testing.T) {
	for _, o := range others {
		t.Run(o.name, func(t *testing.T) {
			path := program(t, o.program, o.hint)
			p := run(t, path, append([]string(nil), o.args...), o.config, query("west.test.", dns.TypeSOA))
			z := west(p.at)
			z.Timeout = 10 * time.Second
			f := start(t, "[::1]:0", z)
			for _, q := range []struct {
				name  string
				qtype uint16
			}{
				{"www.west.test.", dns.TypeAAAA},
				{"www.west.test.", dns.TypeA},
				{"www.west.test.", dns.TypeTXT},
				{"alias.west.test.", dns.TypeA},
				{"none.west.test.", dns.TypeA},
				{"a.wild.west.test.", dns.TypeTXT},
				{"_sip._udp.west.test.", dns.TypeSRV},
				{"host.old.west.test.", dns.TypeA},
				{"west.test.", dns.TypeSOA},
				{"west.test.", dns.TypeNS},
			} {
				want := say(exchange(t, p.at, "udp", query(q.name, q.qtype)))
				for range 2 {
					if got := f.ask(t, q.name, q.qtype); got != want {
						t.Errorf("%s %s: %s, itself it says %s", q.name, dns.TypeToString[q.qtype], got, want)
					}
				}
			}
			if r := exchange(t, f.at, "udp", query("large.west.test.", dns.TypeAAAA)); !r.Truncated {
				t.Error("100 addresses fitted into a datagram")
			}
			if r := exchange(t, f.at, "tcp", query("large.west.test.", dns.TypeAAAA)); len(r.Answer) != 100 {
				t.Errorf("%d addresses over TCP", len(r.Answer))
			}
			if s := f.server(0); s.State != forward.Up || s.Loops+s.Strangers != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestRealFallback stops Knot DNS in the middle, so that NSD answers, and has it go on.
func TestRealFallback(t *testing.T) {
	knot, nsd := others[0], others[1]
	first := run(t, program(t, knot.program, knot.hint), append([]string(nil), knot.args...), knot.config, query("west.test.", dns.TypeSOA))
	second := run(t, program(t, nsd.program, nsd.hint), append([]string(nil), nsd.args...), nsd.config, query("west.test.", dns.TypeSOA))
	z := west(first.at, second.at)
	z.CacheSize = 0
	f := start(t, "[::1]:0", z)
	ask := func() {
		t.Helper()
		if got := f.ask(t, "www.west.test.", dns.TypeA); got != "NOERROR 192.0.2.1" {
			t.Fatal(got)
		}
	}
	await(t, "the first is known", func() bool { return f.server(0).RoundTrip > 0 })
	for range 50 {
		ask()
	}
	for _, trouble := range []struct{ end, again os.Signal }{{syscall.SIGSTOP, syscall.SIGCONT}} {
		first.signal(t, trouble.end)
		await(t, "the first is down", func() bool { ask(); return f.server(0).State == forward.Down })
		first.signal(t, trouble.again)
		await(t, "the first is up", func() bool { ask(); return f.server(0).State == forward.Up })
	}
}

// deployed is the block for CoreDNS in deploy/, with the zone, the port and the servers of a test.
func deployed(t *testing.T, zone string, servers ...netip.AddrPort) string {
	t.Helper()
	text, err := os.ReadFile("../../../../deploy/coredns/dnsingress.server")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?m)^apps\.test:53 \{`).ReplaceAllString(string(text), zone+":PORT {\n    bind ::1")
	block = strings.ReplaceAll(block, "domain apps.test.", "domain "+zone+".")
	var list []string
	for _, a := range servers {
		list = append(list, a.String())
	}
	line := regexp.MustCompile(`(?m)^    forward \. .* \{$`)
	if !line.MatchString(block) {
		t.Fatal("the block in deploy/ forwards nothing")
	}
	return line.ReplaceAllString(block, "    forward . "+strings.Join(list, " ")+" {")
}

// TestCoreDNSForwardsHere has a real CoreDNS, configured with what is in deploy/, forward to two of these servers, of which
// the first goes away and comes back.
func TestCoreDNSForwardsHere(t *testing.T) {
	path := program(t, "coredns", "make setup builds it")
	at := reserve(t)
	first, second := start(t, at.String()), start(t, "[::1]:0")
	c := run(t, path, []string{"-conf", "DIR/conf"}, deployed(t, "own.test", first.at, second.at), query("own.test.", dns.TypeSOA))
	ask := func(name string, qtype uint16, want string) {
		t.Helper()
		if got := say(exchange(t, c.at, "udp", query(name, qtype))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	ask("ns.own.test.", dns.TypeAAAA, "NOERROR 2001:db8::1")
	ask("none.own.test.", dns.TypeAAAA, "NXDOMAIN")
	ask("own.test.", dns.TypeA, "NOERROR")
	first.stop()
	await(t, "the second answers", func() bool {
		return say(exchange(t, c.at, "udp", query("own.test.", dns.TypeNS))) == "NOERROR ns.own.test."
	})
	ask("own.test.", dns.TypeMX, "NOERROR")
	start(t, at.String())
	ask("own.test.", dns.TypeTXT, "NOERROR")
}

// TestLoopThroughCoreDNS: CoreDNS gives back what it is asked, here by way of two of them.
func TestLoopThroughCoreDNS(t *testing.T) {
	path := program(t, "coredns", "make setup builds it")
	at := reserve(t)
	far := run(t, path, []string{"-conf", "DIR/conf"}, deployed(t, "west.test", at), query("west.test.", dns.TypeSOA))
	near := run(t, path, []string{"-conf", "DIR/conf"}, deployed(t, "west.test", far.at), query("west.test.", dns.TypeSOA))
	f := start(t, at.String(), west(near.at))
	await(t, "the loop is seen", func() bool { return f.server(0).State == forward.Loop })
	if got := f.ask(t, "www.west.test.", dns.TypeA); got != "SERVFAIL EDE 22" {
		t.Error(got)
	}
	if n := f.log.count("a loop of forwarders"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}
