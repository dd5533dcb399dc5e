// SPDX-License-Identifier: Apache-2.0

// Package config reads the configuration of `dnsingress run`: strict YAML, every mistake at once with its
// place and a hint. A whole example with all defaults is deploy/dnsingress/config.yaml.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Config is the whole file. After Load every default is filled in.
type Config struct {
	// Zones are what this server is authoritative for. At least one.
	Zones []Zone `yaml:"zones"`
	// Listen are the addresses for DNS over UDP and TCP. Default: "[::]:53".
	Listen []string `yaml:"listen"`
	// TLS is DNS over TLS. Default: off.
	TLS TLS `yaml:"tls"`
	// DNS says what the server does beside answering. Default: nothing.
	DNS DNS `yaml:"dns"`
	// Admin is the address of /metrics, /healthz, /readyz, /explain, /pools, and of a page for people. Default: "[::]:9153".
	Admin string `yaml:"admin"`
	// Prometheus is where metrics are asked; without URLs every policy is without a signal.
	Prometheus Prometheus `yaml:"prometheus"`
	// Kubernetes is where the objects that have names come from.
	Kubernetes Kubernetes `yaml:"kubernetes"`
	// TSIGKeys are files of keys: BIND's key "NAME" { algorithm hmac-sha256; secret "BASE64"; }; or lines of
	// NAME:ALGORITHM:BASE64. Default: none.
	TSIGKeys []string `yaml:"tsigKeys"`
	// State is a directory that keeps serials over restarts. Without it the serial of a zone begins at the Unix
	// time, which moves it forward unless the zone has changed more than once a second since the last start.
	// Default: none.
	State string `yaml:"state"`
	// LameDuck is how long answers go on after SIGTERM while /readyz already says no. Default: 3s.
	LameDuck *time.Duration `yaml:"lameDuck"`

	// Keys are what TSIGKeys hold.
	Keys transfer.Keys `yaml:"-"`
}

// Zone is one zone's own data. The names of its services come from the cluster.
type Zone struct {
	// Origin is the zone's name, such as apps.example.org.
	Origin string `yaml:"origin"`
	// Nameservers are the zone's NS records, with an address record for each name inside the zone. At least one.
	Nameservers []Nameserver `yaml:"nameservers"`
	// Addresses are the apex's own A and AAAA records. Default: none.
	Addresses []netip.Addr `yaml:"addresses"`
	// SOA holds the start-of-authority fields that secondaries and resolvers read.
	SOA SOA `yaml:"soa"`
	// TTL of services' answers that set none; whole seconds. Default: 5s.
	TTL *time.Duration `yaml:"ttl"`
	// NegativeTTL is how long resolvers may remember that a name or its data does not exist (RFC 2308 §5). Default: 5s.
	NegativeTTL *time.Duration `yaml:"negativeTTL"`
	// InfrastructureTTL is the TTL of NS, SOA, nameservers' and apex addresses. Default: 5m.
	InfrastructureTTL *time.Duration `yaml:"infrastructureTTL"`
	// MaxAnswers bounds the addresses in one answer; which ones changes from answer to answer. 0: all
	// that a message can hold, 2000. Default: 8.
	MaxAnswers *int `yaml:"maxAnswers"`
	// DNSSEC says how the zone is signed. Default: not.
	DNSSEC DNSSEC `yaml:"dnssec"`
	// Transfer says who may have the zone. Default: nobody.
	Transfer Transfer `yaml:"transfer"`
}

// Nameserver is one NS record.
type Nameserver struct {
	// Name is the server's host name.
	Name string `yaml:"name"`
	// Addresses are required for a name inside the zone, and refused for one outside.
	Addresses []netip.Addr `yaml:"addresses"`
}

// SOA is the zone's start of authority (RFC 1035 §3.3.13). The serial is the server's business.
type SOA struct {
	// Primary is the name of the primary server. Default: the first nameserver.
	Primary string `yaml:"primary"`
	// Mailbox of the person in charge, as a name (hostmaster.example.org.). Default: hostmaster.ORIGIN.
	Mailbox string `yaml:"mailbox"`
	// Refresh, Retry and Expire are for secondaries. Defaults: 1h, 10m, 168h.
	Refresh time.Duration `yaml:"refresh"`
	Retry   time.Duration `yaml:"retry"`
	Expire  time.Duration `yaml:"expire"`
}

// Load reads and checks the file. An error is a misuse that lists every problem as FILE:LINE:COLUMN.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, cli.Misuse("reading configuration: %w (hint: deploy/dnsingress/config.yaml is an example)", err)
	case err != nil:
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse is Load for a file that has been read.
func Parse(path string, data []byte) (*Config, error) {
	var c Config
	f := strictyaml.Decode(path, data, &c)
	c.fill()
	c.check(f)
	if err := f.Err(); err != nil {
		return nil, cli.Misuse("%w", err)
	}
	return &c, nil
}

