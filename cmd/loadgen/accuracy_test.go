// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/accuracy"
	"github.com/dnsingress/dnsingress/internal/dnstest"
)

// planted is a name server that takes dynamic updates, with a fault that it keeps its own record of.
type planted struct {
	delay time.Duration // a change is shown that much later
	drop  int           // every so many-th query gets no answer
	mix   time.Duration // for so long after a change, an answer holds old and new

	mu    sync.Mutex
	names map[string][]shown

	queries, dropped, mixed int
}

// shown is what a name holds from an instant on.
type shown struct {
	from time.Time
	data []dns.RR
}

func (p *planted) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	p.mu.Lock()
	m := p.answer(q)
	p.mu.Unlock()
	if m != nil {
		_ = w.WriteMsg(m)
	}
}

func (p *planted) answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	now := time.Now()
	if q.Opcode == dns.OpcodeUpdate {
		made := map[string][]dns.RR{}
		for _, rr := range q.Ns { // RFC 2136 §2.5: of class ANY an RRset goes, of the zone's class a record comes
			name := rr.Header().Name
			if rr.Header().Class == dns.ClassINET {
				made[name] = append(made[name], rr)
			} else {
				made[name] = nil
			}
		}
		for name, data := range made {
			p.names[name] = append(p.names[name], shown{now.Add(p.delay), data})
			if len(p.names[name]) == 1 {
				p.names[name][0].from = now // what was made at the beginning is there
			}
		}
		return m
	}
	p.queries++
	if p.drop > 0 && p.queries%p.drop == 0 {
		p.dropped++
		return nil
	}
	states := p.names[q.Question[0].Name]
	i := len(states) - 1
	for i >= 0 && states[i].from.After(now) {
		i--
	}
	if i < 0 {
		m.Rcode = dns.RcodeNameError
		return m
	}
	m.Answer = states[i].data
	if i > 0 && p.mix > 0 && now.Sub(states[i].from) < p.mix && len(m.Answer) > 0 && len(states[i-1].data) > 0 {
		m.Answer = []dns.RR{states[i-1].data[0], states[i].data[0]}
		p.mixed++
	}
	if len(m.Answer) == 0 {
		m.Rcode = dns.RcodeNameError
	}
	return m
}

