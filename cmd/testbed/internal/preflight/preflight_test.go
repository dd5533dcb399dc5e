// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/sshtest"
)

func testInventory() *inventory.Inventory {
	return &inventory.Inventory{
		Path: "inventory.yaml", Cluster: "rack", Substrate: "pi", SSH: inventory.SSH{User: "root", Port: 22},
		Nodes: []inventory.Node{
			{Name: "control-1", Groups: []string{inventory.Control}, Address: netip.MustParseAddr("fd6e:7369:9:1::1")},
			{Name: "worker-1", Groups: []string{inventory.Worker}, Address: netip.MustParseAddr("fd6e:7369:9:1::11")},
			{Name: "worker-2", Groups: []string{inventory.Worker}, Address: netip.MustParseAddr("fd6e:7369:9:1::12")},
		},
	}
}

func TestJudges(t *testing.T) {
	checks := map[string]Check{}
	for _, c := range Checks(testInventory(), Standard("pi")) {
		checks[c.Name] = c
	}
	for _, tt := range []struct {
		check, value string
		want         string
		ok           bool
	}{
		{"throttling", "0x0", "0x0", true},
		{"throttling", "", "", true},
		{"throttling", "0x50000", "0x50000: under-voltage since boot, throttled since boot", false},
		{"throttling", "0x50005", "0x50005: under-voltage now, throttled now", false},
		{"throttling", "0xe0008", "0xe0008: frequency capped since boot, throttled since boot, soft temperature limit now", false},
		{"throttling", "unknown", "unknown", false},
		{"temperature", "54350", "54.4 °C", true},
		{"temperature", "75000", "75.0 °C", false},
		{"temperature", "", "", true},
		{"governor", "performance", "performance", true},
		{"governor", "ondemand performance", "ondemand performance", false},
		{"governor", "", "", true},
		{"page size", "4096", "4096", true},
		{"page size", "16384", "16384", false},
		{"address space", "aarch64\nfffff1c20000", "48 bits (aarch64)", true},
		{"address space", "aarch64\n7fffc1c20000", "47 bits (aarch64)", false},
		{"address space", "aarch64\n7fc1c20000", "39 bits (aarch64)", false},
		{"address space", "x86_64\n7ffcc1c20000", "47 bits (x86_64)", true},
		{"address space", "aarch64\n", "unknown", false},
		{"free space", "4194304 /", "4.0 GiB on /", true},
		{"free space", "4194303 /var/lib/containerd", "4.0 GiB on /var/lib/containerd", false},
		{"free space", "", "unknown", false},
		{"memory", "16000000", "15.3 GiB", true},
		{"memory", "900000", "0.9 GiB", false},
		{"swap", "", "none", true},
		{"swap", "/var/swap", "/var/swap", false},
		{"kernel features", "all", "all", true},
		{"kernel features", "cgroup-memory\nnftables\nall", "missing: cgroup-memory, nftables", false},
		{"kernel features", "", "unknown", false},
		{"other load", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu  110 0 110 980 0 0 0 0 0 0", "10 %", true},
		{"other load", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu  200 0 150 850 0 0 0 0 0 0", "75 %", false},
		{"other load", "cpu  100 0 100 800 0 0 0 0 0 0", "unknown", false},
		{"chrony", "FD6E0001,fd6e::1,2,1700000000.0,0.000012,0.00001,0.00002,-1.2,0.0,0.1,0.001,0.002,64.2,Normal", "normal, off by 12µs", true},
		{"chrony", "FD6E0001,fd6e::1,2,1700000000.0,-0.002,0.00001,0.00002,-1.2,0.0,0.1,0.001,0.002,64.2,Normal", "normal, off by 2ms", false},
		{"chrony", "7F7F0101,,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised", "not synchronised, off by 0s", false},
		{"chrony", "506 Cannot talk to daemon", "no answer", false},
		{"units", "", "none failed", true},
		{"units", "kubelet.service", "kubelet.service", false},
		{"leftovers", "", "none", true},
		{"leftovers", "netem on eth0\nload generator 17", "netem on eth0, load generator 17", false},
		{Programs, "", "all started", true},
		{Programs, "envoy\nnginx", "never started here: envoy, nginx", false},
		{"kubelets", "control-1 True\nworker-1 True\nworker-2 True", "2 Ready", true},
		{"kubelets", "worker-1 True\nworker-2 Unknown", "worker-2 is not Ready", false},
		{"kubelets", "worker-1 True", "worker-2 is unknown to Kubernetes", false},
		{"kubelets", "", "the API server does not answer", false},
		{"pods", "kube-system coredns-1 1/1 Running 0 5m\nend", "1 run", true},
		{"pods", "end", "0 run", true},
		{"pods", "dnsingress a 0/1 CrashLoopBackOff 3 5m\nbench backend-1 1/1 Running 0 5m\nend", "dnsingress/a CrashLoopBackOff, bench/backend-1 of an experiment", false},
		{"pods", "", "the API server does not answer", false},
		{"scrapes", `{"status":"success","data":{"result":[{"metric":{"job":"kubelet","instance":"worker-1"},"value":[1,"1"]}]}}`, "1 targets up", true},
		{"scrapes", `{"status":"success","data":{"result":[{"metric":{"job":"kubelet","instance":"worker-1"},"value":[1,"0"]}]}}`, "down: kubelet worker-1", false},
		{"scrapes", `{"status":"success","data":{"result":[]}}`, "no target at all", false},
		{"scrapes", "", "Prometheus does not answer", false},
	} {
		c, known := checks[tt.check]
		if !known {
			t.Fatalf("no check %q", tt.check)
		}
		if got, ok := c.Judge(tt.value); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %q is judged as %q, %t; want %q, %t", tt.check, tt.value, got, ok, tt.want, tt.ok)
		}
	}
}

// Whoever reads a finding is told what was looked at and what to do.
func TestChecksAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Checks(testInventory(), Standard("pi")) {
		if c.Name == "" || c.Reads == "" || c.Bound == "" || c.Cure == "" || c.Script == "" || c.Judge == nil {
			t.Errorf("check %q lacks something: %+v", c.Name, c)
		}
		if seen[c.Name] {
			t.Errorf("two checks are called %q", c.Name)
		}
		seen[c.Name] = true
		if out, err := exec.Command("sh", "-n", "-c", c.Script).CombinedOutput(); err != nil {
			t.Errorf("%s: the script is none: %s", c.Name, out)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("@@ swap\nnone\n@@ end\n")
	f.Add("@@ swap\n@@ end")
	f.Add("noise\n@@\n@@ end\n")
	f.Fuzz(func(t *testing.T, out string) {
		values, _ := parse(out)
		for _, c := range Checks(testInventory(), Standard("pi")) {
			c.Judge(values[c.Name]) // whatever a node prints, no check panics
			c.Judge(out)
		}
	})
}

// A node is asked for all at once; what is wrong with one does not hide what is with another.
func TestRun(t *testing.T) {
	inv := testInventory()
	client := sshtest.NewKey(t)
	hosts := map[string]*sshtest.Host{
		"control-1": sshtest.NewHost(t, client.PublicKey()),
		"worker-1":  sshtest.NewHost(t, client.PublicKey(), "PATH="+commands(t, map[string]string{"vcgencmd": "echo throttled=0x50005", "getconf": "echo 16384", "cat": `exec /bin/cat "$@"`})),
	}
	fleet := sshtest.Fleet(t, inv, client, hosts)
	hosts["worker-2"] = hosts["worker-1"] // that answers at two addresses
	findings, err := Run(t.Context(), fleet, inv, inv.Nodes, Standard("pi"), false)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]Finding{}
	for _, f := range findings {
		found[f.Node+" "+f.Check] = f
	}
	for what, ok := range map[string]bool{
		"control-1 ssh": true, "control-1 clock": true, "worker-1 ssh": true, "worker-1 throttling": false, "worker-1 page size": false, "worker-2 host key": false,
	} {
		if f, there := found[what]; !there || f.OK != ok || f.OK != (f.Cure == "") {
			t.Errorf("%s: %+v, want OK %t", what, f, ok)
		}
	}
	if f := found["worker-1 throttling"]; !f.Stops || !strings.Contains(f.String(), "throttling: 0x50005: under-voltage now, throttled now, must be 0x0 (hint: ") {
		t.Errorf("throttling is found as %v", f)
	}
	if f := found["worker-2 host key"]; f.Value == "" || !f.Stops {
		t.Errorf("a strange host key is found as %+v", f)
	}
	if f, there := found["worker-1 kubelets"]; there {
		t.Errorf("a node that is not provisioned was asked for its kubelets: %v", f)
	}
}

// commands makes programs that stand in for a node's own, and returns a PATH with them.
func commands(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir + ":" + os.Getenv("PATH")
}

// A clock that is off is found, within what the round trip leaves open.
func TestClock(t *testing.T) {
	b := Bounds{Clock: time.Millisecond}
	for _, tt := range []struct {
		offset, rtt time.Duration
		ok          bool
	}{
		{900 * time.Microsecond, 0, true},
		{-1100 * time.Microsecond, 0, false},
		{1400 * time.Microsecond, time.Millisecond, true},
		{-1600 * time.Microsecond, time.Millisecond, false},
	} {
		if f := clockFinding(inventory.Node{Name: "n"}, tt.offset, tt.rtt, b); f.OK != tt.ok || f.OK != (f.Cure == "") {
			t.Errorf("%v off with a round trip of %v: %+v", tt.offset, tt.rtt, f)
		}
	}
}

// On a twin, one node speaks for the kernel that all share, and it is a worker.
func TestSpeaker(t *testing.T) {
	inv := testInventory()
	inv.Substrate = "twin"
	count := map[string]int{}
	for _, n := range inv.Nodes {
		for _, c := range of(Checks(inv, Standard("twin")), inv, n, speaker(inv.Nodes), true) {
			if c.Boards {
				t.Errorf("%s is asked %s, which only boards can tell", n.Name, c.Name)
			}
			if c.Kernel {
				count[n.Name]++
			}
		}
	}
	if len(count) != 1 || count["worker-1"] == 0 {
		t.Errorf("asked for the kernel: %v", count)
	}
}

func ExampleFinding_String() {
	fmt.Println(Finding{Node: "worker-1", Check: "governor", Value: "ondemand", Bound: "performance on every CPU", Cure: "testbed up sets it"})
	// Output: governor: ondemand, must be performance on every CPU (hint: testbed up sets it)
}
