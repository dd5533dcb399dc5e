// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// publishing is a leaf's zones, as many leaves in one process have them.
type publishing struct {
	mu    sync.Mutex
	zones map[string][]model.Nameserver
}

func (p *publishing) Served() []registration.Zone {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]registration.Zone, 0, len(p.zones))
	for origin, servers := range p.zones {
		out = append(out, registration.Zone{Origin: origin, Nameservers: servers})
	}
	return out
}

func (p *publishing) Adopt(origin string, servers []model.Nameserver) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.zones[origin] = servers
}

func (p *publishing) Remark(string, []model.Problem) {}

// least is how few name servers one of the zones has.
func (p *publishing) least() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	least := -1
	for _, servers := range p.zones {
		if least < 0 || len(servers) < least {
			least = len(servers)
		}
	}
	return least
}

// cpu is what a process has had of processors.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	var ticks int
	for _, at := range []int{11, 12} { // utime, stime; of 100 a second (proc(5))
		n, err := strconv.Atoi(f[at])
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// TestRegistrationStorm has many leaves register many zones with an upper, at first and after it has been killed, with what
// it keeps and without. DNSINGRESS_STORM=ZONES,LEAVES,SERVERS (of each zone) makes it another size.
func TestRegistrationStorm(t *testing.T) {
	zones, leaves, each := 60, 6, 3
	if size := os.Getenv("DNSINGRESS_STORM"); size != "" {
		if _, err := fmt.Sscanf(size, "%d,%d,%d", &zones, &leaves, &each); err != nil {
			t.Fatal(err)
		}
	}
	state := t.TempDir()
	upper := newServer(t, fmt.Sprintf(`
zones:
  - origin: apps.test
    role: upper
    nameservers: [{name: ns.apps.test, addresses: ["2001:db8::53"]}]
    registrations: {settle: 1s, mostServers: 64, grants: [{key: leaf, children: ["*.apps.test"], nameservers: ["*.dns.apps.test"]}]}
state: %s
`, state), "", "leaf")
	upper.start()
	keys := transfer.Keys{}
	key, err := transfer.NewKey("leaf", "hmac-sha256", treeSecret)
	if err != nil {
		t.Fatal(err)
	}
	keys[key.Name] = key
	var to transfer.Remote
	if err := to.UnmarshalText([]byte(upper.dns + "+key:leaf")); err != nil {
		t.Fatal(err)
	}
	metrics, err := registration.NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	over := fmt.Errorf("the test is over")
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(over)
	published := make([]*publishing, leaves)
	begin := time.Now()
	for i := range leaves {
		p := &publishing{zones: map[string][]model.Nameserver{}}
		published[i] = p
		for k := range zones {
			if (i-k%leaves+leaves)%leaves < each {
				p.zones[fmt.Sprintf("zone-%d.apps.test.", k)] = []model.Nameserver{}
			}
		}
		leaf, err := registration.NewLeaf(registration.LeafOptions{
			Sections: []registration.Section{{
				Zone: "apps.test.", Uppers: []transfer.Remote{to}, Lease: time.Minute, Interval: time.Minute,
				Server: model.Nameserver{Name: fmt.Sprintf("ns-%d.dns.apps.test.", i), Addresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1))}},
			}},
			Keys: keys, Publisher: p, Metrics: metrics, Replaced: over, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { _ = leaf.Run(ctx) }) // it returns nil
	}
	// converged is when the upper refers to all, by the last zone that it is asked for, and then all leaves publish all.
	own := cpu(t, os.Getpid())
	converged := func(what string, begin time.Time) {
		t.Helper()
		complete := func(name string) bool {
			r, err := upper.ask(name, dns.TypeNS)
			return err == nil && len(slices.DeleteFunc(r.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeNS })) == each
		}
		patience := time.Now().Add(5 * time.Minute)
		await := func(ok func() bool) {
			t.Helper()
			for !ok() {
				if time.Now().After(patience) {
					t.Fatalf("%s: not converged in five minutes; the upper has %d leases", what, len(upper.listing().Leases))
				}
				time.Sleep(20 * time.Millisecond) // what is observed from outside raises no event
			}
		}
		for k := range zones {
			await(func() bool { return complete(fmt.Sprintf("zone-%d.apps.test.", k)) })
		}
		parent := time.Since(begin)
		for _, p := range published {
			await(func() bool { return p.least() == each })
		}
		t.Logf("%s: %d zones of %d name servers each by %d leaves: the upper refers to all after %v, all leaves publish all after %v, CPU: upper %v, all leaves %v", what, zones, each, leaves,
			parent.Round(10*time.Millisecond), time.Since(begin).Round(10*time.Millisecond), cpu(t, upper.process.Process.Pid), cpu(t, os.Getpid())-own)
		own = cpu(t, os.Getpid())
	}
	converged("first registration", begin)
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) { // until what is registered is on the disk
		kept, err := filepath.Glob(filepath.Join(state, "*registrations"))
		if err != nil {
			t.Fatal(err)
		}
		if len(kept) == 1 {
			text, err := os.ReadFile(kept[0])
			if err == nil && bytes.Count(text, []byte(`"lease_seconds"`)) == zones*each {
				break
			}
		}
		if time.Since(begin) > time.Minute {
			t.Fatal("what is registered is not on the disk")
		}
	}
	for _, kept := range []bool{true, false} {
		upper.end(syscall.SIGKILL)
		what := "restart with state"
		if !kept {
			what = "restart without state"
			if err := os.RemoveAll(state); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(state, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		upper.start()
		converged(what, begin)
	}
	before, ownBefore, since := cpu(t, upper.process.Process.Pid), cpu(t, os.Getpid()), time.Now()
	if os.Getenv("DNSINGRESS_STORM") != "" {
		time.Sleep(30 * time.Second)
		t.Logf("at rest for %v: CPU: upper %v, all leaves %v", time.Since(since).Round(time.Second), cpu(t, upper.process.Process.Pid)-before, cpu(t, os.Getpid())-ownBefore)
	}
}
