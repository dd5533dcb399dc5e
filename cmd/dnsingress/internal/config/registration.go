// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/registration"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Registrations say who may enter name servers of children in a zone (docs/delegation.md).
type Registrations struct {
	// Grants say what keys may register. Default: nobody may register anything.
	Grants []RegistrationGrant `yaml:"grants"`
	// Lease is what who asks for none gets; LeastLease and MostLease bound what is asked for. Whole seconds. Defaults: 1m
	// within the bounds, 2s, 1h.
	Lease      time.Duration `yaml:"lease"`
	LeastLease time.Duration `yaml:"leastLease"`
	MostLease  time.Duration `yaml:"mostLease"`
	// KeepLast is how long the last name server of a child stays after its lease has ended; 0s: not at all. Default: 24h.
	KeepLast *time.Duration `yaml:"keepLast"`
	// MostServers is how many name servers a child may have. Default: 13.
	MostServers int `yaml:"mostServers"`
	// TTL is that of NS and DS, AddressTTL that of name servers' addresses. Default: the zone's infrastructureTTL.
	TTL        *time.Duration `yaml:"ttl"`
	AddressTTL *time.Duration `yaml:"addressTTL"`
	// Settle is how long a start that knows of no registrations from before (state) waits for leaves before it answers for
	// the zone. Default: 20s.
	Settle *time.Duration `yaml:"settle"`
}

// RegistrationGrant is what one key may register.
type RegistrationGrant struct {
	// Key is the name of a TSIG key.
	Key string `yaml:"key"`
	// Children are zones below this one, by name or as *.NAME for all below NAME.
	Children []string `yaml:"children"`
	// Nameservers are host names, likewise.
	Nameservers []string `yaml:"nameservers"`
	// Addresses are prefixes that name servers' addresses must be in. Default: any.
	Addresses []netip.Prefix `yaml:"addresses"`
}

// Register says with which uppers the zones below a zone are registered (docs/delegation.md).
type Register struct {
	// Zone is the upper's, above those that are registered: all of ours below it, with no other zone of ours between.
	Zone string `yaml:"zone"`
	// Uppers are servers of that zone, each with its own copy of what is registered, as 2001:db8::1+key:NAME.
	Uppers []transfer.Remote `yaml:"uppers"`
	// Nameserver is this server, as the uppers shall refer to it. Without it nothing is registered: what the uppers say is
	// only compared with what the zones say. Default: none.
	Nameserver *Nameserver `yaml:"nameserver"`
	// Lease is what is asked for; whole seconds. Default: 1m.
	Lease time.Duration `yaml:"lease"`
	// Compare is the time between two comparisons of what uppers and zones say. Default: 1m.
	Compare time.Duration `yaml:"compare"`
}

// Delegations say how what DNSDelegations say is compared with what the children say of themselves.
type Delegations struct {
	// Compare is the time between two comparisons; 0s: none. Default: 1m.
	Compare *time.Duration `yaml:"compare"`
	// Port is the one that children's name servers are asked at. Default: 53.
	Port int `yaml:"port"`
}

// leaseBound is the longest lease that may be configured: what is gone should not be referred to for longer.
const leaseBound = 24 * time.Hour

// fillRegister fills in with whom zones are registered.
func (c *Config) fillRegister() {
	for i := range c.Register {
		r := &c.Register[i]
		r.Zone = canonical(r.Zone)
		orElse(&r.Lease, time.Minute)
		orElse(&r.Compare, time.Minute)
		if r.Nameserver != nil {
			r.Nameserver.Name = canonical(r.Nameserver.Name)
		}
	}
	orPointer(&c.Delegations.Compare, time.Minute)
	orElse(&c.Delegations.Port, 53)
}

// fillServers gives a zone that names no server the one that it is registered with.
func (c *Config) fillServers(z *Zone) {
	if len(z.Nameservers) > 0 || z.Origin == "" {
		return
	}
	for _, r := range c.Register {
		n := r.Nameserver
		if n == nil || n.Name == "" || r.Zone == "" || z.Origin == r.Zone || !dns.IsSubDomain(r.Zone, z.Origin) {
			continue
		}
		own := Nameserver{Name: n.Name}
		if dns.IsSubDomain(z.Origin, n.Name) {
			own.Addresses = n.Addresses
		}
		z.Nameservers = []Nameserver{own}
		return
	}
}

