// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/peer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
)

// peerLease is short, so that the tests are: TEST_PEER_LEASE=5s has them measure what the default gives.
func peerLease() string {
	if lease := os.Getenv("TEST_PEER_LEASE"); lease != "" {
		return lease
	}
	return "1s"
}

// federation is clusters as processes of their own, that reach each other through cables which a test can cut.
type federation struct {
	t      *testing.T
	net    string // first three octets of addresses of the loopback interface that nobody else uses
	names  []string
	merge  string
	dir    string
	cables map[[2]string]*cable // by who asks and who is asked
	procs  map[string]*peerProcess
}

// peerProcess is `dnsingress run` of one cluster, and those that follow it.
type peerProcess struct {
	f     *federation
	name  string
	dns   string
	admin string
	path  string // of the configuration
	files string // directory of manifests
	more  string // annotations of the Services
	cmd   *exec.Cmd
	log   *sink
}

const peerSecret = `key "peers." { algorithm hmac-sha256; secret "c2l4dGVlbiBvY3RldHMhIQ=="; };` + "\n"

// newFederation prepares clusters with these names, which share apps.test by merge, a list of rules.
func newFederation(t *testing.T, merge string, names ...string) *federation {
	t.Helper()
	f := &federation{
		t: t, net: fmt.Sprintf("127.%d.%d", 64+rand.IntN(128), rand.IntN(256)), names: names, merge: merge, dir: t.TempDir(),
		cables: map[[2]string]*cable{}, procs: map[string]*peerProcess{},
	}
	for i, from := range names {
		for k, to := range names {
			if from != to {
				f.cables[[2]string{from, to}] = newCable(t, fmt.Sprintf("%s.%d:5300", f.net, 100+10*i+k), fmt.Sprintf("%s.%d:5300", f.net, 1+k))
			}
		}
	}
	for i, name := range names {
		f.add(name, i, "")
	}
	return f
}

// add prepares a cluster's process, with more configuration at the top level.
func (f *federation) add(name string, i int, more string) *peerProcess {
	f.t.Helper()
	p := &peerProcess{f: f, name: name, dns: fmt.Sprintf("%s.%d:5300", f.net, 1+i), admin: fmt.Sprintf("%s.%d:9153", f.net, 1+i), files: filepath.Join(f.dir, name, "files")}
	if err := os.MkdirAll(p.files, 0o700); err != nil {
		f.t.Fatal(err)
	}
	var clusters strings.Builder
	for _, other := range f.names {
		if r := f.cables[[2]string{name, other}]; r != nil {
			fmt.Fprintf(&clusters, "    - {name: %s, servers: [%q], hosts: [\"*.apps.test\"]}\n", other, r.at)
		}
	}
	key := filepath.Join(f.dir, name, "peers.key")
	p.path = filepath.Join(f.dir, name, "config.yaml")
	p.write(key, peerSecret)
	p.write(p.path, fmt.Sprintf(`zones:
  - {origin: apps.test, nameservers: [{name: ns.served.example}], maxAnswers: 0}
listen: [%q]
admin: %q
lameDuck: 0s
state: %q
tsigKeys: [%q]
cluster: {name: %s, location: eu/%[5]s}
peers:
  zone: peers.test
  lease: %s
  key: peers.
  merge: [%s]
  clusters:
%s
kubernetes: {files: %q}
%s`, p.dns, p.admin, filepath.Join(f.dir, name), key, name, peerLease(), f.merge, clusters.String(), p.files, more))
	f.procs[name] = p
	return p
}

func (p *peerProcess) write(path, text string) {
	p.f.t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		p.f.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		p.f.t.Fatal(err)
	}
}