// fill sets what the file leaves out.
func (c *Config) fill() {
	if c.Listen == nil {
		c.Listen = []string{"[::]:53"}
	}
	orElse(&c.Admin, "[::]:9153")
	c.DNS.fill()
	orPointer(&c.LameDuck, 3*time.Second)
	c.Prometheus.fill()
	c.Kubernetes.fill()
	for i := range c.Zones {
		z := &c.Zones[i]
		z.Origin = canonical(z.Origin)
		for j := range z.Nameservers {
			z.Nameservers[j].Name = canonical(z.Nameservers[j].Name)
		}
		if len(z.Nameservers) > 0 {
			orElse(&z.SOA.Primary, z.Nameservers[0].Name)
		}
		if z.Origin != "" {
			orElse(&z.SOA.Mailbox, "hostmaster."+strings.TrimPrefix(z.Origin, "."))
		}
		z.SOA.Primary, z.SOA.Mailbox = canonical(z.SOA.Primary), canonical(z.SOA.Mailbox)
		orElse(&z.SOA.Refresh, time.Hour)
		orElse(&z.SOA.Retry, 10*time.Minute)
		orElse(&z.SOA.Expire, 168*time.Hour)
		orPointer(&z.TTL, 5*time.Second)
		orPointer(&z.NegativeTTL, 5*time.Second)
		orPointer(&z.InfrastructureTTL, 5*time.Minute)
		orPointer(&z.MaxAnswers, 8)
		z.DNSSEC.fill()
	}
}

func (c *Config) check(f *strictyaml.File) {
	if len(c.Zones) == 0 {
		f.Problem("zones", "zones: [{origin: apps.example.org, nameservers: [...]}]", "no zone to serve")
	}
	origins := map[string]bool{}
	for i, z := range c.Zones {
		at := fmt.Sprintf("zones[%d]", i)
		if z.Origin != "" && origins[z.Origin] {
			f.Problem(at+".origin", "", "zone %s is listed twice", z.Origin)
		}
		origins[z.Origin] = true
		z.check(f, at)
	}
	if len(c.Listen) == 0 {
		f.Problem("listen", `"[::]:53"`, "no address to listen on")
	}
	for i, l := range c.Listen {
		checkListen(f, fmt.Sprintf("listen[%d]", i), l)
	}
	c.TLS.check(f)
	c.DNS.check(f)
	checkListen(f, "admin", c.Admin)
	if *c.LameDuck < 0 {
		f.Problem("lameDuck", "", "%v is negative", *c.LameDuck)
	}
	c.checkTransfers(f)
	c.Prometheus.check(f)
	c.Kubernetes.check(f)
}

func (z Zone) check(f *strictyaml.File, at string) {
	checkName(f, at+".origin", z.Origin)
	if len(z.Nameservers) == 0 {
		f.Problem(at+".nameservers", "nameservers: [{name: ns1.apps.example.org, addresses: [...]}]", "a zone needs at least one nameserver")
	}
	names := map[string]bool{}
	for i, ns := range z.Nameservers {
		at := fmt.Sprintf("%s.nameservers[%d]", at, i)
		checkName(f, at+".name", ns.Name)
		if names[ns.Name] {
			f.Problem(at+".name", "", "nameserver %s is listed twice", ns.Name)
		}
		names[ns.Name] = true
		inside := z.Origin != "" && dns.IsSubDomain(z.Origin, ns.Name)
		if inside && len(ns.Addresses) == 0 {
			f.Problem(at, "addresses: [...]", "nameserver %s is inside the zone and has no address", ns.Name)
		}
		if !inside && len(ns.Addresses) > 0 && ns.Name != "" && z.Origin != "" {
			f.Problem(at+".addresses", "the zone of that name has them", "nameserver %s is outside the zone %s, which cannot hold its addresses", ns.Name, z.Origin)
		}
	}
	if z.SOA.Primary != "" { // else it is the first nameserver that is missing
		checkName(f, at+".soa.primary", z.SOA.Primary)
	}
	if z.SOA.Mailbox != "" {
		checkName(f, at+".soa.mailbox", z.SOA.Mailbox)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
		least time.Duration
	}{
		{"ttl", *z.TTL, 0},
		{"negativeTTL", *z.NegativeTTL, 0},
		{"infrastructureTTL", *z.InfrastructureTTL, time.Second},
		{"soa.refresh", z.SOA.Refresh, time.Second},
		{"soa.retry", z.SOA.Retry, time.Second},
		{"soa.expire", z.SOA.Expire, time.Second},
	} {
		// RFC 2181 §8: TTLs have 31 bits.
		if d.value%time.Second != 0 || d.value < d.least || d.value/time.Second > 1<<31-1 {
			f.Problem(at+"."+d.key, "whole seconds, such as 5s or 1h", "%v is no time that DNS can carry", d.value)
		}
	}
	if *z.MaxAnswers < 0 {
		f.Problem(at+".maxAnswers", "0 means all", "%d is negative", *z.MaxAnswers)
	}
	z.DNSSEC.check(f, at+".dnssec")
}

func checkName(f *strictyaml.File, at, name string) {
	if name == "" {
		f.Problem(at, "", "a name is missing")
		return
	}
	if _, ok := dns.IsDomainName(name); !ok {
		f.Problem(at, "", "%q is no domain name", name)
	}
}

func checkListen(f *strictyaml.File, at, address string) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		f.Problem(at, `an address and a port, as in "[::]:53"`, "%q cannot be listened on", address)
	}
}

// canonical is the form in which names are compared: lower case and fully qualified. Empty stays empty.
func canonical(name string) string {
	if name == "" {
		return ""
	}
	return dns.CanonicalName(name)
}

func orElse[T comparable](v *T, value T) {
	if *v == *new(T) {
		*v = value
	}
}

func orPointer[T any](v **T, value T) {
	if *v == nil {
		*v = &value
	}
}