// fill fills in what a zone's registrations leave out, of which some is the zone's own.
func (r *Registrations) fill(infrastructure time.Duration) {
	if r == nil {
		return
	}
	orElse(&r.LeastLease, 2*time.Second)
	orElse(&r.MostLease, time.Hour)
	orElse(&r.Lease, min(max(time.Minute, r.LeastLease), r.MostLease))
	orPointer(&r.KeepLast, 24*time.Hour)
	orElse(&r.MostServers, 13)
	orPointer(&r.TTL, infrastructure)
	orPointer(&r.AddressTTL, infrastructure)
	orPointer(&r.Settle, 20*time.Second)
	for i := range r.Grants {
		g := &r.Grants[i]
		g.Key = canonical(g.Key)
		canonicalAll(g.Children)
		canonicalAll(g.Nameservers)
	}
}

func canonicalAll(names []string) {
	for i := range names {
		names[i] = canonical(names[i])
	}
}

func (c *Config) checkRegistration(f *strictyaml.File) {
	for i, z := range c.Zones {
		if z.Registrations != nil {
			c.checkRegistrations(f, fmt.Sprintf("zones[%d].registrations", i), z)
		}
	}
	for i := range c.Register {
		c.checkRegister(f, fmt.Sprintf("register[%d]", i), i)
	}
	if d := *c.Delegations.Compare; d < 0 || d > 0 && d < time.Second {
		f.Problem("delegations.compare", "1s at least; 0s: not at all", "%v is no time between comparisons", d)
	}
	if c.Delegations.Port < 1 || c.Delegations.Port > 65535 {
		f.Problem("delegations.port", "53", "%d is no port", c.Delegations.Port)
	}
}

func (c *Config) checkRegistrations(f *strictyaml.File, at string, z Zone) {
	r := z.Registrations
	for _, d := range []struct {
		key         string
		value       time.Duration
		least, most time.Duration
	}{
		{"lease", r.Lease, r.LeastLease, r.MostLease},
		{"leastLease", r.LeastLease, time.Second, r.MostLease},
		{"mostLease", r.MostLease, time.Second, leaseBound},
		{"ttl", *r.TTL, 0, 7 * 24 * time.Hour},
		{"addressTTL", *r.AddressTTL, 0, 7 * 24 * time.Hour},
	} {
		if d.least > d.most { // which is said of another
			continue
		}
		if d.value%time.Second != 0 || d.value < d.least || d.value > d.most {
			f.Problem(at+"."+d.key, fmt.Sprintf("whole seconds, %v to %v", d.least, d.most), "%v cannot be", d.value)
		}
	}
	if *r.KeepLast < 0 {
		f.Problem(at+".keepLast", "0s: not at all", "%v is negative", *r.KeepLast)
	}
	if *r.Settle < 0 || *r.Settle > 10*time.Minute {
		f.Problem(at+".settle", "0s to 10m", "%v is no time to wait for leaves", *r.Settle)
	}
	if r.MostServers < 1 || r.MostServers > 64 {
		f.Problem(at+".mostServers", "1 to 64", "%d name servers of one child cannot be", r.MostServers)
	}
	if len(r.Grants) == 0 {
		f.Problem(at, "grants: [{key: leaf-1, children: [shop."+z.Origin+"], nameservers: [\"*.leaf-1."+z.Origin+"\"]}]", "nobody may register anything")
	}
	for i, g := range r.Grants {
		at := fmt.Sprintf("%s.grants[%d]", at, i)
		c.needKey(f, at, g.Key)
		c.checkPatterns(f, at, "children", g.Children)
		c.checkPatterns(f, at, "nameservers", g.Nameservers)
		for k, child := range g.Children {
			plain := strings.TrimPrefix(child, "*.")
			if z.Origin == "" || plain == "" {
				continue
			}
			if !dns.IsSubDomain(z.Origin, plain) || child == z.Origin {
				f.Problem(fmt.Sprintf("%s.children[%d]", at, k), "*."+z.Origin, "%s is not below the zone %s", child, z.Origin)
			}
		}
		for k, p := range g.Addresses {
			if !p.IsValid() || p != p.Masked() {
				f.Problem(fmt.Sprintf("%s.addresses[%d]", at, k), "2001:db8::/32", "%v is no prefix", p)
			}
		}
	}
}

