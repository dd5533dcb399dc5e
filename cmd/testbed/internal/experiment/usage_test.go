// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
	"github.com/dnsingress/dnsingress/internal/results"
)

// A worker on a hybrid (v1) host, and one with cgroup v2 under the systemd driver, as counterScript prints them.
const (
	hybrid = `@stat %[1]d
cpu  %[2]d 0 100 1000 50 0 %[3]d 0 0 0
@cgroup1
/sys/fs/cgroup/cpuacct/kubepods/besteffort/podaaaa-1/cpuacct.usage:%[4]d
/sys/fs/cgroup/cpuacct/kubepods/besteffort/podaaaa-1/c0ffee/cpuacct.usage:%[4]d
/sys/fs/cgroup/cpuacct/kubepods/besteffort/podaaaa-1/5a4d/cpuacct.usage:7
@cgroup2
/sys/fs/cgroup/unified/system.slice/kubelet.service/cpu.stat:usage_usec %[5]d
/sys/fs/cgroup/unified/system.slice/ssh.service/cpu.stat:usage_usec 5
@procs
7 (kube let) S 1 7 7 0 -1 0 0 0 0 0 1 1 0 0 20 0 9 0 100 1000 50 1 1 1
8 (a) b) S 1 7 7 0 -1 0 0 0 0 0 1 1 0 0 20 0 9 0 100 1000 20 1 1 1
9 (backend) S 1 7 7 0 -1 0 0 0 0 0 1 1 0 0 20 0 9 0 100 1000 3 1 1 1
@units
/proc/7/cgroup:9:name=systemd:/system.slice/kubelet.service
/proc/7/cgroup:0::/
/proc/8/cgroup:9:name=systemd:/system.slice/kubelet.service/sub
/proc/9/cgroup:9:name=systemd:/kubepods/besteffort/podaaaa-1/c0ffee
/proc/9/cgroup:0::/
@net
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     999       0    0    0    0     0          0         0      999       0    0    0    0     0       0          0
  eth0: %[6]d     441    0    0    0     0          0         0    61727     323    0    0    0     0       0          0
veth1234:  777     441    0    0    0     0          0         0    777     323    0    0    0     0       0          0
@end
`
	unified = `@stat %[1]d
cpu  %[2]d 0 100 1000 50 0 %[3]d 0 0 0
@cgroup1
@cgroup2
/sys/fs/cgroup/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podaaaa_1.slice/cpu.stat:usage_usec %[5]d
/sys/fs/cgroup/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podaaaa_1.slice/cri-containerd-c0ffee.scope/cpu.stat:usage_usec %[5]d
/sys/fs/cgroup/system.slice/kubelet.service/cpu.stat:usage_usec %[5]d
@procs
7 (kubelet) S 1 7 7 0 -1 0 0 0 0 0 1 1 0 0 20 0 9 0 100 1000 50 1 1 1
@units
/proc/7/cgroup:0::/system.slice/kubelet.service
@net
  eth0: %[6]d     441    0    0    0     0          0         0    61727     323    0    0    0     0       0          0
@end
`
)