func (p *planted) serve(t *testing.T) netip.AddrPort {
	t.Helper()
	p.names = map[string][]shown{}
	// The server of the library refuses updates unless it is told what to accept.
	addr, stop, err := dnstest.ServeAll(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr
}

// judge runs loadgen in its accuracy mode, and returns what it says and the file of changes.
func judge(t *testing.T, servers []netip.AddrPort, args ...string) (*accuracy.Account, []accuracy.Reached) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	all := []string{"dns"}
	for _, s := range servers {
		all = append(all, s.String())
	}
	cmd := exec.Command("loadgen", append(append(all, args...), "--out", dir, "-o", "json", "-q", "--max-lag", "0", "--max-cpu", "0")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var o outcome
	if err := json.Unmarshal(b, &o); err != nil || o.Accuracy == nil {
		t.Fatalf("%v: %s", err, b)
	}
	f, err := os.Open(filepath.Join(dir, accuracyFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var reached []accuracy.Reached
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r accuracy.Reached
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		reached = append(reached, r)
	}
	if n := o.Accuracy.Changes * len(servers); len(reached) != n || n == 0 {
		t.Fatalf("%d lines for %d changes and %d servers", len(reached), o.Accuracy.Changes, len(servers))
	}
	if o.Requests != o.Accuracy.Answers {
		t.Errorf("%d requests, %d answers judged", o.Requests, o.Accuracy.Answers)
	}
	return o.Accuracy, reached
}

// flips returns when a name began to show each of its states, by the server's own record.
func (p *planted) flip(t *testing.T, r accuracy.Reached) time.Time {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.names[r.Of] {
		var data []string
		for _, rr := range s.data {
			data = append(data, accuracy.Data(rr))
		}
		slices.Sort(data)
		made := s.from.Add(-p.delay)
		if slices.Equal(data, r.Data) && made.UnixNano() >= r.BegunNs && made.UnixNano() <= r.DoneNs {
			return s.from
		}
	}
	t.Fatalf("the server knows of no change %+v", r)
	return time.Time{}
}

// within fails the test unless each delay to the first right answer is within its error of what the server did.
func (p *planted) within(t *testing.T, server netip.AddrPort, reached []accuracy.Reached) {
	t.Helper()
	seen := 0
	for _, r := range reached {
		if r.Server != server.String() || r.FirstRightNs < 0 {
			continue
		}
		seen++
		flip := p.flip(t, r).UnixNano()
		if first := r.BegunNs + r.FirstRightNs; first < flip || first-r.FirstRightErrorNs > max(flip, r.DoneNs) {
			t.Errorf("%s: first right after %v (-%v), but the server flipped after %v", r.Of, time.Duration(r.FirstRightNs),
				time.Duration(r.FirstRightErrorNs), time.Duration(flip-r.BegunNs))
		}
	}
	if seen == 0 {
		t.Error("no change came: the test shows nothing")
	}
}

var changing = []string{"--accuracy", "update", "--zone", "apps.test", "--rate", "1000", "--changes", "8", "--names", "40", "--timeout", "2s", "--settle", "1m"}

func TestAccuracyOfAnHonestServer(t *testing.T) {
	t.Parallel()
	p := &planted{}
	addr := p.serve(t)
	for _, how := range [][]string{{}, {"--network", "tcp"}, {"--connection", "new"}} {
		a, reached := judge(t, []netip.AddrPort{addr}, append(append(how, changing...), "--duration", "1500ms")...)
		if a.Right+a.Silent != a.Answers || a.Changes < 5 {
			t.Errorf("%v: %+v", how, a)
		}
		p.within(t, addr, reached)
	}
}

// Every change is shown 2 s late: that is found, and measured to within the time between two queries.
func TestAccuracyFindsStaleAnswers(t *testing.T) {
	t.Parallel()
	p := &planted{delay: 2 * time.Second}
	addr := p.serve(t)
	a, reached := judge(t, []netip.AddrPort{addr}, append(changing, "--duration", "6s")...)
	if a.Stale == 0 || a.Wrong > 0 || a.Missing > a.Silent || a.Right == 0 {
		t.Errorf("%+v", a)
	}
	if f := a.Propagation.FirstRight; f.P50 < int64(1995*time.Millisecond) || f.Count < 10 {
		t.Errorf("%+v", f)
	}
	if l := a.Propagation.LastWrong; l.P50 < int64(1500*time.Millisecond) {
		t.Errorf("%+v", l)
	}
	p.within(t, addr, reached)
}

// One answer in a thousand is dropped: each of them is found.
func TestAccuracyFindsDroppedAnswers(t *testing.T) {
	t.Parallel()
	p := &planted{drop: 1000}
	addr := p.serve(t)
	a, _ := judge(t, []netip.AddrPort{addr}, append(changing, "--rate", "3000", "--duration", "4s")...)
	asked := p.queries
	lost := max(0, int(a.Answers)+40-asked) // before they came to the server, as on a busy machine; 40 at least were asked beforehand
	if n := int(a.Missing); n < p.dropped-1 || n > p.dropped+lost || n != int(a.Silent) || p.dropped < 8 {
		t.Errorf("%d missing, %d dropped, %d lost; %+v", n, p.dropped, lost, a)
	}
	if a.Wrong > 0 || a.Stale > 0 {
		t.Errorf("%+v", a)
	}
}

// For 300 ms after a change, answers hold an old and a new record: each of them is found.
func TestAccuracyFindsMixedAnswers(t *testing.T) {
	t.Parallel()
	p := &planted{mix: 300 * time.Millisecond}
	addr := p.serve(t)
	a, _ := judge(t, []netip.AddrPort{addr}, append(changing, "--duration", "4s")...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := int(a.Mixed); n != int(a.Wrong) || n == 0 || n > p.mixed || n < p.mixed-int(a.Silent) || a.Stale > 0 || a.Missing > a.Silent {
		t.Errorf("the server mixed %d answers: %+v", p.mixed, a)
	}
}

// A change made in one cluster comes to the server of another later: each server has its own figures.
func TestAccuracyAcrossClusters(t *testing.T) {
	t.Parallel()
	here, there := &planted{}, &planted{delay: 500 * time.Millisecond}
	servers := []netip.AddrPort{here.serve(t), there.serve(t)}
	here.mu.Lock()
	// What is changed here is told to the other, which is a cluster that follows.
	both := &relayed{here, there}
	here.mu.Unlock()
	front, stop, err := dnstest.ServeAll(both)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	a, reached := judge(t, servers, append(changing, "--duration", "3s", "--update-server", front.String())...)
	if s := a.Servers[0]; s.Stale > 0 || s.Wrong > 0 || s.Propagation.FirstRight.P50 > a.Servers[1].Propagation.FirstRight.P50 {
		t.Errorf("here: %+v", s)
	}
	if s := a.Servers[1]; s.Stale == 0 || s.Wrong > 0 || s.Propagation.FirstRight.P50 < int64(495*time.Millisecond) {
		t.Errorf("there: %+v", s)
	}
	here.within(t, servers[0], reached)
	there.within(t, servers[1], reached)
}

// relayed gives an update to two servers.
type relayed struct{ a, b *planted }

func (r *relayed) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	for _, p := range []*planted{r.b, r.a} {
		p.mu.Lock()
		m := p.answer(q)
		p.mu.Unlock()
		if p == r.a {
			_ = w.WriteMsg(m)
		}
	}
}

// Somebody else makes the changes and tells of them, late.
func TestAccuracyFromEvents(t *testing.T) {
	t.Parallel()
	p := &planted{delay: 200 * time.Millisecond}
	addr := p.serve(t)
	path := filepath.Join(t.TempDir(), "events.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	change := func(n int) {
		rr, err := dns.NewRR(fmt.Sprintf("a.test. 5 IN AAAA fd00::%x", n))
		if err != nil {
			t.Error(err)
			return
		}
		p.mu.Lock()
		at := time.Now()
		p.names["a.test."] = append(p.names["a.test."], shown{at.Add(p.delay), []dns.RR{rr}})
		if n == 1 {
			p.names["a.test."][0].from = at
		}
		p.mu.Unlock()
		time.Sleep(100 * time.Millisecond) // that is how late it is told
		fmt.Fprintf(f, `{"unix_ns":%d,"name":"A.test","type":"AAAA","data":["FD00:0::%x"]}`+"\n", at.UnixNano(), n)
	}
	change(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 2; n < 8; n++ {
			time.Sleep(400 * time.Millisecond)
			change(n)
		}
	}()
	a, _ := judge(t, []netip.AddrPort{addr}, "--accuracy", "events:"+path, "--rate", "200", "--duration", "4s")
	<-done
	if a.Changes < 3 || a.Wrong > 0 || a.Stale == 0 || a.Missing > a.Silent || a.Propagation.FirstRight.P50 < int64(195*time.Millisecond) {
		t.Errorf("%+v", a)
	}
}

// dnsingress returns the program, linked by "go run" because that keeps what it links in the build cache.
func dnsingress(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dnsingress")
	if out, err := exec.Command("go", "run", "-exec", "cp", "github.com/dnsingress/dnsingress/cmd/dnsingress", path).CombinedOutput(); err != nil {
		t.Fatalf("building dnsingress: %v: %s", err, out)
	}
	return path
}

// A DNSEndpoint that is written anew comes to the answers of dnsingress, which follows the directory.
func TestAccuracyOfDNSIngress(t *testing.T) {
	t.Parallel()
	program, dir, config := dnsingress(t), t.TempDir(), filepath.Join(t.TempDir(), "config.yaml")
	addr := freeAddr(t)
	if err := os.WriteFile(config, fmt.Appendf(nil, "listen: [%q]\nzones: [{origin: apps.test, nameservers: [{name: ns.example.net}]}]\nkubernetes: {files: %q}\n", addr, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, "run", "--config", config)
	var said bytes.Buffer
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	}()
	for _, qtype := range []string{"AAAA", "A", "TXT"} {
		a, reached := judge(t, []netip.AddrPort{netip.MustParseAddrPort(addr)}, "--accuracy", "dnsendpoint:"+filepath.Join(dir, "endpoint.yaml"),
			"--zone", "apps.test", "--type", qtype, "--rate", "400", "--changes", "10", "--deletes", "0.5", "--duration", "2s", "--settle", "1m")
		if a.Right == 0 || a.Wrong > 0 || a.Missing > a.Silent || a.Propagation.FirstRight.Count == 0 {
			t.Errorf("%s: %+v", qtype, a)
		}
		deleted := 0
		for _, r := range reached {
			if len(r.Data) == 0 && r.FirstRightNs >= 0 {
				deleted++
			}
		}
		if deleted == 0 {
			t.Errorf("%s: of %d changes none was a deletion that was seen", qtype, len(reached))
		}
	}
}

func TestAccuracyMisuse(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	if err := os.WriteFile(bad, []byte(`{"unix_ns":1,"name":"a.test","type":"AAAA","data":["fd00::1"]}`+"\n"+`{"unix_ns":1,"name":"a.test","type":"AAAA","data":["x"]}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string][]string{
		"--accuracy update --type MX --names 0 --changes -1 --name a.test --tsig x": {"--zone is missing (hint:", "cannot be made (hint: AAAA, A or TXT)", "--names must be", "--changes must be", "exclude it", "no TSIG key (hint:"},
		"--accuracy magic":         {`unknown value "magic" (hint: update, zonefile, dnsendpoint, events)`},
		"--accuracy zonefile":      {"needs a path (hint: zonefile:PATH)"},
		"--accuracy events:/none":  {"no such file"},
		"--accuracy events:" + bad: {bad + `:2:1: data "x"`},
	} {
		out, err := exec.Command("loadgen", append([]string{"dns", "::1"}, strings.Fields(args)...)...).CombinedOutput()
		if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 2 {
			t.Errorf("%s: %v", args, err)
		}
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				t.Errorf("%s: %s; want %q", args, out, w)
			}
		}
	}
}