// needKey checks that a key is named and there.
func (c *Config) needKey(f *strictyaml.File, at, key string) {
	switch {
	case key == "":
		f.Problem(at, "key: leaf-1", "a key is missing: who registers signs with it")
	case c.Keys[key] == nil:
		f.Problem(at+".key", "a file in tsigKeys must have it", "there is no TSIG key %s", key)
	}
}

func (c *Config) checkPatterns(f *strictyaml.File, at, key string, patterns []string) {
	if len(patterns) == 0 {
		f.Problem(at, key+": [\"*.leaf-1.example.org\"]", "%s are missing: nothing is granted", key)
	}
	for i, p := range patterns {
		plain := strings.TrimPrefix(p, "*.")
		if _, ok := dns.IsDomainName(plain); !ok || plain == "" || strings.Contains(plain, "*") {
			f.Problem(fmt.Sprintf("%s.%s[%d]", at, key, i), "shop.apps.example.org, or *.apps.example.org for all below it", "%q is no name and no pattern", p)
		}
	}
}

func (c *Config) checkRegister(f *strictyaml.File, at string, index int) {
	r := c.Register[index]
	checkName(f, at+".zone", r.Zone)
	for i := range index {
		if c.Register[i].Zone == r.Zone && r.Zone != "" {
			f.Problem(at+".zone", "all uppers of a zone in one place", "zone %s is listed twice", r.Zone)
		}
	}
	if len(r.Uppers) == 0 {
		f.Problem(at, "uppers: [\"2001:db8::1+key:leaf-1\"]", "there are no uppers")
	}
	for i, u := range r.Uppers {
		at := fmt.Sprintf("%s.uppers[%d]", at, i)
		switch {
		case u.Key == "" && r.Nameserver != nil:
			f.Problem(at, u.Addr.String()+"+key:leaf-1", "without a key nobody can register")
		case u.Key != "" && c.Keys[u.Key] == nil:
			f.Problem(at, "a file in tsigKeys must have it", "there is no TSIG key %s", u.Key)
		}
		if slices.ContainsFunc(r.Uppers[:i], func(o transfer.Remote) bool { return o.Addr == u.Addr }) {
			f.Problem(at, "", "upper %s is listed twice", u.Addr)
		}
	}
	if r.Lease%time.Second != 0 || r.Lease < time.Second || r.Lease > leaseBound {
		f.Problem(at+".lease", "whole seconds, 1s to "+leaseBound.String(), "%v is no lease", r.Lease)
	}
	if r.Compare < time.Second {
		f.Problem(at+".compare", "1s at least", "%v is too short", r.Compare)
	}
	if n := r.Nameserver; n != nil {
		checkName(f, at+".nameserver.name", n.Name)
		inside := n.Name != "" && r.Zone != "" && dns.IsSubDomain(r.Zone, n.Name)
		if inside && len(n.Addresses) == 0 {
			f.Problem(at+".nameserver", "addresses: [...]", "name server %s is inside the upper's zone and has no address", n.Name)
		}
		if !inside && len(n.Addresses) > 0 && n.Name != "" && r.Zone != "" {
			f.Problem(at+".nameserver.addresses", "the zone of that name has them", "name server %s is outside the upper's zone %s, which cannot hold its addresses", n.Name, r.Zone)
		}
	}
}

// RegistrationPolicies are who may register what, by zone.
func (c *Config) RegistrationPolicies() map[string]registration.Policy {
	out := map[string]registration.Policy{}
	for _, z := range c.Zones {
		r := z.Registrations
		if r == nil {
			continue
		}
		m := z.Model()
		p := registration.Policy{
			Lease: r.Lease, Least: r.LeastLease, Most: r.MostLease, KeepLast: *r.KeepLast, MostServers: r.MostServers,
			TTL: record.Seconds(*r.TTL), AddressTTL: record.Seconds(*r.AddressTTL), Settle: *r.Settle,
		}
		for name := range record.Reserved(&m) {
			p.Reserved = append(p.Reserved, name)
		}
		for _, g := range r.Grants {
			p.Grants = append(p.Grants, registration.Grant(g))
		}
		out[z.Origin] = p
	}
	return out
}

// RegisterSections are with whom our zones are registered.
func (c *Config) RegisterSections() (out []registration.Section) {
	for _, r := range c.Register {
		s := registration.Section{Zone: r.Zone, Uppers: r.Uppers, Lease: r.Lease, Interval: r.Compare}
		if r.Nameserver != nil {
			s.Server = model.Nameserver(*r.Nameserver)
		}
		out = append(out, s)
	}
	return out
}
