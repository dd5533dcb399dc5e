// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// nodes are the addresses of nodes by kind.
type nodes struct{ external, internal []string }

func (n *nodes) add(node *corev1.Node) {
	for _, a := range node.Status.Addresses {
		switch a.Type {
		case corev1.NodeExternalIP:
			n.external = append(n.external, a.Address)
		case corev1.NodeInternalIP:
			n.internal = append(n.internal, a.Address)
		}
	}
}

// nodePorts publishes a Service of type NodePort as external-dns does: the nodes' addresses, those outside where there are
// any or as the annotation access says, and SRV records of the node ports. With externalTrafficPolicy Local only nodes
// with an endpoint that can be used count.
func (t *service) nodePorts(pool *model.Pool, hosts []string) {
	var with map[string]bool
	if t.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		with = map[string]bool{}
		for _, m := range usable(endpointsOf(t.view, t.Service, 0).Members) {
			with[m.Node] = true
		}
	}
	var all nodes
	for _, node := range find[*corev1.Node](t.view, AllNodes, "") {
		if with == nil || with[node.Name] {
			all.add(node)
		}
	}
	values := all.external
	key, access := t.settings.Prefixes.hostname(t.Annotations, "access")
	switch {
	case access == "private" || access != "public" && len(all.external) == 0:
		values = all.internal
	case access != "" && access != "public":
		t.note(model.Problem{Reason: "InvalidAccess", Path: annotationPath(key), Message: fmt.Sprintf("annotation %s: %q is unknown (hint: public or private)", key, access)})
	}
	t.lead(pool, hosts, values, "spec.type")
	for _, host := range hosts {
		for _, p := range t.Spec.Ports {
			if p.NodePort == 0 || len(values) == 0 || strings.HasPrefix(host, "*.") {
				continue
			}
			name := fmt.Sprintf("_%s._%s.%s", t.Name, strings.ToLower(string(cmp.Or(p.Protocol, corev1.ProtocolTCP))), host)
			record := model.Record{Data: fmt.Sprintf("0 50 %d %s", p.NodePort, host), Set: t.set}
			at := slices.IndexFunc(pool.Records, func(s model.RecordSet) bool { return s.Name == name })
			if at < 0 {
				at, pool.Records = len(pool.Records), append(pool.Records, model.RecordSet{Name: name, Type: dns.TypeSRV, TTL: t.ttl})
			}
			pool.Records[at].Records = append(pool.Records[at].Records, record)
		}
	}
}

// usable are the members that readiness alone would answer with: those that are ready, or else those that still serve.
func usable(members []model.Member) []model.Member {
	ready := slices.DeleteFunc(slices.Clone(members), func(m model.Member) bool { return !m.Ready || m.Terminating })
	if len(ready) > 0 {
		return ready
	}
	return slices.DeleteFunc(slices.Clone(members), func(m model.Member) bool { return !m.Terminating || !m.Serving })
}

// ofNodes puts, where the annotation endpoints-type wants it, the addresses of their nodes in the place of the pods' own.
func (t *service) ofNodes(pool *model.Pool) {
	key, kind := t.settings.Prefixes.hostname(t.Annotations, "endpoints-type")
	switch kind {
	case "", "PodIP":
		return
	case "NodeExternalIP", "HostIP":
	default:
		t.note(model.Problem{Reason: "InvalidEndpointsType", Path: annotationPath(key), Message: fmt.Sprintf("annotation %s: %q is unknown (hint: NodeExternalIP or HostIP)", key, kind)})
		return
	}
	members := map[netip.Addr]model.Member{}
	for _, m := range pool.Members {
		node := get[*corev1.Node](t.view, Node, "", m.Node)
		if node == nil {
			continue
		}
		var of nodes
		of.add(node)
		from := of.external
		if kind == "HostIP" {
			from = of.internal
		}
		for _, value := range from {
			address, err := netip.ParseAddr(value)
			if err != nil || address.Is6() != m.Address.Is6() {
				continue
			}
			own := m
			own.Address, own.Pod, own.Ports = address, "", nil
			// A node is as good as the best of its pods.
			if old, ok := members[address]; !ok || worth(own) > worth(old) {
				members[address] = own
			}
		}
	}
	pool.Ports = nil
	pool.Members = slices.SortedFunc(maps.Values(members), func(a, b model.Member) int { return a.Address.Compare(b.Address) })
}

// worth orders states of members, the better the more.
func worth(m model.Member) int {
	switch {
	case m.Ready && !m.Terminating:
		return 2
	case m.Serving && m.Terminating:
		return 1
	}
	return 0
}

// keepNode keeps a node's addresses.
func keepNode(n *corev1.Node, _ *Settings) *corev1.Node {
	out := &corev1.Node{}
	out.Name, out.UID, out.ResourceVersion = n.Name, n.UID, n.ResourceVersion
	out.Status.Addresses = n.Status.Addresses
	return out
}
