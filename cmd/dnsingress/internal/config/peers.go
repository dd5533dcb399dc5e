// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Cluster says who this is to other clusters.
type Cluster struct {
	// Name is a label that no other of the clusters has. Required with peers.
	Name string `yaml:"name"`
	// Location is where the cluster is, as a path from the largest to the smallest (GEO-EU/CH), before the locations of its
	// members. Default: none.
	Location string `yaml:"location"`
	// Identity tells the cluster from another of the same name; all servers of one cluster have the same. Default: the UID of
	// the namespace kube-system; with kubernetes.files one that is kept in state, else one that each start draws.
	Identity string `yaml:"identity"`
}

// Peers are the clusters that this one gives its pools to and takes theirs from.
type Peers struct {
	// Zone is the domain below which each cluster has its private zone, CLUSTER.ZONE. Nobody else need know it. Default: none,
	// and there are no peers.
	Zone string `yaml:"zone"`
	// Lease is how long members of another cluster count that it has not confirmed. Default: 5s.
	Lease time.Duration `yaml:"lease"`
	// Key is the TSIG key of peers that have none of their own. Default: none.
	Key string `yaml:"key"`
	// Publish are the hosts whose members are given to the peers: names, *.NAME for all below, or * for all. Default: all.
	Publish Hosts `yaml:"publish"`
	// Clusters are the peers. Default: none.
	Clusters []Peer `yaml:"clusters"`
	// Merge says how members of several clusters share a name; the first rule that has the host counts. Default: round-robin.
	Merge []Merge `yaml:"merge"`
}

// Peer is another cluster.
type Peer struct {
	// Name is its cluster.name.
	Name string `yaml:"name"`
	// Servers are all of its dnsingress servers, each by its own address, as [2001:db8::1]:53. At least one.
	Servers []string `yaml:"servers"`
	// Key is the TSIG key that both have. Default: peers.key.
	Key string `yaml:"key"`
	// Hosts are those that the peer may have members and records for. At least one.
	Hosts Hosts `yaml:"hosts"`

	remotes []transfer.Remote
}

// Remotes are the peer's servers with its key.
func (p *Peer) Remotes() []transfer.Remote { return p.remotes }

// Merge is a rule for hosts that several clusters have members for.
type Merge struct {
	// Hosts that it is for. Default: all.
	Hosts Hosts `yaml:"hosts"`
	// By is round-robin (all members alike), weight (of clusters), geo (the members nearest to the client) or
	// primary-fallback (the first cluster that has somebody). Default: round-robin.
	By MergeBy `yaml:"by"`
	// Weights of clusters, with weight; one that is not named has 1. 0: only where no other has anybody.
	Weights map[string]uint32 `yaml:"weights"`
	// Order of clusters, with primary-fallback; those that are not named come last, by name. Required there.
	Order []string `yaml:"order"`
}

// MergeBy is how members of several clusters share a name.
type MergeBy string

// The ways to merge.
const (
	MergeRoundRobin      MergeBy = "round-robin"
	MergeWeight          MergeBy = "weight"
	MergeGeo             MergeBy = "geo"
	MergePrimaryFallback MergeBy = "primary-fallback"
)

// Hosts is a list of host names: a name, *.NAME for all below it, or * for all.
type Hosts []string

// Has tells whether a canonical host name is in the list.
func (h Hosts) Has(host string) bool {
	return slices.ContainsFunc(h, func(p string) bool {
		if p == "*" {
			return true
		}
		if suffix, below := strings.CutPrefix(p, "*."); below {
			return host != suffix && dns.IsSubDomain(suffix, host)
		}
		return p == host
	})
}

// Enabled tells whether this cluster has peers, or could have.
func (p *Peers) Enabled() bool { return p.Zone != "" }

// Origin is that of the private zone of a cluster.
func (p *Peers) Origin(cluster string) string { return cluster + "." + p.Zone }

// Merging is the rule for a canonical host name.
func (p *Peers) Merging(host string) Merge {
	for _, m := range p.Merge {
		if m.Hosts.Has(host) {
			return m
		}
	}
	return Merge{By: MergeRoundRobin}
}

// Weight is that of a cluster.
func (m Merge) Weight(cluster string) uint32 {
	if w, ok := m.Weights[cluster]; ok {
		return w
	}
	return 1
}

