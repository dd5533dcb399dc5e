// SPDX-License-Identifier: Apache-2.0

// Package system knows what is compared: how each system is deployed, reached, waited for and removed.
package system

import (
	"cmp"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Labels of every pod template in deploy/.
const (
	ComponentLabel = "testbed.dnsingress.dev/component" // the Component of resource rows
	SystemLabel    = "testbed.dnsingress.dev/system"
)

// BackendSelector matches the pods of the service behind every system.
const BackendSelector = ComponentLabel + "=backend"

// ProxyDomain is the parent of the proxies' names, which the clients' resolvers hold with the
// addresses of their front.
const ProxyDomain = "proxies.test."

// System is one of what is compared.
type System struct {
	Name string
	// Dir is its kustomization below deploy/, of its default pack where it has packs; empty when nothing is deployed.
	Dir string
	// Front says how clients reach the service.
	Front string
	// Difference says in what it is not what its name promises elsewhere; empty for none.
	Difference string

	// product is the system that it is a level of: whose pods, label and host name it has. Empty: its own.
	product string
	// plain systems stand without the steering annotations of the backend's Service.
	plain bool
	// peers systems stand in several clusters, each of which answers with the members of all.
	peers bool
	// apart systems answer in each cluster with the pods of one alone, whichever wrote the name first.
	apart bool
	// answers is how many addresses dnsingress gives at once; 0: as many as the zone's default.
	answers int

	// Version of what is compared, as its manifests' images are tagged; empty for what is built from this repository.
	Version string
	// alive is a URL on the node that answers as long as a replica serves, of proxies.
	alive string
	// ownTTL systems have the TTL of addresses in their own configuration, not from the Service.
	ownTTL bool
	// tuned is what its tuned pack is for; empty: it has its default pack alone.
	tuned string

	reach reach
	// again systems try another pod by themselves, unless told otherwise.
	again bool
	// class is the IngressClass of proxies that take services from Ingresses; empty: from flags.
	class string
	// controller names the container that is the control plane, beside the data plane in its pod.
	controller string
}

// reach is how a client finds the address that it connects to.
type reach int

const (
	byAddress reach = iota // it is told the pods' addresses
	byZone                 // it resolves a name in the zone that dnsingress serves
	byProxy                // it resolves a name with the proxies' static addresses
)

// In what systems differ from what is run elsewhere.
const (
	ownNGINX      = "the data plane is Debian's nginx; its configuration is rendered from EndpointSlices by deploy/images/nginx-endpoints, since no NGINX controller can be built from the Go module proxy"
	contourBeside = "every replica has a control plane (Contour) of its own beside it, instead of one for all"
)

// All lists the systems.
func All() []System {
	const steered = "as dnsingress, steered by the SteeringPolicy in deploy/policies/"
	const proxied = "hostNetwork replicas on every worker" // fronts say how clients come to them
	const tunedNGINX = "CPU time a request, and latency under load"
	return []System{
		{
			Name: "direct", reach: byAddress,
			Front: "clients are given the addresses of the pods that are ready when the trial begins, and ask no DNS",
		},
		{
			Name: "dnsingress", Dir: "dnsingress", reach: byZone,
			Front: "hostNetwork replicas on every worker answer DNS; clients resolve by their node's recursive resolver and connect to pods",
		},
		{
			Name: "nginx", Dir: "baselines/nginx/default", Front: proxied, reach: byProxy,
			Version: "nginx 1.22.1 (Debian 12)", alive: "http://[::1]:9113/readyz",
			tuned: tunedNGINX, again: true,
			Difference: ownNGINX,
		},
		{
			Name: "nginx-controller", Dir: "baselines/nginx-controller/default", Front: proxied, reach: byProxy,
			Version: "nginx-ingress 5.5.1", alive: "http://[::1]:8081/nginx-ready", class: "nginx",
			tuned: tunedNGINX, again: true,
		},
		{
			Name: "traefik", Dir: "baselines/traefik/default", Front: proxied, reach: byProxy,
			Version: "traefik 3.7.15", alive: "http://[::1]:9114/ping", class: "traefik",
			tuned: "the time from a pod's change to the first request that heeds it, and what requests to a dead pod cost",
		},
		{
			Name: "envoy", Dir: "baselines/envoy/default", Front: proxied, reach: byProxy, controller: "contour",
			Version: "envoy 1.38.3, contour 1.33.8", alive: "http://[::1]:9115/ready", class: "contour",
			tuned:      "the share of requests that succeed at high concurrency, and what requests to a dead pod cost",
			Difference: contourBeside,
		},
		{
			Name: "static", product: "dnsingress", Dir: "dnsingress", reach: byZone, plain: true,
			Front: "as dnsingress, without steering: every ready pod's address by DNS",
		},
		{
			Name: "dnsingress-peers", product: "dnsingress", Dir: "run/peers", reach: byZone, plain: true, peers: true,
			Front: "as static, in several clusters: the servers of each answer with the ready pods of all, which they tell each other",
		},
		{
			Name: "external-dns", Dir: "run/external-dns", reach: byZone, plain: true, apart: true,
			Version:    "external-dns 0.21.0, PowerDNS 4.7.3 (Debian 12), CoreDNS 1.15.0",
			Front:      "in each cluster CoreDNS forwarders on every worker before a PowerDNS, and behind the other clusters', into all of which an external-dns of each writes; clients resolve by their node's recursive resolver",
			tuned:      "the time from a pod's change to the first answer that heeds it",
			Difference: "PowerDNS keeps its records in LMDB on its node, not in a MariaDB beside it; forwarders and servers are in the nodes' networks, for workers run no kube-proxy",
		},
		{
			Name: "coredns-k8s-gateway", Dir: "baselines/k8s-gateway", reach: byZone, plain: true, ownTTL: true,
			Version:    "k8s_gateway 1.6.1, CoreDNS 1.14.7",
			Front:      "hostNetwork replicas of CoreDNS with k8s_gateway on every worker answer DNS; clients resolve by their node's recursive resolver",
			Difference: "k8s_gateway 1.6.1 publishes of a Service only what a load balancer wrote into its status; a program of ours beside each replica (deploy/images/pod-status) writes the ready pods' addresses there",
		},
		{Name: "dnsingress-threshold", product: "dnsingress", Dir: "policies/threshold", Front: steered + "threshold", reach: byZone, plain: true},
		{Name: "dnsingress-outlier", product: "dnsingress", Dir: "policies/outlier", Front: steered + "outlier", reach: byZone, plain: true},
		{Name: "dnsingress-weighted", product: "dnsingress", Dir: "policies/weighted", Front: steered + "weighted", reach: byZone, plain: true, answers: 5},
		{Name: "nginx-least", alive: "http://[::1]:9113/readyz", product: "nginx", Dir: "baselines/nginx-least", Front: proxied, reach: byProxy, Difference: ownNGINX},
		{Name: "traefik-least", alive: "http://[::1]:9114/ping", product: "traefik", Dir: "baselines/traefik-least", Front: proxied, reach: byProxy},
		{
			Name: "envoy-least", alive: "http://[::1]:9115/ready", product: "envoy", Dir: "baselines/envoy-least", Front: proxied, reach: byProxy, controller: "contour",
			Difference: contourBeside,
		},
	}
}

// Names lists the systems' names.
func Names() []string {
	var names []string
	for _, s := range All() {
		names = append(names, s.Name)
	}
	return names
}

// ByName returns the system called name.
func ByName(name string) (System, bool) {
	for _, s := range All() {
		if s.Name == name {
			return s, true
		}
	}
	return System{}, false
}

// Product is the system that s is a level of: its own name, or that of the product whose pods it has.
func (s System) Product() string { return cmp.Or(s.product, s.Name) }

// Host is the name in the requests' Host header, and the one that clients resolve.
func (s System) Host(inv *inventory.Inventory) string {
	zone := strings.TrimSuffix(inv.Zone, ".")
	if s.reach == byProxy {
		return s.Product() + "." + strings.TrimSuffix(ProxyDomain, ".")
	}
	return "backend." + zone
}

// Selector matches the system's pods.
func (s System) Selector() string { return SystemLabel + "=" + s.Product() }

// Component is what the CPU time of a pod's container is attributed to: what the pod's label says,
// except that a proxy may have its controller beside it in the pod.
func Component(p *kubectl.Pod, container string) string {
	component := p.Labels[ComponentLabel]
	s, ok := ByName(p.Labels[SystemLabel])
	if ok && s.controller != "" && container == s.controller {
		return results.ComponentController
	}
	return component
}