func mustParse(t *testing.T, format string, a ...any) *reading {
	t.Helper()
	r, err := parseReading(fmt.Appendf(nil, format, a...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestUsage(t *testing.T) {
	pod := func(id string) kubectl.Pod {
		return kubectl.Pod{
			Namespace: "bench", Name: "p", UID: "aaaa-1", Node: "worker-1",
			Labels:     map[string]string{system.ComponentLabel: "proxy", system.SystemLabel: "nginx"},
			Containers: []kubectl.Container{{Name: "nginx", ID: id}},
		}
	}
	envoy := pod("c0ffee")
	envoy.Labels[system.SystemLabel], envoy.Containers[0].Name = "envoy", "contour"
	elsewhere := pod("c0ffee")
	elsewhere.Node = "worker-2"
	row := func(component, unit string, cpu, rss int64) results.Resource {
		return results.Resource{Node: "worker-1", Component: component, Unit: unit, StartNs: 100, EndNs: 1100, CPUNs: cpu, RSSBytes: rss}
	}
	for name, test := range map[string]struct {
		format  string
		pod     kubectl.Pod
		want    []results.Resource
		missing []string
	}{
		"v1": {hybrid, pod("c0ffee"), []results.Resource{
			row("proxy", "bench/p/nginx", 3000, 3*4096), row("node-agent", "kubelet.service", 2_000_000, 70*4096),
		}, nil},
		"v2": {unified, pod("c0ffee"), []results.Resource{
			row("proxy", "bench/p/nginx", 2_000_000, 0), row("node-agent", "kubelet.service", 2_000_000, 50*4096),
		}, nil},
		"controller beside the proxy": {hybrid, envoy, []results.Resource{
			row("controller", "bench/p/contour", 3000, 3*4096), row("node-agent", "kubelet.service", 2_000_000, 70*4096),
		}, nil},
		"a container that was restarted counts by its pod": {hybrid, pod("gone"), []results.Resource{
			row("proxy", "bench/p", 3000, 3*4096), row("node-agent", "kubelet.service", 2_000_000, 70*4096),
		}, nil},
		"the same under v2": {unified, pod("gone"), []results.Resource{
			row("proxy", "bench/p", 2_000_000, 0), row("node-agent", "kubelet.service", 2_000_000, 50*4096),
		}, nil},
		"another node's pod": {hybrid, elsewhere, []results.Resource{
			row("node-agent", "kubelet.service", 2_000_000, 70*4096),
		}, nil},
		"a pod without counters": {hybrid, func() kubectl.Pod { p := pod("gone"); p.UID = "bbbb"; return p }(), []results.Resource{
			row("node-agent", "kubelet.service", 2_000_000, 70*4096),
		}, []string{"worker-1: pod bench/p"}},
	} {
		t.Run(name, func(t *testing.T) {
			u := usage{
				"worker-1",
				mustParse(t, test.format, 100, 500, 10, 1000, 1000, 5000),
				mustParse(t, test.format, 1100, 600, 12, 4000, 3000, 9000),
			}
			rows, missing := u.rows([]kubectl.Pod{test.pod})
			if d := cmp.Diff(test.want, rows); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(test.missing, missing); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestHostRowsOnceAKernel(t *testing.T) {
	u := func(node string) usage {
		return usage{node, mustParse(t, hybrid, 100, 500, 10, 0, 0, 5000), mustParse(t, hybrid, 1100, 600, 12, 0, 0, 9000)}
	}
	// The nodes of one kernel see each other's reading: it is outside between the last start and the first end.
	early := u("a")
	early.start, early.end = mustParse(t, hybrid, 90, 400, 10, 0, 0, 5000), mustParse(t, hybrid, 1200, 900, 12, 0, 0, 9000)
	boots := []results.Host{{Name: "a", BootID: "one"}, {Name: "b", BootID: "one"}, {Name: "c", BootID: "two"}}
	host := func(node, boot string, rx int64) results.Resource {
		return results.Resource{
			Node: node, Component: "host", Unit: boot, StartNs: 100, EndNs: 1100,
			CPUNs: int64(1020 * time.Millisecond), SoftirqNs: int64(20 * time.Millisecond), TotalNs: int64(1020 * time.Millisecond), RxBytes: rx,
		}
	}
	got := hostRows([]usage{u("c"), u("b"), early}, boots)
	if d := cmp.Diff([]results.Resource{host("a", "one", 8000), host("c", "two", 4000)}, got); d != "" {
		t.Error(d)
	}
	if o := overloaded(got, 0.9); len(o) != 2 || !strings.Contains(o[0], "host a were busy for 100 %") {
		t.Errorf("overloaded: %q", o)
	}
	if o := overloaded(got, 1); len(o) != 0 {
		t.Errorf("overloaded: %q", o)
	}
}

func TestReadingThatEndsEarlyIsNone(t *testing.T) {
	whole := fmt.Sprintf(hybrid, 1, 2, 3, 4, 5, 6)
	for cut := 0; cut < len(whole)-len("@end\n"); cut += 7 {
		if _, err := parseReading([]byte(whole[:cut])); err == nil {
			t.Fatalf("no error for the first %d bytes", cut)
		}
	}
}

// here runs a node's commands on this machine.
type here struct{ Nodes }

func (here) Shell(ctx context.Context, _, line string, _ io.Reader) ([]byte, error) {
	return exec.CommandContext(ctx, "sh", "-c", line).Output()
}

// The script runs as it stands in the shell of this machine, and waits for its instant.
func TestCounterScript(t *testing.T) {
	at := time.Now().Add(200 * time.Millisecond)
	for _, e := range []edge{edgeStart, edgeEnd} {
		r, err := readCounters(t.Context(), here{}, "here", at, e)
		if err != nil {
			t.Fatal(err)
		}
		if r.at.Before(at) || r.busy <= 0 || r.busy > r.total || (len(r.procs) > 0) != (e == edgeEnd) {
			t.Errorf("%s: read at %s (asked for %s), busy %s of %s, %d processes", e, r.at, at, r.busy, r.total, len(r.procs))
		}
	}
}

func FuzzParseReading(f *testing.F) {
	f.Add(fmt.Appendf(nil, hybrid, 1, 2, 3, 4, 5, 6))
	f.Add(fmt.Appendf(nil, unified, 1, 2, 3, 4, 5, 6))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseReading(data)
		if (r == nil) == (err == nil) {
			t.Errorf("reading %v, error %v", r, err)
		}
	})
}