// Policy is who may have this cluster's private zone, and who is told of its changes.
func (p *Peers) Policy() transfer.Policy {
	var policy transfer.Policy
	for _, c := range p.Clusters {
		if grant := (transfer.Grant{Key: c.Key}); !slices.Contains(policy.Allow, grant) {
			policy.Allow = append(policy.Allow, grant)
		}
		policy.Notify = append(policy.Notify, c.remotes...)
	}
	return policy
}

func (h Hosts) fill() {
	for i, p := range h {
		if p != "*" && p != "" {
			h[i] = dns.CanonicalName(p)
		}
	}
}

func (p *Peers) fill() {
	p.Zone, p.Key = canonical(p.Zone), canonical(p.Key)
	orElse(&p.Lease, 5*time.Second)
	if p.Publish == nil {
		p.Publish = Hosts{"*"}
	}
	p.Publish.fill()
	for i := range p.Clusters {
		c := &p.Clusters[i]
		c.Key = canonical(c.Key)
		orElse(&c.Key, p.Key)
		c.Hosts.fill()
		for _, text := range c.Servers {
			var r transfer.Remote
			if err := r.UnmarshalText([]byte(text)); err == nil {
				c.remotes = append(c.remotes, transfer.Remote{Addr: r.Addr, Key: c.Key})
			}
		}
	}
	for i := range p.Merge {
		m := &p.Merge[i]
		orElse(&m.By, MergeRoundRobin)
		if m.Hosts == nil {
			m.Hosts = Hosts{"*"}
		}
		m.Hosts.fill()
	}
}

// The bounds of a lease.
const (
	leastPeerLease = 500 * time.Millisecond
	mostPeerLease  = time.Hour
)

var clusterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// checkPeers checks what other clusters get and give.
func (c *Config) checkPeers(f *strictyaml.File) {
	p := &c.Peers
	if c.Cluster.Name != "" && !clusterName.MatchString(c.Cluster.Name) {
		f.Problem("cluster.name", "letters, digits and hyphens, as in zurich-1", "%q is no name of a cluster", c.Cluster.Name)
	}
	if id := c.Cluster.Identity; id != "" && !clusterName.MatchString(id) {
		f.Problem("cluster.identity", "63 letters, digits and hyphens at most, such as a UUID", "%q is no identity", id)
	}
	checkLocation(f, "cluster.location", c.Cluster.Location)
	if p.Lease < leastPeerLease || p.Lease > mostPeerLease {
		f.Problem("peers.lease", "500ms to 1h, such as 5s", "%v is no lease", p.Lease)
	}
	p.Publish.check(f, "peers.publish")
	if !p.Enabled() {
		if len(p.Clusters)+len(p.Merge) > 0 {
			f.Problem("peers", "peers: {zone: peers.example.org, ...}", "without a zone there is nothing that peers could ask for")
		}
		return
	}
	checkName(f, "peers.zone", p.Zone)
	if c.Cluster.Name == "" {
		f.Problem("cluster", "cluster: {name: zurich}", "peers need a name to ask this cluster for")
	}
	if p.Key != "" && c.Keys[p.Key] == nil {
		f.Problem("peers.key", "a file in tsigKeys must have it", "there is no TSIG key %s", p.Key)
	}
	c.checkClusters(f)
	for i, z := range c.Zones {
		if dns.IsSubDomain(p.Zone, z.Origin) {
			f.Problem(fmt.Sprintf("zones[%d].origin", i), "a name of its own for peers.zone", "%s is at or below peers.zone, which is private", z.Origin)
		}
	}
	for i, m := range p.Merge {
		c.checkMerge(f, fmt.Sprintf("peers.merge[%d]", i), m)
	}
}

