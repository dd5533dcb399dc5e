// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/chain"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// Addresses of a Gateway that is in several clusters, as Kuadrant's multi-cluster controller writes them: the value is
// CLUSTER/ADDRESS, a listener's status is that of CLUSTER.LISTENER, and labels of the Gateway say of a cluster where it
// is and what its weight is.
const (
	clusterAddress   = "kuadrant.io/MultiClusterIPAddress"
	clusterHostname  = "kuadrant.io/MultiClusterHostnameAddress"
	clusterLabels    = "clusters.kuadrant.io/" // CLUSTER_lb-attribute-geo-code
	attributeGeo     = "lb-attribute-geo-code"
	attributeWeight  = "lb-attribute-weight"
	attributeLabels  = "kuadrant.io/" // lb-attribute-geo-code
	clusterNamespace = "kube-system"  // whose UID is the cluster's, as Kuadrant has it
)

// gateways are those of a listener that routes are attached to, one a cluster; nil: no routes are.
func (r *policyReader) gateways(listener gatewayv1.SectionName, attached map[gatewayv1.SectionName]int32) []chain.Gateway {
	byCluster := map[string]*chain.Gateway{}
	var clusters []string
	routes := false
	for _, a := range r.gateway.Status.Addresses {
		cluster, value := "", a.Value
		if a.Type != nil && (*a.Type == clusterAddress || *a.Type == clusterHostname) {
			cluster, value, _ = strings.Cut(a.Value, "/")
		}
		if !r.served(cluster, listener, attached) {
			continue
		}
		routes = true
		g := byCluster[cluster]
		if g == nil {
			g = r.gatewayIn(cluster)
			byCluster[cluster] = g
			clusters = append(clusters, cluster)
		}
		address, err := netip.ParseAddr(value)
		switch {
		case err == nil && !r.hides(address):
			g.Addresses = appendNew(g.Addresses, address.Unmap())
		case err != nil && hostname(value) && !slices.Contains(r.excluded, dns.CanonicalName(value)):
			g.Hosts = appendNew(g.Hosts, dns.CanonicalName(value))
		}
	}
	if !routes && !r.served("", listener, attached) {
		return nil
	}
	slices.Sort(clusters)
	out := make([]chain.Gateway, 0, len(clusters))
	for _, c := range clusters {
		g := byCluster[c]
		slices.SortFunc(g.Addresses, netip.Addr.Compare)
		slices.Sort(g.Hosts)
		out = append(out, *g)
	}
	return out
}

// served reports whether routes are attached to a listener in a cluster: as the Gateway's status says, and where it says
// nothing of the listener as the routes say themselves.
func (r *policyReader) served(cluster string, listener gatewayv1.SectionName, attached map[gatewayv1.SectionName]int32) bool {
	name := listener
	if cluster != "" {
		name = gatewayv1.SectionName(cluster + "." + string(listener))
	}
	for _, l := range r.gateway.Status.Listeners {
		if l.Name == name {
			return l.AttachedRoutes > 0
		}
	}
	return attached[listener] > 0
}

// hides reports whether an address is excluded.
func (r *policyReader) hides(a netip.Addr) bool {
	return slices.ContainsFunc(r.networks, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// gatewayIn is the Gateway in a cluster, of whose addresses nothing is known yet. Empty is the cluster that we are in.
func (r *policyReader) gatewayIn(cluster string) *chain.Gateway {
	g := &chain.Gateway{Geo: r.geo, Label: r.label, Weight: r.weight}
	if lb := r.policy.Spec.LoadBalancing; lb != nil {
		g.Default = lb.DefaultGeo
	}
	g.Code = chain.Code(cmp.Or(cluster, r.cluster()))
	if !r.first {
		g.Code += "-" + chain.GatewayCode(r.gateway.Namespace, r.gateway.Name)
	}
	if key, text := r.attribute(cluster, attributeGeo); text != "" {
		code, err := geo.Parse(text)
		switch {
		case err != nil:
			r.bad(record.UnknownGeo, key, "%v; that of the policy counts", err)
		case code != geo.Anywhere:
			// The policy's place is the default where the policy says so, not any cluster's own.
			g.Default = g.Default && code == r.geo
			g.Geo, g.Label = code, geoLabel(text, code)
		}
	}
	if key, text := r.attribute(cluster, attributeWeight); text != "" {
		if w, err := strconv.ParseUint(text, 10, 32); err == nil {
			g.Weight = uint32(w)
		} else {
			r.bad("InvalidWeight", key, "%q is no weight (hint: a whole number, 0 or more); that of the policy counts", text)
		}
	}
	return g
}

// cluster is the name of the cluster that we are in, from which codes are made: what the policy calls it, else, as in
// Kuadrant, the UID of kube-system. In files there is none.
func (r *policyReader) cluster() string {
	if name := r.policy.Annotations[r.settings.Prefixes.Policy+"cluster"]; name != "" {
		return name
	}
	if n := get[*corev1.Namespace](r.view, Namespace, "", clusterNamespace); n != nil && n.UID != "" {
		return string(n.UID)
	}
	return "cluster"
}

// attribute is what a label of the Gateway says of a cluster.
func (r *policyReader) attribute(cluster, name string) (key, text string) {
	key = clusterLabels + cluster + "_" + name
	if r.gateway.Labels[key] == "" {
		key = attributeLabels + name
	}
	return key, r.gateway.Labels[key]
}

// bad notes what is wrong with a label of the Gateway.
func (r *policyReader) bad(reason, label, format string, a ...any) {
	r.out.problems = appendNew(r.out.problems, model.Problem{Reason: reason, Path: "spec.targetRef", Message: fmt.Sprintf(
		"label %s of Gateway %s/%s: %s", label, r.gateway.Namespace, r.gateway.Name, fmt.Sprintf(format, a...))})
}

// listenerBases are the hosts of a Gateway's listeners, without "*.", canonical.
func listenerBases(gw *gatewayv1.Gateway) (bases []string) {
	for _, l := range gw.Spec.Listeners {
		if l.Hostname != nil && hostname(string(*l.Hostname)) {
			bases = appendNew(bases, chain.Base(dns.CanonicalName(string(*l.Hostname))))
		}
	}
	return bases
}
