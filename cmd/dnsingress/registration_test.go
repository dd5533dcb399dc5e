// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/registration"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
)

const treeSecret = "dGhlIHVwcGVyIGFuZCBpdHMgbGVhdmVzIGFuZCBub2JvZHkgZWxzZQ=="

// treeServer is `dnsingress run` as a process of its own, at addresses that it keeps over restarts.
type treeServer struct {
	t           *testing.T
	dir         string
	config      string
	dns, admin  string
	environment []string
	process     *exec.Cmd
	log         *sink
}

// freeAddress is an address of the loopback interface whose port nobody has, over UDP and TCP.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.ListenPacket("udp", l.Addr().String())
		l.Close()
		if err == nil {
			c.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

// newServer prepares a server with zones from a configuration and objects from manifests. Keys are of the given names.
func newServer(t *testing.T, config, manifests string, keys ...string) *treeServer {
	t.Helper()
	s := &treeServer{t: t, dir: t.TempDir(), dns: freeAddress(t), admin: freeAddress(t)}
	s.config = filepath.Join(s.dir, "config.yaml")
	var text strings.Builder
	for _, k := range append(keys, "nobodys") {
		fmt.Fprintf(&text, "%s:hmac-sha256:%s\n", k, treeSecret)
	}
	s.write("keys", text.String())
	if err := os.MkdirAll(filepath.Join(s.dir, "objects"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write("objects/all.yaml", manifests)
	s.configure(config)
	return s
}

func (s *treeServer) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

// configure writes the configuration, to which addresses and files are added.
func (s *treeServer) configure(config string) {
	s.t.Helper()
	text := strings.ReplaceAll(config, "DIR", s.dir) + fmt.Sprintf("\nlisten: [%q]\nadmin: %q\ntsigKeys: [%q]\nkubernetes: {files: %q}\n", s.dns, s.admin, filepath.Join(s.dir, "keys"), filepath.Join(s.dir, "objects"))
	if !strings.Contains(config, "lameDuck") {
		text += "lameDuck: 0s\n"
	}
	s.write("config.yaml", text)
}

// start starts it and waits until it answers.
func (s *treeServer) start() {
	s.t.Helper()
	path, err := exec.LookPath("dnsingress") // which testscript.Main has put there
	if err != nil {
		s.t.Fatal(err)
	}
	c := exec.Command(path, "run", "--config", s.config)
	s.log = new(sink)
	c.Stdout, c.Stderr = s.log, s.log
	c.Env = append(os.Environ(), s.environment...)
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.process = c
	s.t.Cleanup(func() {
		if s.process == c {
			s.end(syscall.SIGTERM)
		}
		if s.t.Failed() {
			s.t.Logf("%s:\n%v", s.dns, s.log)
		}
	})
	waitFor(s.t, "answered", func() bool {
		return strings.Contains(s.log.String(), "answering DNS") || ended(c.Process.Pid)
	})
	if ended(c.Process.Pid) {
		s.t.Fatalf("the server ended:\n%v", s.log)
	}
}

// end ends it and waits until it is gone.
func (s *treeServer) end(signal syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Wait(); err != nil && signal == syscall.SIGTERM {
		s.t.Errorf("%s: %v", s.dns, err)
	}
	s.process = nil
}

// ask asks over TCP, which is never truncated.
func (s *treeServer) ask(name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.RecursionDesired = false
	r, _, err := (&dns.Client{Net: "tcp", Timeout: 5 * time.Second}).Exchange(m, s.dns)
	return r, err
}

// says is an answer in short: its code, and the records but for OPT, without their classes.
func (s *treeServer) says(name string, qtype uint16) string {
	r, err := s.ask(name, qtype)
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, rr := range slices.Concat(r.Answer, r.Ns, r.Extra) {
		if t := rr.Header().Rrtype; t != dns.TypeOPT && t != dns.TypeSOA && t != dns.TypeRRSIG && t != dns.TypeNSEC {
			f := strings.Fields(rr.String())
			all = append(all, strings.Join(append(f[:2], f[3:]...), " "))
		}
	}
	slices.Sort(all)
	return strings.Join(append([]string{dns.RcodeToString[r.Rcode]}, all...), " | ")
}

func (s *treeServer) await(name string, qtype uint16, want ...string) {
	s.t.Helper()
	slices.Sort(want[1:])
	text := strings.Join(want, " | ")
	untilNil(s.t, func() error {
		if got := s.says(name, qtype); got != text {
			return fmt.Errorf("%s %s says\n%s, want\n%s", name, dns.TypeToString[qtype], got, text)
		}
		return nil
	})
}

// get is what the admin address says.
func (s *treeServer) get(path string) string {
	r, err := http.Get("http://" + s.admin + path)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

func (s *treeServer) listing() (x registration.Listing) {
	_ = json.Unmarshal([]byte(s.get("/registrations")), &x) // what is missing, the test misses
	return x
}

// metric awaits a line of the metrics.
func (s *treeServer) metric(line string) {
	s.t.Helper()
	untilNil(s.t, func() error {
		if !strings.Contains("\n"+s.get("/metrics"), "\n"+line) {
			return fmt.Errorf("no metric %s", line)
		}
		return nil
	})
}

const upperConfig = `
zones:
  - origin: apps.test
    role: upper
    nameservers: [{name: ns.apps.test, addresses: ["2001:db8::53", 192.0.2.53]}]
    registrations:
      lease: 2s
      leastLease: 1s
      ttl: 7s
      addressTTL: 9s
      settle: 1s
      grants:
        - {key: leaf-a, children: ["*.apps.test"], nameservers: ["*.a.apps.test", "ns.in.shop.apps.test"]}
        - {key: leaf-b, children: [shop.apps.test], nameservers: ["*.b.apps.test"], addresses: ["2001:db8:b::/48", 192.0.2.0/24]}
`

func leafConfig(letter, upper, more string) string {
	return fmt.Sprintf(`
zones: [{origin: shop.apps.test, infrastructureTTL: 11s}]
register:
  - {zone: apps.test, uppers: ["%s+key:leaf-%s"], lease: 2s, nameserver: {name: ns.%[2]s.apps.test, addresses: ["2001:db8:%[2]s::1", 192.0.2.%d]}}
%s`, upper, letter, letter[0], more)
}

const webObject = `apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {external-dns.kubernetes.io/hostname: www.shop.apps.test, external-dns.kubernetes.io/target: "2001:db8::80"}}
spec: {ports: [{port: 80}]}
`

// TestLeavesRegister has two leaves enter themselves with an upper: the child's name servers are the same on both sides, change
// as leaves come, go in order and die, and stay over restarts.
func TestLeavesRegister(t *testing.T) {
	state := t.TempDir()
	upper := newServer(t, upperConfig+"state: "+state+"\n", "", "leaf-a", "leaf-b")
	upper.start()
	untilNil(t, func() error { // it may not have read its objects yet, and may have waited already
		if got := upper.get("/readyz"); !strings.Contains(got, "waiting for leaves to register with apps.test.") && got != "ok\n" {
			return fmt.Errorf("before leaves had their time, it says %q", got)
		}
		return nil
	})
	a := newServer(t, leafConfig("a", upper.dns, ""), webObject, "leaf-a")
	b := newServer(t, leafConfig("b", upper.dns, ""), webObject, "leaf-b")
	a.start()
	const (
		nsA, aA, aaaaA = "shop.apps.test. 7 NS ns.a.apps.test.", "ns.a.apps.test. 9 A 192.0.2.97", "ns.a.apps.test. 9 AAAA 2001:db8:a::1"
		nsB, aB, aaaaB = "shop.apps.test. 7 NS ns.b.apps.test.", "ns.b.apps.test. 9 A 192.0.2.98", "ns.b.apps.test. 9 AAAA 2001:db8:b::1"
		ownA, ownB     = "shop.apps.test. 11 NS ns.a.apps.test.", "shop.apps.test. 11 NS ns.b.apps.test."
	)
	upper.await("www.shop.apps.test.", dns.TypeAAAA, "NOERROR", nsA, aA, aaaaA)
	a.await("www.shop.apps.test.", dns.TypeAAAA, "NOERROR", "www.shop.apps.test. 5 AAAA 2001:db8::80")
	b.start()
	upper.await("www.shop.apps.test.", dns.TypeAAAA, "NOERROR", nsA, aA, aaaaA, nsB, aB, aaaaB)
	for _, leaf := range []*treeServer{a, b} {
		leaf.await("shop.apps.test.", dns.TypeNS, "NOERROR", ownA, ownB)
	}

	// What a leaf learns from is there for it alone.
	for key, want := range map[string]int{"leaf-a.": dns.RcodeSuccess, "leaf-b.": dns.RcodeNameError} {
		client := &dns.Client{Net: "tcp", Timeout: 5 * time.Second, TsigSecret: map[string]string{key: treeSecret}}
		m := new(dns.Msg).SetQuestion("ns.a.apps.test._registered.apps.test.", dns.TypeNS)
		m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
		r, _, err := client.Exchange(m, upper.dns)
		if err != nil {
			t.Fatal(err)
		}
		if told := len(r.Answer) == 2 && len(r.Extra) == 5; r.Rcode != want || told != (want == dns.RcodeSuccess) {
			t.Errorf("with key %s, a question for all of a leaf's referrals is answered %v", key, r)
		}
	}

	// A leaf that leaves in order is out of the referral at once; who is left says the same.
	b.end(syscall.SIGTERM)
	if got := upper.says("www.shop.apps.test.", dns.TypeAAAA); got != strings.Join([]string{"NOERROR", aA, aaaaA, nsA}, " | ") {
		t.Errorf("after a leaf has left in order, the upper says %s", got)
	}
	if left := upper.listing().Left; len(left) != 1 || left[0].Nameserver != "ns.b.apps.test." || time.Until(left[0].Held) > 7*time.Second {
		t.Errorf("who has left: %+v", left)
	}
	a.await("shop.apps.test.", dns.TypeNS, "NOERROR", ownA)

	// One that dies is out when its lease ends.
	b.start()
	upper.await("www.shop.apps.test.", dns.TypeAAAA, "NOERROR", nsA, aA, aaaaA, nsB, aB, aaaaB)
	b.end(syscall.SIGKILL)
	died := time.Now()
	upper.await("www.shop.apps.test.", dns.TypeAAAA, "NOERROR", nsA, aA, aaaaA)
	t.Logf("out of the referral %v after it died", time.Since(died).Round(time.Millisecond))
	upper.metric(`dnsingress_registration_leases_ended_total{zone="apps.test."} 1`)
	a.await("shop.apps.test.", dns.TypeNS, "NOERROR", ownA)

	// The last one stays, and that is said.
	a.end(syscall.SIGKILL)
	untilNil(t, func() error {
		for _, l := range upper.listing().Leases {
			if l.Child == "shop.apps.test." && l.State == "last" {
				return nil
			}
		}
		return fmt.Errorf("the last name server is not marked: %+v", upper.listing().Leases)
	})
	upper.await("www.shop.apps.test.", dns.TypeAAAA, "NOERROR", nsA, aA, aaaaA)
	if got := upper.get("/explain?name=shop.apps.test"); !strings.Contains(got, "LastNameserver: the lease of name server ns.a.apps.test. ended at ") {
		t.Errorf("explain says %s", got)
	}

	// With its state, the upper knows them from its first answer on.
	b.start()
	a.start()
	upper.await("www.shop.apps.test.", dns.TypeAAAA, "NOERROR", nsA, aA, aaaaA, nsB, aB, aaaaB)
	upper.end(syscall.SIGTERM)
	upper.start()
	if got := upper.says("www.shop.apps.test.", dns.TypeAAAA); !strings.Contains(got, nsA) || !strings.Contains(got, nsB) {
		t.Errorf("the first answer after a restart is %s", got)
	}

	// Without, it refuses at first, and the leaves find out by themselves.
	upper.end(syscall.SIGKILL)
	for _, f := range []string{"apps.test.registrations"} {
		if err := os.Remove(filepath.Join(state, f)); err != nil {
			t.Fatal(err)
		}
	}
	upper.start()
	if got := upper.says("www.shop.apps.test.", dns.TypeAAAA); got != "REFUSED" && !strings.Contains(got, nsA) {
		t.Errorf("a start that knows nothing says %s", got)
	}
	upper.await("www.shop.apps.test.", dns.TypeAAAA, "NOERROR", nsA, aA, aaaaA, nsB, aB, aaaaB)
	untilNil(t, func() error {
		if got := upper.get("/readyz"); got != "ok\n" {
			return fmt.Errorf("ready: %s", got)
		}
		return nil
	})
}

// update sends lines by nsupdate over TCP, signed with a key, and returns what it says; "": all is well.
func (s *treeServer) update(key string, lines ...string) string {
	s.t.Helper()
	path := findNsupdate(s.t)
	host, port, err := net.SplitHostPort(s.dns)
	if err != nil {
		s.t.Fatal(err)
	}
	script := fmt.Sprintf("server %s %s\nzone apps.test\n%s\nsend\n", host, port, strings.Join(lines, "\n"))
	if key != "" {
		script = fmt.Sprintf("key hmac-sha256:%s %s\n", key, treeSecret) + script
	}
	c := exec.Command(path, "-v", "-t", "10")
	c.Stdin = strings.NewReader(script)
	out, err := c.CombinedOutput()
	if err == nil && len(out) > 0 {
		s.t.Errorf("nsupdate succeeds and says %s", out)
	}
	return strings.TrimSpace(string(out))
}

// findNsupdate is BIND's nsupdate, as tools/bootstrap unpacks it.
func findNsupdate(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("nsupdate"); err == nil {
		return path
	}
	cache, err := os.UserCacheDir()
	if err == nil {
		path := filepath.Join(cache, "dnsingress", "debian", "bind9-dnsutils", "bin", "nsupdate")
		if dir := os.Getenv("TESTBED_CACHE_DIR"); dir != "" {
			path = filepath.Join(dir, "debian", "bind9-dnsutils", "bin", "nsupdate")
		}
		if _, err = os.Stat(path); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no nsupdate (hint: tools/bootstrap test)")
	}
	t.Skip("SKIPPED, AND NOTHING IS KNOWN OF OTHER CLIENTS: no nsupdate (hint: tools/bootstrap test)")
	return ""
}

// TestNsupdateRegisters has BIND's own client register, and be refused.
func TestNsupdateRegisters(t *testing.T) {
	upper := newServer(t, strings.Replace(upperConfig, "lease: 2s", "lease: 1m", 1), "", "leaf-a", "leaf-b", "leaf-c")
	upper.start()
	if said := upper.update("leaf-a", "update add shop.apps.test 0 NS ns.a.apps.test", "update add ns.a.apps.test 0 AAAA 2001:db8::1", "update add ns.a.apps.test 0 A 192.0.2.1"); said != "" {
		t.Errorf("nsupdate says %s", said)
	}
	const ns, glue, glue4 = "shop.apps.test. 7 NS ns.a.apps.test.", "ns.a.apps.test. 9 AAAA 2001:db8::1", "ns.a.apps.test. 9 A 192.0.2.1"
	upper.await("shop.apps.test.", dns.TypeNS, "NOERROR", ns, glue, glue4)
	for _, c := range []struct {
		key   string
		lines []string
		want  string
	}{
		{"leaf-b", []string{"update add pay.apps.test 0 NS ns.b.apps.test", "update add ns.b.apps.test 0 AAAA 2001:db8:b::1"}, "REFUSED"},
		{"leaf-b", []string{"update add shop.apps.test 0 NS ns.b.apps.test", "update add ns.b.apps.test 0 AAAA 2001:db8::1"}, "REFUSED"},
		{"leaf-c", []string{"update add shop.apps.test 0 NS ns.a.apps.test"}, "REFUSED"},
		{"leaf-a", []string{"update add www.apps.test 0 TXT hello"}, "REFUSED"},
		{"leaf-a", []string{"prereq yxdomain shop.apps.test", "update delete shop.apps.test NS"}, "REFUSED"},
		{"", []string{"update delete shop.apps.test NS"}, "REFUSED"},
		{"leaf-x", []string{"update delete shop.apps.test NS"}, "BADKEY"},
	} {
		if said := upper.update(c.key, c.lines...); !strings.Contains(said, c.want) {
			t.Errorf("%s %q: nsupdate says %q, want %s", c.key, c.lines, said, c.want)
		}
	}
	upper.await("shop.apps.test.", dns.TypeNS, "NOERROR", ns, glue, glue4)
	upper.metric(`dnsingress_registration_updates_total{result="not_granted",zone="apps.test."} 3`)
	upper.metric(`dnsingress_registration_updates_total{result="unsigned",zone="apps.test."} 1`)
	if no := upper.listing().Refusals; len(no) != 6 {
		t.Errorf("%d kinds of refusals are listed: %+v", len(no), no)
	}
	// A lease ends with a word, too: the whole set of the child goes.
	if said := upper.update("leaf-a", "update delete shop.apps.test NS"); said != "" {
		t.Errorf("nsupdate says %s", said)
	}
	upper.await("ns.a.apps.test.", dns.TypeAAAA, "NXDOMAIN")
	// What people read of it.
	if said := runCommandLine(t, "registrations", "--admin", "http://"+upper.admin); !strings.Contains(said, "not_granted") || !strings.Contains(said, "CACHES MAY HOLD IT FOR") {
		t.Errorf("dnsingress registrations says\n%s", said)
	}
}

// runCommandLine runs dnsingress and returns what it prints.
func runCommandLine(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("dnsingress")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%q: %v", args, err)
	}
	return string(out)
}

// TestReplayedUpdate has somebody who has heard a leaf send what it has heard: it is answered BADTIME, and changes nothing.
func TestReplayedUpdate(t *testing.T) {
	upper := newServer(t, strings.Replace(upperConfig, "lease: 2s", "lease: 1m", 1), "", "leaf-a", "leaf-b")
	upper.start()
	client := &dns.Client{Net: "tcp", Timeout: 5 * time.Second, TsigSecret: map[string]string{"leaf-a.": treeSecret}}
	signed := func(m *dns.Msg) []byte {
		t.Helper()
		m.SetTsig("leaf-a.", dns.HmacSHA256, 300, time.Now().Unix())
		b, _, err := dns.TsigGenerate(m, treeSecret, "", false)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	send := func(b []byte) *dns.Msg {
		t.Helper()
		c, err := client.Dial(upper.dns)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		b, err = c.ReadMsgHeader(nil)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		return m
	}
	join := new(dns.Msg).SetUpdate("apps.test.")
	for _, text := range []string{"shop.apps.test. 0 NS ns.a.apps.test.", "ns.a.apps.test. 0 AAAA 2001:db8::1"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		join.Ns = append(join.Ns, rr)
	}
	join.SetEdns0(1232, false)
	join.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_UL{Code: dns.EDNS0UL, Lease: 100}}
	first := signed(join)
	r := send(first)
	if r.Rcode != dns.RcodeSuccess || r.IsTsig() == nil {
		t.Fatalf("the registration is answered %v", r)
	}
	if o := r.IsEdns0(); o == nil || len(o.Option) != 1 || o.Option[0].(*dns.EDNS0_UL).Lease != 100 {
		t.Errorf("the lease that is granted: %v", o)
	}
	for _, replay := range []struct {
		name    string
		restart bool
	}{{"at once", false}, {"after a restart", true}} {
		if replay.restart {
			upper.end(syscall.SIGKILL)
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // it must begin in another second
			upper.start()
		}
		r := send(first)
		if sig := r.IsTsig(); r.Rcode != dns.RcodeNotAuth || sig == nil || sig.Error != dns.RcodeBadTime || len(sig.OtherData) != 12 {
			t.Errorf("a replay %s is answered %v", replay.name, r)
		}
	}
	upper.metric(`dnsingress_registration_updates_total{result="stale",zone="apps.test."} 1`)
	if no := upper.listing().Refusals; len(no) != 1 || no[0].Reason != "stale" {
		t.Errorf("refusals: %+v", no)
	}
	upper.await("shop.apps.test.", dns.TypeNS, "NXDOMAIN")
}

// TestClocksOfLeavesDiffer has leaves whose clocks are wrong, and whose key is one, register and renew: an upper's word for
// what time it is counts (RFC 8945 §5.2.3), and no clock makes a lease longer.
func TestClocksOfLeavesDiffer(t *testing.T) {
	upper := newServer(t, upperConfig, "", "leaf-a", "leaf-b")
	upper.start()
	key, err := transfer.NewKey("leaf-a", "hmac-sha256", treeSecret)
	if err != nil {
		t.Fatal(err)
	}
	var to transfer.Remote
	if err := to.UnmarshalText([]byte(upper.dns + "+key:leaf-a")); err != nil {
		t.Fatal(err)
	}
	metrics, err := registration.NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	killed := errors.New("as if it had been killed")
	begin := time.Now()
	clocks := map[string]func() time.Time{
		"right": time.Now,
		"slow":  func() time.Time { return time.Now().Add(-time.Hour) },
		"fast":  func() time.Time { return time.Now().Add(26 * time.Hour) },
		"corrected": func() time.Time { // it was fast by less than what a signature may be off, and goes right after a while
			if time.Since(begin) < time.Second {
				return time.Now().Add(4 * time.Minute)
			}
			return time.Now()
		},
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(killed)
	leaves := map[string]*registration.Leaf{}
	for name, clock := range clocks {
		zone := name + ".apps.test."
		leaf, err := registration.NewLeaf(registration.LeafOptions{
			Sections: []registration.Section{{
				Zone: "apps.test.", Uppers: []transfer.Remote{to}, Lease: 2 * time.Second, Interval: time.Minute,
				Server: model.Nameserver{Name: "ns." + name + ".a.apps.test.", Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::1")}},
			}},
			Keys: transfer.Keys{key.Name: key}, Publisher: &publishing{zones: map[string][]model.Nameserver{zone: {}}}, Metrics: metrics, Replaced: killed, Clock: clock, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		leaves[zone] = leaf
		all.Go(func() { _ = leaf.Run(ctx) }) // it returns nil
	}
	var first []registration.Lease
	untilNil(t, func() error {
		if first = upper.listing().Leases; len(first) != len(leaves) {
			return fmt.Errorf("%d of %d leaves are registered", len(first), len(leaves))
		}
		return nil
	})
	for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(100 * time.Millisecond) { // two leases
		now := upper.listing().Leases
		for i, l := range first {
			if len(now) != len(first) || now[i].State != "leased" || now[i].Left > 2 || !now[i].Since.Equal(l.Since) {
				t.Fatalf("%s is not leased all the time, or for longer than 2 s: %+v; %+v", l.Child, now, leaves[l.Child].Uppers())
			}
		}
	}
}

// cutManifest delegates shop.apps.test by an object.
func cutManifest(name, address, ds string) string {
	return fmt.Sprintf(`apiVersion: dnsingress.dev/v1alpha1
kind: DNSDelegation
metadata: {name: shop, namespace: shop}
spec:
  zone: shop.apps.test
  nameservers: [{name: %s, addresses: [%q]}]
%s`, name, address, ds)
}

// TestParentAndChildDisagree: an upper whose object says something else than the child, and a zone whose upper does, say so of
// themselves, count it, and are content again when both say the same.
func TestParentAndChildDisagree(t *testing.T) {
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	child := newServer(t, `zones: [{origin: shop.apps.test, nameservers: [{name: ns.shop.apps.test, addresses: ["::1"]}]}]`, "")
	child.dns = "[::1]:" + port
	child.configure(`zones: [{origin: shop.apps.test, nameservers: [{name: ns.shop.apps.test, addresses: ["::1"]}]}]`)
	child.start()
	upper := newServer(t, fmt.Sprintf(`zones: [{origin: apps.test, role: upper, nameservers: [{name: ns.example.net}]}]
delegations: {compare: 1s, port: %s}
`, port), cutManifest("old.shop.apps.test", "::1", ""))
	upper.start()
	says := func(want string) {
		t.Helper()
		untilNil(t, func() error {
			for _, c := range upper.listing().Compared {
				if text := c.Result + " " + strings.Join(c.Problems, "; "); strings.Contains(text, want) {
					return nil
				}
			}
			return fmt.Errorf("comparisons say %+v, want %s", upper.listing().Compared, want)
		})
	}
	says("other ChildDisagrees: name server old.shop.apps.test. at ::1 of shop.apps.test. says that the zone's name servers are ns.shop.apps.test., not old.shop.apps.test.")
	upper.metric(`dnsingress_delegation_disagrees{side="child",zone="shop.apps.test."} 1`)
	if got := upper.get("/explain?name=shop.apps.test"); !strings.Contains(got, "ChildDisagrees: ") {
		t.Errorf("explain says %s", got)
	}
	upper.write("objects/all.yaml", cutManifest("ns.shop.apps.test", "::1", ""))
	says("same ")
	upper.metric(`dnsingress_delegation_disagrees{side="child",zone="shop.apps.test."} 0`)
	upper.write("objects/all.yaml", cutManifest("ns.shop.apps.test", "::1", "  ds: [{keyTag: 1, algorithm: 13, digestType: 2, digest: "+strings.Repeat("AB", 32)+"}]\n"))
	says("has no key that a DS of the delegation names")

	// The other way round: a zone that registers nothing compares itself with its upper.
	zone := newServer(t, fmt.Sprintf(`zones: [{origin: shop.apps.test, nameservers: [{name: other.shop.apps.test, addresses: ["::1"]}]}]
register: [{zone: apps.test, uppers: [%q], compare: 1s}]
`, upper.dns), "")
	zone.start()
	zone.metric(`dnsingress_delegation_disagrees{side="parent",zone="shop.apps.test."} 1`)
	waitFor(t, "said that its parent disagrees", func() bool { return strings.Contains(zone.log.String(), "reason=ParentDisagrees") })
}

// TestRegisterBesideAnObject: what an object delegates and what registers are one delegation.
func TestRegisterBesideAnObject(t *testing.T) {
	upper := newServer(t, upperConfig, cutManifest("ns.static.apps.test", "2001:db8::5", ""), "leaf-a", "leaf-b")
	upper.start()
	const static, glue = "shop.apps.test. 300 NS ns.static.apps.test.", "ns.static.apps.test. 300 AAAA 2001:db8::5"
	upper.await("shop.apps.test.", dns.TypeNS, "NOERROR", static, glue)
	a := newServer(t, leafConfig("a", upper.dns, ""), "", "leaf-a")
	a.start()
	const low, both, glueA, glueA4 = "shop.apps.test. 7 NS ns.static.apps.test.", "shop.apps.test. 7 NS ns.a.apps.test.", "ns.a.apps.test. 9 A 192.0.2.97", "ns.a.apps.test. 9 AAAA 2001:db8:a::1"
	upper.await("shop.apps.test.", dns.TypeNS, "NOERROR", low, both, glue, glueA, glueA4)
	a.await("shop.apps.test.", dns.TypeNS, "NOERROR", "shop.apps.test. 11 NS ns.a.apps.test.", "shop.apps.test. 11 NS ns.static.apps.test.")
	// The object stays, so nobody is the last one.
	a.end(syscall.SIGKILL)
	upper.await("shop.apps.test.", dns.TypeNS, "NOERROR", static, glue)
	a.start()
	upper.await("shop.apps.test.", dns.TypeNS, "NOERROR", low, both, glue, glueA, glueA4)
	// The object goes: what is registered stays.
	upper.write("objects/all.yaml", "")
	upper.await("shop.apps.test.", dns.TypeNS, "NOERROR", both, glueA, glueA4)
	a.await("shop.apps.test.", dns.TypeNS, "NOERROR", "shop.apps.test. 11 NS ns.a.apps.test.")
}

// TestLeafIsNotGranted: a leaf that claims what is not granted to it is told why, and says so.
func TestLeafIsNotGranted(t *testing.T) {
	upper := newServer(t, upperConfig, "", "leaf-a", "leaf-b")
	upper.start()
	leaf := newServer(t, strings.Replace(leafConfig("b", upper.dns, ""), "shop.apps.test", "pay.apps.test", 1), "", "leaf-b")
	leaf.start()
	untilNil(t, func() error {
		for _, u := range leaf.listing().Uppers {
			if strings.Contains(u.Trouble, "it says REFUSED: zone pay.apps.test. with name server ns.b.apps.test. is not granted to key leaf-b.") {
				return nil
			}
		}
		return fmt.Errorf("uppers: %+v", leaf.listing().Uppers)
	})
	waitFor(t, "logged that it is not registered", func() bool { return strings.Contains(leaf.log.String(), "reason=NotRegistered") })
	upper.await("pay.apps.test.", dns.TypeNS, "NXDOMAIN")
}
