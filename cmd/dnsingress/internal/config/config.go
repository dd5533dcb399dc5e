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
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Config is the whole file. After Load every default is filled in.
type Config struct {
	// Zones are what this server is authoritative for, beside DNSZones. Default: none, DNSZones alone.
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
	// Cluster says who this is to other clusters. Default: nobody.
	Cluster Cluster `yaml:"cluster"`
	// Peers are the clusters that exchange their pools with this one. Default: none.
	Peers Peers `yaml:"peers"`
	// Forward are zones that other servers are asked for. Default: none.
	Forward []Forward `yaml:"forward"`
	// Register says with which uppers zones are registered. Default: with none.
	Register []Register `yaml:"register"`
	// Delegations says how DNSDelegations are compared with their children.
	Delegations Delegations `yaml:"delegations"`
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
	// Role is leaf (it answers with addresses) or upper (it only refers: it holds DNSDelegations, and its own SOA, NS and
	// nameservers' addresses alone). Default: leaf.
	Role Role `yaml:"role"`
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
	// Registrations say who may enter name servers of children in the zone. Default: nobody.
	Registrations *Registrations `yaml:"registrations"`
}

// Role is what a zone is in the tree of zones.
type Role string

// The roles.
const (
	Leaf  Role = "leaf"
	Upper Role = "upper"
)

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
	c.fillRegister()
	c.Peers.fill()
	for i := range c.Forward {
		c.Forward[i].fill()
	}
	for i := range c.Zones {
		z := &c.Zones[i]
		z.Origin = canonical(z.Origin)
		for j := range z.Nameservers {
			z.Nameservers[j].Name = canonical(z.Nameservers[j].Name)
		}
		z.SOA.Primary, z.SOA.Mailbox = canonical(z.SOA.Primary), canonical(z.SOA.Mailbox)
		c.fillServers(z)
		orElse(&z.Role, Leaf)
		orPointer(&z.TTL, record.DefaultTTL)
		orPointer(&z.NegativeTTL, record.DefaultNegativeTTL)
		orPointer(&z.InfrastructureTTL, record.DefaultInfrastructureTTL)
		orPointer(&z.MaxAnswers, record.DefaultMaxAnswers)
		m := z.Model()
		z.SOA = SOA(m.SOA)
		z.DNSSEC.fill()
		z.Registrations.fill(*z.InfrastructureTTL)
	}
}

func (c *Config) check(f *strictyaml.File) {
	if len(c.Zones) == 0 && !*c.Kubernetes.Sources.DNSZones.Enabled {
		f.Problem("zones", "zones: [{origin: apps.example.org, nameservers: [...]}]", "no zone to serve, and kubernetes.sources.dnsZones is off")
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
	c.checkRegistration(f)
	c.checkPeers(f)
	c.checkForwards(f)
	c.Prometheus.check(f)
	c.Kubernetes.check(f)
}

func (z Zone) check(f *strictyaml.File, at string) {
	m := z.Model()
	for _, p := range record.CheckZone(&m) {
		f.Problem(at+"."+p.Path, p.Hint, "%s", p.Text)
	}
	if z.Role != Leaf && z.Role != Upper {
		f.Problem(at+".role", "leaf or upper", "%q is unknown", z.Role)
	}
	z.DNSSEC.check(f, at+".dnssec")
}

// Model is the zone's own data, with all defaults.
func (z Zone) Model() model.Zone {
	m := model.Zone{
		Origin: z.Origin, Upper: z.Role == Upper, Addresses: z.Addresses, SOA: model.SOA(z.SOA),
		TTL: *z.TTL, NegativeTTL: *z.NegativeTTL, InfrastructureTTL: *z.InfrastructureTTL, MaxAnswers: *z.MaxAnswers,
	}
	for _, ns := range z.Nameservers {
		m.Nameservers = append(m.Nameservers, model.Nameserver(ns))
	}
	record.ZoneDefaults(&m)
	return m
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