func (c *Config) checkClusters(f *strictyaml.File) {
	names, servers := map[string]bool{}, map[string]string{}
	for i, peer := range c.Peers.Clusters {
		at := fmt.Sprintf("peers.clusters[%d]", i)
		switch {
		case peer.Name == "":
			f.Problem(at, "name: bern, as its own cluster.name is", "a name is missing")
		case !clusterName.MatchString(peer.Name):
			f.Problem(at+".name", "letters, digits and hyphens, as in bern-2", "%q is no name of a cluster", peer.Name)
		case peer.Name == c.Cluster.Name:
			f.Problem(at+".name", "a name of its own for each cluster; this one is cluster.name", "%s is this cluster itself", peer.Name)
		case names[peer.Name]:
			f.Problem(at+".name", "one entry with all its servers", "cluster %s is listed twice", peer.Name)
		}
		names[peer.Name] = true
		if len(peer.Servers) == 0 {
			f.Problem(at, `servers: ["[2001:db8::1]:53"]`, "there is no server to ask")
		}
		for k, text := range peer.Servers {
			at := fmt.Sprintf("%s.servers[%d]", at, k)
			var r transfer.Remote
			switch err := r.UnmarshalText([]byte(text)); {
			case err != nil:
				f.Problem(at, "", "%q: %v", text, err)
			case r.Key != "":
				f.Problem(at, "key: NAME beside servers", "the key is the cluster's, not a server's")
			case servers[r.Addr.String()] != "":
				f.Problem(at, "each server by its own address", "%s is a server of %s already", r.Addr, servers[r.Addr.String()])
			default:
				servers[r.Addr.String()] = peer.Name
			}
		}
		switch {
		case peer.Key == "":
			f.Problem(at, "key: NAME, or peers.key", "without a TSIG key anybody could be %s", peer.Name)
		case c.Keys[peer.Key] == nil && f.Has(at+".key"):
			f.Problem(at+".key", "a file in tsigKeys must have it", "there is no TSIG key %s", peer.Key)
		}
		if len(peer.Hosts) == 0 {
			f.Problem(at, `hosts: ["*.apps.example.org"], or ["*"] for all`, "%s may publish nothing here", peer.Name)
		}
		peer.Hosts.check(f, at+".hosts")
	}
}

func (c *Config) checkMerge(f *strictyaml.File, at string, m Merge) {
	if len(m.Hosts) == 0 {
		f.Problem(at+".hosts", `["*.apps.example.org"]`, "the rule is for no host")
	}
	m.Hosts.check(f, at+".hosts")
	kinds := []MergeBy{MergeRoundRobin, MergeWeight, MergeGeo, MergePrimaryFallback}
	if !slices.Contains(kinds, m.By) {
		f.Problem(at+".by", "round-robin, weight, geo or primary-fallback", "%q is unknown", m.By)
	}
	known := func(at, name string) {
		if name != c.Cluster.Name && !slices.ContainsFunc(c.Peers.Clusters, func(p Peer) bool { return p.Name == name }) {
			f.Problem(at, "cluster.name, or a name in peers.clusters", "there is no cluster %q", name)
		}
	}
	if len(m.Weights) > 0 && m.By != MergeWeight {
		f.Problem(at+".weights", "by: weight", "weights mean nothing to %s", m.By)
	}
	for name := range m.Weights {
		known(at+".weights."+name, name)
	}
	switch {
	case len(m.Order) > 0 && m.By != MergePrimaryFallback:
		f.Problem(at+".order", "by: primary-fallback", "an order means nothing to %s", m.By)
	case len(m.Order) == 0 && m.By == MergePrimaryFallback:
		f.Problem(at, "order: [zurich, bern], the same in every cluster", "which cluster is the primary is missing")
	}
	for i, name := range m.Order {
		at := fmt.Sprintf("%s.order[%d]", at, i)
		known(at, name)
		if slices.Contains(m.Order[:i], name) {
			f.Problem(at, "", "%s is listed twice", name)
		}
	}
}

func (h Hosts) check(f *strictyaml.File, at string) {
	for i, p := range h {
		at := fmt.Sprintf("%s[%d]", at, i)
		name := strings.TrimPrefix(p, "*.")
		if _, ok := dns.IsDomainName(name); p == "" || !ok || p != "*" && strings.Contains(name, "*") {
			f.Problem(at, `www.example.org, "*.example.org" for all below, or "*" for all`, "%q is no host name and no pattern of some", p)
		}
	}
}

// mostLocation is how long a location may be, so that it fits one text of a record together with a node's.
const mostLocation = 100

func checkLocation(f *strictyaml.File, at, location string) {
	if location == "" {
		return
	}
	bad := strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
	if bad || len(location) > mostLocation || slices.Contains(strings.Split(location, "/"), "") {
		f.Problem(at, "a path from the largest to the smallest, as GEO-EU/CH/zurich", "%q is no location", location)
	}
}