// publishes makes these all the pods that the cluster has for a name below apps.test; those with a ! are not ready.
func (p *peerProcess) publishes(name string, addresses ...string) {
	p.f.t.Helper()
	path := filepath.Join(p.files, name+".yaml")
	if len(addresses) == 0 {
		if err := os.Remove(path); err != nil {
			p.f.t.Fatal(err)
		}
		return
	}
	var pods strings.Builder
	for i, a := range addresses {
		a, unready := strings.CutPrefix(a, "!")
		fmt.Fprintf(&pods, "  - {addresses: [%q], conditions: {ready: %t}, targetRef: {kind: Pod, name: %s-%d, namespace: shop}}\n", a, !unready, name, i)
	}
	p.write(path, fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: shop, annotations: {external-dns.kubernetes.io/hostname: %[1]s.apps.test%[3]s}}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-1, namespace: shop, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv6
ports: [{port: 80}]
endpoints:
%[2]s`, name, pods.String(), p.more))
}

// writesDown has an object of the cluster say what address a name below apps.test has.
func (p *peerProcess) writesDown(name, address string) {
	p.f.t.Helper()
	p.write(filepath.Join(p.files, name+".yaml"), fmt.Sprintf(`apiVersion: externaldns.k8s.io/v1alpha1
kind: DNSEndpoint
metadata: {name: %[1]s, namespace: shop}
spec: {endpoints: [{dnsName: %[1]s.apps.test, recordType: AAAA, targets: [%[2]q]}]}
`, name, address))
}

// start starts the process, and waits until it answers.
func (p *peerProcess) start() {
	p.f.t.Helper()
	path, err := exec.LookPath("dnsingress") // which testscript.Main has put there
	if err != nil {
		p.f.t.Fatal(err)
	}
	p.log = new(sink)
	p.cmd = exec.Command(path, "run", "--config", p.path)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		p.f.t.Fatal(err)
	}
	c := p.cmd
	p.f.t.Cleanup(func() {
		_ = c.Process.Kill() // one that has ended is no trouble
		_ = c.Wait()
		if p.f.t.Failed() {
			p.f.t.Logf("%s:\n%s", p.name, p.log)
		}
	})
	p.await("ready", func() error {
		r, err := http.Get("http://" + p.admin + "/readyz")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return errors.New(r.Status)
		}
		return nil
	})
}

func (p *peerProcess) signal(s syscall.Signal) {
	p.f.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.f.t.Fatal(err)
	}
}

// await waits until something holds, and tells how long that took.
func (p *peerProcess) await(what string, holds func() error) time.Duration {
	p.f.t.Helper()
	begin := time.Now()
	var err error
	for time.Since(begin) < servePatience {
		if err = holds(); err == nil {
			return time.Since(begin)
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.f.t.Fatalf("%s: not %s: %v\n%s", p.name, what, err, p.log)
	return 0
}

// answer is what the cluster answers a name with, in order.
func (p *peerProcess) answer(name string) (string, error) {
	m, _, err := (&dns.Client{Timeout: 2 * time.Second}).Exchange(new(dns.Msg).SetQuestion(name+".apps.test.", dns.TypeAAAA), p.dns)
	if err != nil {
		return "", err
	}
	if m.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[m.Rcode], nil
	}
	var all []string
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.AAAA); ok {
			all = append(all, a.AAAA.String())
		}
	}
	slices.Sort(all)
	return strings.Join(all, " "), nil
}

// answers waits until the cluster answers a name with just these addresses.
func (p *peerProcess) answers(name, want string) time.Duration {
	p.f.t.Helper()
	return p.await("answering "+name+" with "+want, func() error {
		got, err := p.answer(name)
		if err == nil && got != want {
			err = fmt.Errorf("%q", got)
		}
		return err
	})
}

func (p *peerProcess) get(path string, into any) error {
	text, err := get("http://" + p.admin + path)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

func (p *peerProcess) explain(name string) pool.Explanation {
	p.f.t.Helper()
	var x pool.Explanation
	if err := p.get("/explain?name="+name+".apps.test", &x); err != nil {
		p.f.t.Fatal(err)
	}
	return x
}

func (p *peerProcess) status() peer.Status {
	p.f.t.Helper()
	var x peer.Status
	if err := p.get("/peers", &x); err != nil {
		p.f.t.Fatal(err)
	}
	return x
}

// says waits until what the exchange says of a peer has a text: why it is down, or the trouble with one of its servers.
func (p *peerProcess) says(name, text string) {
	p.f.t.Helper()
	p.await("saying "+text, func() error {
		var said []string
		for _, s := range p.status().Peers {
			if s.Name != name {
				continue
			}
			said = append(said, s.Why)
			for _, one := range s.Servers {
				said = append(said, one.Error)
			}
		}
		if all := strings.Join(said, "\n"); !strings.Contains(all, text) {
			return errors.New(all)
		}
		return nil
	})
}

// member is the one with an address in an explanation.
func member(t *testing.T, x pool.Explanation, address string) pool.Member {
	t.Helper()
	for _, m := range x.Members {
		if m.Address.String() == address {
			return m
		}
	}
	t.Fatalf("%s is not told of in %+v", address, x.Members)
	return pool.Member{}
}

// cut has two clusters reach each other, or not.
func (f *federation) cut(a, b string, cut bool) {
	f.cables[[2]string{a, b}].cut(cut)
	f.cables[[2]string{b, a}].cut(cut)
}

// TestPeers has three clusters answer one name with the members of all, and kills, stops, cuts off and restarts them. How
// long things took is told, and no test of anything.
func TestPeers(t *testing.T) {
	t.Parallel()
	f := newFederation(t, "{by: round-robin}", "north", "south", "west")
	north, south, west := f.procs["north"], f.procs["south"], f.procs["west"]
	for i, p := range []*peerProcess{north, south, west} {
		p.publishes("www", fmt.Sprintf("fd00::%d:1", i+1), fmt.Sprintf("fd00::%d:2", i+1))
	}
	south.publishes("alone", "fd00::2:9")
	south.writesDown("written", "fd00::2:77")
	for _, p := range []*peerProcess{north, south, west} {
		p.start()
	}
	const all = "fd00::1:1 fd00::1:2 fd00::2:1 fd00::2:2 fd00::3:1 fd00::3:2"
	const noSouth, noWest = "fd00::1:1 fd00::1:2 fd00::3:1 fd00::3:2", "fd00::1:1 fd00::1:2 fd00::2:1 fd00::2:2"
	const southAlone = "fd00::2:1 fd00::2:2 fd00::3:1 fd00::3:2"
	for _, p := range []*peerProcess{north, south, west} {
		p.answers("www", all)
		p.answers("alone", "fd00::2:9") // a name that one cluster has is answered by all
		p.answers("written", "fd00::2:77")
	}
	x := north.explain("www")
	if m := member(t, x, "fd00::2:1"); m.Cluster != "south" || m.State != "in" || m.Reason != "ready" || m.Node != "eu/south" || x.Merge != "round-robin" {
		t.Errorf("a member of another cluster is %+v, merged by %q", m, x.Merge)
	}
	if m := member(t, x, "fd00::1:1"); m.Cluster != "north" || m.Weight < 0.16 || m.Weight > 0.17 {
		t.Errorf("an own member is %+v", m)
	}

	t.Run("a change is one record", func(t *testing.T) {
		before := north.metric(`dnsingress_peer_questions_total{cluster="south",kind="axfr",result="done",server="` + f.cables[[2]string{"north", "south"}].at + `"}`)
		south.publishes("www", "fd00::2:1", "fd00::2:2", "fd00::2:3")
		t.Logf("a member more: %v", north.answers("www", "fd00::1:1 fd00::1:2 fd00::2:1 fd00::2:2 fd00::2:3 fd00::3:1 fd00::3:2"))
		south.publishes("www", "fd00::2:1", "fd00::2:2")
		t.Logf("a member less: %v", north.answers("www", all))
		if after := north.metric(`dnsingress_peer_questions_total{cluster="south",kind="axfr",result="done",server="` + f.cables[[2]string{"north", "south"}].at + `"}`); after != before {
			t.Errorf("%v whole transfers, %v before", after, before)
		}
	})
	t.Run("killed and restarted", func(t *testing.T) {
		south.signal(syscall.SIGKILL)
		t.Logf("killed: its members left after %v", north.answers("www", noSouth))
		west.answers("www", noSouth)
		north.answers("alone", "")             // it exists, and nobody is there
		north.answers("written", "fd00::2:77") // what somebody wrote down does not become wrong
		x := north.explain("www")
		m := member(t, x, "fd00::2:1")
		if m.State != "out" || m.Reason != "lease-ended" || len(x.Peers) != 2 || x.Peers[0].Name != "south" || x.Peers[0].Up || x.Peers[0].Heard == nil {
			t.Errorf("the reason is %+v, of peers %+v", m, x.Peers)
		}
		if last := x.History[len(x.History)-1]; last.Trigger != "peer" || last.Changes[0].Reason != "lease-ended" || last.Changes[0].Cluster != "south" {
			t.Errorf("the last event is %+v", last)
		}
		out := north.command("explain", "www.apps.test")
		for _, want := range []string{"peer south is down", "lease-ended", "merged by round-robin"} {
			if !strings.Contains(out, want) {
				t.Errorf("explain does not say %q:\n%s", want, out)
			}
		}
		if out := north.command("peers"); !strings.Contains(out, "south is down: the lease has ended, last heard") {
			t.Errorf("peers says\n%s", out)
		}
		_ = south.cmd.Wait()
		south.start()
		t.Logf("restarted: its members were back %v after it was ready", north.answers("www", all))
		west.answers("www", all)
	})
	t.Run("stopped and continued", func(t *testing.T) {
		west.signal(syscall.SIGSTOP)
		t.Logf("stopped: its members left after %v", north.answers("www", noWest))
		west.signal(syscall.SIGCONT)
		t.Logf("continued: its members were back after %v", north.answers("www", all))
		west.answers("www", all)
	})
	t.Run("partitioned and healed", func(t *testing.T) {
		f.cut("north", "south", true)
		t.Logf("cut off: its members left after %v", north.answers("www", noSouth))
		south.answers("www", southAlone)
		west.answers("www", all) // who is not cut off sees all
		f.cut("north", "south", false)
		t.Logf("healed: its members were back after %v", north.answers("www", all))
		south.answers("www", all)
	})
	t.Run("replayed", func(t *testing.T) {
		r := f.cables[[2]string{"north", "south"}]
		r.record()
		north.await("recorded", func() error { return r.recorded(3) })
		r.replay()
		t.Logf("replayed: its members left after %v", north.answers("www", noSouth))
		north.says("south", "BADSIG")
		r.cut(false)
		north.answers("www", all)
	})
	t.Run("in order", func(t *testing.T) {
		south.signal(syscall.SIGTERM)
		if err := south.cmd.Wait(); err != nil {
			t.Errorf("ended with %v", err)
		}
		t.Logf("ended: its members left after %v", north.answers("www", noSouth))
	})
}

// metric is one of the process's metrics; 0 where there is none.
func (p *peerProcess) metric(name string) string {
	p.f.t.Helper()
	text, err := get("http://" + p.admin + "/metrics")
	if err != nil {
		p.f.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "0"
}

// command runs one of the commands against the process's admin address.
func (p *peerProcess) command(args ...string) string {
	p.f.t.Helper()
	var out bytes.Buffer
	c := exec.Command(p.cmd.Path, append(args, "--admin", "http://"+p.admin)...)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		p.f.t.Fatalf("%v: %v\n%s", args, err, out.String())
	}
	return out.String()
}

// edit replaces texts in a process's configuration, which has them.
func (p *peerProcess) edit(pairs ...string) {
	p.f.t.Helper()
	data, err := os.ReadFile(p.path)
	if err != nil {
		p.f.t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			p.f.t.Fatalf("there is no %q in\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	p.write(p.path, text)
}

// TestPeersByHand asks for a cluster's private zone as people do with dig, by another implementation of TSIG.
func TestPeersByHand(t *testing.T) {
	t.Parallel()
	f := newFederation(t, "", "north", "south")
	north := f.procs["north"]
	north.publishes("www", "fd00::1:1", "!fd00::1:2")
	north.start()
	key := map[string]string{"peers.": "c2l4dGVlbiBvY3RldHMhIQ=="}
	ask := func(name string, qtype uint16, secret map[string]string) (*dns.Msg, error) {
		m := new(dns.Msg).SetQuestion(name, qtype)
		m.SetEdns0(1232, false)
		if secret != nil {
			m.SetTsig("peers.", dns.HmacSHA256, 300, time.Now().Unix())
		}
		r, _, err := (&dns.Client{TsigSecret: secret, Timeout: servePatience}).Exchange(m, north.dns)
		return r, err
	}
	north.await("telling of its pool", func() error {
		r, err := ask("www.apps.test.north.peers.test.", dns.TypeTXT, key)
		if err != nil {
			return err
		}
		var all []string
		for _, rr := range r.Answer {
			if txt, ok := rr.(*dns.TXT); ok {
				all = append(all, strings.Join(txt.Txt, " "))
			}
		}
		slices.Sort(all)
		want := "member address=fd00::1:1 state=in reason=ready weight=1 location=eu/north pod=www-0\n" +
			"member address=fd00::1:2 state=out reason=not-ready location=eu/north pod=www-1\npool ttl=5 shards=1"
		if got := strings.Join(all, "\n"); got != want || !r.Authoritative {
			return errors.New(got)
		}
		return nil
	})
	if r, err := ask("www.apps.test.north.peers.test.", dns.TypeAAAA, key); err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 || len(r.Ns) != 1 {
		t.Errorf("no data is %v, %v", r, err)
	}
	if r, err := ask("gone.apps.test.north.peers.test.", dns.TypeTXT, key); err != nil || r.Rcode != dns.RcodeNameError {
		t.Errorf("no such name is %v, %v", r, err)
	}
	transfer := dns.Transfer{TsigSecret: key}
	m := new(dns.Msg).SetAxfr("north.peers.test.")
	m.SetTsig("peers.", dns.HmacSHA256, 300, time.Now().Unix())
	answers, err := transfer.In(m, north.dns)
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for a := range answers {
		if a.Error != nil {
			t.Error(a.Error)
		}
		records += len(a.RR)
	}
	if records != 7 { // SOA, NS, the apex, the pool, two members, SOA
		t.Errorf("%d records", records)
	}
	// To all others there is no such zone.
	for name, qtype := range map[string]uint16{"north.peers.test.": dns.TypeSOA, "www.apps.test.north.peers.test.": dns.TypeTXT} {
		if r, err := ask(name, qtype, nil); err != nil || r.Rcode != dns.RcodeRefused {
			t.Errorf("%s without a key: %v, %v", name, r, err)
		}
	}
	if r, err := ask("north.peers.test.", dns.TypeSOA, map[string]string{"peers.": "bm90IHRoZSBzZWNyZXQ="}); r == nil || r.Rcode != dns.RcodeNotAuth {
		t.Errorf("with a wrong key: %v, %v", r, err)
	}
	c := dns.Client{Net: "tcp", Timeout: servePatience}
	if r, _, err := c.Exchange(new(dns.Msg).SetAxfr("north.peers.test."), north.dns); err != nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("a transfer without a key: %v, %v", r, err)
	}
	north.await("telling who was refused", func() error {
		said := fmt.Sprintf("%+v", north.status().Denied)
		if !strings.Contains(said, "BADSIG") || !strings.Contains(said, "it may not have it") {
			return errors.New(said)
		}
		return nil
	})
	if out := north.command("peers"); !strings.Contains(out, "refused 127.0.0.1, TSIG: BADSIG: key peers., 1 times") && !strings.Contains(out, ", TSIG: BADSIG: key peers., 1 times") {
		t.Errorf("peers says\n%s", out)
	}
	if got := north.metric(`dnsingress_peer_refused_total{cluster="north",what="asked"}`); got == "0" {
		t.Error("it is not counted")
	}
}

// TestPeersWithoutTrust has clusters that are not what they should be: one with the name of another, one with another key,
// one that publishes more than it was granted.
func TestPeersWithoutTrust(t *testing.T) {
	t.Parallel()
	f := newFederation(t, "", "north", "south", "twin", "east")
	north, south, twin, east := f.procs["north"], f.procs["south"], f.procs["twin"], f.procs["east"]
	at := func(from, to string) string { return f.cables[[2]string{from, to}].at }
	twin.edit("cluster: {name: twin", "cluster: {name: south", "{name: south, servers", "{name: other, servers")
	north.edit(fmt.Sprintf("servers: [%q]", at("north", "south")), fmt.Sprintf("servers: [%q, %q]", at("north", "south"), at("north", "twin")),
		fmt.Sprintf("    - {name: twin, servers: [%q], hosts: [\"*.apps.test\"]}\n", at("north", "twin")), "",
		fmt.Sprintf("{name: south, servers: [%q, %q], hosts: [\"*.apps.test\"]}", at("north", "south"), at("north", "twin")),
		fmt.Sprintf("{name: south, servers: [%q, %q], hosts: [www.apps.test]}", at("north", "south"), at("north", "twin")))
	east.write(filepath.Join(f.dir, "east", "peers.key"), strings.ReplaceAll(peerSecret, "c2l4", "b2l4"))
	north.publishes("www", "fd00::1:1")
	south.publishes("www", "fd00::2:1")
	south.publishes("mail", "fd00::2:2")
	twin.publishes("www", "fd00::3:1")
	east.publishes("www", "fd00::4:1")
	north.start()
	south.start()
	north.answers("www", "fd00::1:1 fd00::2:1")
	twin.start()
	east.start()
	north.says("south", "two clusters are called south")
	north.says("east", "BADSIG")
	north.answers("www", "fd00::1:1 fd00::2:1")
	north.answers("mail", "NXDOMAIN")
	if p := north.status().Peers[0]; !p.Up || !slices.Equal(p.Refused, []string{"mail.apps.test."}) {
		t.Errorf("%+v", p)
	}
	if out := north.command("peers"); !strings.Contains(out, "south was not granted: mail.apps.test.") {
		t.Errorf("peers says\n%s", out)
	}
	for _, what := range []string{"identity", "host"} {
		if north.metric(`dnsingress_peer_refused_total{cluster="south",what="`+what+`"}`) == "0" {
			t.Errorf("%s is not counted", what)
		}
	}
	// The one that counts goes, and the other has the name now.
	south.signal(syscall.SIGKILL)
	north.answers("www", "fd00::1:1 fd00::3:1")
}

// TestPeersInOrder has one cluster answer for another that is killed.
func TestPeersInOrder(t *testing.T) {
	t.Parallel()
	f := newFederation(t, "{by: primary-fallback, order: [north, south]}", "north", "south")
	north, south := f.procs["north"], f.procs["south"]
	north.publishes("www", "fd00::1:1")
	south.publishes("www", "fd00::2:1")
	south.start()
	south.answers("www", "fd00::2:1")
	north.start()
	south.answers("www", "fd00::1:1")
	if m := member(t, south.explain("www"), "fd00::2:1"); m.State != "out" || m.Reason != "standby" {
		t.Errorf("the fallback is %+v", m)
	}
	north.signal(syscall.SIGKILL)
	t.Logf("killed: the fallback answered after %v", south.answers("www", "fd00::2:1"))
	_ = north.cmd.Wait()
	north.publishes("www", "!fd00::1:1") // it comes back with nobody ready
	north.start()
	north.answers("www", "fd00::2:1")
	south.answers("www", "fd00::2:1")
	north.publishes("www", "fd00::1:1")
	t.Logf("ready again: the primary answered after %v", south.answers("www", "fd00::1:1"))
}

// testPeerIdentity has a cluster be who its namespace kube-system says, by the rights that deploy/ gives.
func testPeerIdentity(t *testing.T, c *cluster) {
	var system corev1.Namespace
	untilNil(t, func() error {
		return c.admin.Get(t.Context(), client.ObjectKey{Name: metav1.NamespaceSystem}, &system)
	})
	key := filepath.Join(t.TempDir(), "peers.key")
	if err := os.WriteFile(key, []byte(peerSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	i := c.run(t, fmt.Sprintf("tsigKeys: [%q]\ncluster: {name: north}\npeers: {zone: peers.test, key: peers., clusters: [{name: south, servers: [\"[::1]:9\"], hosts: [\"*\"]}]}", key))
	untilNil(t, func() error {
		if got := i.peers.Status(); got.Identity != string(system.UID) || got.Serial == 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}
