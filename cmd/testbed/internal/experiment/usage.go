// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/resolver"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/system"
	"github.com/dnsingress/dnsingress/internal/results"
)

// services returns the component of each systemd unit that is attributed.
func services() map[string]string {
	return map[string]string{
		"unbound.service":                 results.ComponentResolver,
		resolver.Unit:                     results.ComponentResolver,
		"testbed-dns-root.service":        results.ComponentDNSIngress,
		"testbed-dns-upper.service":       results.ComponentDNSIngress,
		"testbed-dns-middle.service":      results.ComponentDNSIngress,
		"prometheus.service":              results.ComponentPrometheus,
		"etcd.service":                    results.ComponentControlPlane,
		"kube-apiserver.service":          results.ComponentControlPlane,
		"kube-controller-manager.service": results.ComponentControlPlane,
		"kube-scheduler.service":          results.ComponentControlPlane,
		"kubelet.service":                 results.ComponentNodeAgent,
		"containerd.service":              results.ComponentNodeAgent,
	}
}

// usage is what one node used between two readings.
type usage struct {
	node       string
	start, end *reading
}

// rows attributes what was used to pods and services. missing names the units that have no counter
// at one of the edges.
func (u *usage) rows(pods []kubectl.Pod) (rows []results.Resource, missing []string) {
	row := func(component, unit string) results.Resource {
		return results.Resource{Node: u.node, Component: component, Unit: unit, StartNs: u.start.at.UnixNano(), EndNs: u.end.at.UnixNano()}
	}
	for i := range pods {
		p := &pods[i]
		if p.Node != u.node || p.Labels[system.ComponentLabel] == "" {
			continue
		}
		parts, ok := u.containers(p)
		if !ok {
			parts, ok = u.wholePod(p)
		}
		if !ok {
			missing = append(missing, u.node+": pod "+p.FullName())
			continue
		}
		for _, part := range parts {
			r := row(system.Component(p, part.container), strings.TrimSuffix(p.FullName()+"/"+part.container, "/"))
			r.CPUNs, r.RSSBytes = int64(part.cpu), part.rss
			rows = append(rows, r)
		}
	}
	components := services()
	for _, name := range slices.Sorted(maps.Keys(components)) {
		unit := "system.slice/" + name
		cpu, rss, ok := u.service(unit)
		if !ok {
			continue // not every node runs every service
		}
		r := row(components[name], name)
		r.CPUNs, r.RSSBytes = int64(cpu), rss
		rows = append(rows, r)
	}
	return rows, missing
}

// part is what one container used; the name is empty for a whole pod.
type part struct {
	container string
	cpu       time.Duration
	rss       int64
}

// containers reads the counters of each container, as one pod may hold a data plane and its controller.
func (u *usage) containers(p *kubectl.Pod) ([]part, bool) {
	var parts []part
	for _, c := range p.Containers {
		if c.ID == "" {
			return nil, false
		}
		cpu, ok := u.cgroup(func(name string) bool { return strings.Contains(name, c.ID) })
		if !ok {
			return nil, false
		}
		parts = append(parts, part{c.Name, cpu, u.rss(func(unit string) bool { return strings.Contains(unit, c.ID) })})
	}
	return parts, len(parts) > 0
}

// wholePod reads the counter of the pod, which outlives its containers.
func (u *usage) wholePod(p *kubectl.Pod) ([]part, bool) {
	of := func(name string) bool {
		return strings.Contains(name, "pod"+p.UID) || strings.Contains(name, "pod"+strings.ReplaceAll(p.UID, "-", "_"))
	}
	cpu, ok := u.cgroup(func(name string) bool {
		last := name[strings.LastIndexByte(name, '/')+1:]
		return of(last)
	})
	return []part{{"", cpu, u.rss(of)}}, ok
}

// cgroup returns the CPU time of the cgroup that is meant, if it was there at both edges.
func (u *usage) cgroup(meant func(name string) bool) (time.Duration, bool) {
	for name, after := range u.end.cgroups {
		if meant(name) {
			before, ok := u.start.cgroups[name]
			return max(after-before, 0), ok
		}
	}
	return 0, false
}

// service returns the CPU time of a systemd unit, and the memory of its processes.
func (u *usage) service(unit string) (cpu time.Duration, rss int64, ok bool) {
	cpu, ok = u.cgroup(func(name string) bool { return name == unit })
	return cpu, u.rss(func(name string) bool { return name == unit || strings.HasPrefix(name, unit+"/") }), ok
}

func (u *usage) rss(meant func(unit string) bool) int64 {
	var sum int64
	for _, p := range u.end.procs {
		if meant(p.unit) {
			sum += p.rss
		}
	}
	return sum
}

// hostRows makes one row a kernel of the nodes' usages: nodes that share one see the same
// /proc/stat, and their interfaces' bytes are added up. Of several readings of one kernel the last
// start and the first end count, so that what the others' reading cost is outside.
func hostRows(all []usage, hosts []results.Host) []results.Resource {
	boot := map[string]string{}
	for _, h := range hosts {
		boot[h.Name] = h.BootID
	}
	kernels, spans := map[string]*results.Resource{}, map[string]usage{}
	for _, u := range slices.SortedFunc(slices.Values(all), func(a, b usage) int { return cmp.Compare(a.node, b.node) }) {
		id := boot[u.node]
		r, known := kernels[id]
		if !known {
			r = &results.Resource{Node: u.node, Component: results.ComponentHost, Unit: id}
			kernels[id], spans[id] = r, u
		}
		s := spans[id]
		if u.start.at.After(s.start.at) {
			s.start = u.start
		}
		if u.end.at.Before(s.end.at) {
			s.end = u.end
		}
		spans[id] = s
		r.RxBytes += u.end.rx - u.start.rx
		r.TxBytes += u.end.tx - u.start.tx
		r.RxPackets += u.end.rxPackets - u.start.rxPackets
		r.TxPackets += u.end.txPackets - u.start.txPackets
	}
	var rows []results.Resource
	for _, id := range slices.Sorted(maps.Keys(kernels)) {
		r, s := kernels[id], spans[id]
		r.StartNs, r.EndNs = s.start.at.UnixNano(), s.end.at.UnixNano()
		r.CPUNs, r.SoftirqNs, r.TotalNs = int64(s.end.busy-s.start.busy), int64(s.end.softirq-s.start.softirq), int64(s.end.total-s.start.total)
		rows = append(rows, *r)
	}
	return rows
}

// linkRow is what went over a node's own interfaces.
func (u *usage) linkRow() results.Resource {
	return results.Resource{
		Node: u.node, Component: results.ComponentLink, Unit: u.node, StartNs: u.start.at.UnixNano(), EndNs: u.end.at.UnixNano(),
		RxBytes: u.end.rx - u.start.rx, TxBytes: u.end.tx - u.start.tx,
		RxPackets: u.end.rxPackets - u.start.rxPackets, TxPackets: u.end.txPackets - u.start.txPackets,
		Connections: u.end.connections - u.start.connections,
	}
}

// overloaded says of each host row whose CPUs were busier than share.
func overloaded(rows []results.Resource, share float64) []string {
	var out []string
	for _, r := range rows {
		if r.Component == results.ComponentHost && r.TotalNs > 0 {
			if busy := float64(r.CPUNs) / float64(r.TotalNs); busy > share {
				out = append(out, fmt.Sprintf("the CPUs of host %s were busy for %.0f %% of the window, bound %.0f %%", r.Node, 100*busy, 100*share))
			}
		}
	}
	return out
}
