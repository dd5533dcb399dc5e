// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Forward is a zone that other servers answer for, such as that of another cluster.
type Forward struct {
	// Zone is its name; "." is all that no other zone covers. Required.
	Zone string `yaml:"zone"`
	// To are the servers in order, as "[2001:db8::1]:53" or 192.0.2.1. At least one.
	To []forward.Address `yaml:"to"`
	// Policy is primary-fallback (the first that is up is asked) or round-robin. Default: primary-fallback.
	Policy forward.Policy `yaml:"policy"`
	// TLS is DNS over TLS to all servers (RFC 7858). Default: UDP, and TCP for what does not fit.
	TLS *ForwardTLS `yaml:"tls"`
	// Timeout is how long one server may take; a question gets twice as long in all. Default: 1s.
	Timeout time.Duration `yaml:"timeout"`
	// ServeStale is for how long after its TTL an answer may be given while no server answers (RFC 8767). 0: never. Default: 1h.
	ServeStale *time.Duration `yaml:"serveStale"`
	// Cache bounds what is remembered.
	Cache ForwardCache `yaml:"cache"`
	// Health says how the servers are watched.
	Health ForwardHealth `yaml:"health"`
	// InFlight is how many questions to the servers may be under way. Default: 1000.
	InFlight int `yaml:"inFlight"`
	// Clients are the prefixes of those who may ask. Required for the zone "."; else the default is all.
	Clients []netip.Prefix `yaml:"clients"`

	tls *tls.Config
}

// ForwardTLS says whom to trust.
type ForwardTLS struct {
	// ServerName is what the servers' certificates must be for. Default: each server's address.
	ServerName string `yaml:"serverName"`
	// CAFile holds the authorities, PEM. Default: the system's.
	CAFile string `yaml:"caFile"`
}

// ForwardCache bounds what is remembered of a zone.
type ForwardCache struct {
	// Size is what the answers may take, in octets. 0: nothing is remembered. Default: 16 MiB.
	Size *int `yaml:"size"`
	// MaxTTL bounds for how long an answer is remembered, whatever its TTL. Default: 1h.
	MaxTTL time.Duration `yaml:"maxTTL"`
}

// ForwardHealth says how servers are watched.
type ForwardHealth struct {
	// Interval is between two probes of a server. Default: 2s.
	Interval time.Duration `yaml:"interval"`
	// Failures in a row make a server count as down. Default: 2.
	Failures int `yaml:"failures"`
}

func (f *Forward) fill() {
	f.Zone = canonical(f.Zone)
	orElse(&f.Policy, forward.PrimaryFallback)
	orElse(&f.Timeout, time.Second)
	orPointer(&f.ServeStale, time.Hour)
	orPointer(&f.Cache.Size, 16<<20)
	orElse(&f.Cache.MaxTTL, time.Hour)
	orElse(&f.Health.Interval, 2*time.Second)
	orElse(&f.Health.Failures, 2)
	orElse(&f.InFlight, 1000)
}

// The bounds of what a forwarder waits for.
const (
	leastForwardTimeout = 20 * time.Millisecond
	mostForwardTimeout  = time.Minute
	leastProbeInterval  = 100 * time.Millisecond
	mostServeStale      = 7 * 24 * time.Hour // RFC 8767 §5
	mostForwardTTL      = 7 * 24 * time.Hour // likewise, RFC 8767 §4
	mostForwardName     = 190                // octets of a zone below which the name of a probe fits
)

// checkForwards checks the zones that are forwarded.
func (c *Config) checkForwards(f *strictyaml.File) {
	seen := map[string]bool{}
	for i := range c.Forward {
		z, at := &c.Forward[i], fmt.Sprintf("forward[%d]", i)
		checkName(f, at+".zone", z.Zone)
		if seen[z.Zone] {
			f.Problem(at+".zone", "one entry with all its servers", "zone %s is forwarded twice", z.Zone)
		}
		seen[z.Zone] = true
		if len(z.Zone) > mostForwardName {
			f.Problem(at+".zone", "", "the name leaves no room for that of a probe below it")
		}
		for _, own := range c.Zones {
			if own.Origin != "" && dns.IsSubDomain(own.Origin, z.Zone) {
				f.Problem(at+".zone", "a DNSDelegation refers clients to its servers", "%s is in zone %s, which is answered here", z.Zone, own.Origin)
			}
		}
		z.check(f, at)
	}
}

func (z *Forward) check(f *strictyaml.File, at string) {
	if len(z.To) == 0 {
		f.Problem(at, `to: ["[2001:db8::1]:53"]`, "there is no server to ask")
	}
	for i, a := range z.To {
		if slices.Contains(z.To[:i], a) && netip.AddrPort(a).IsValid() {
			f.Problem(fmt.Sprintf("%s.to[%d]", at, i), "", "%v is listed twice", a)
		}
	}
	if z.Policy != forward.PrimaryFallback && z.Policy != forward.RoundRobin {
		f.Problem(at+".policy", "primary-fallback or round-robin", "%q is unknown", z.Policy)
	}
	for _, d := range []struct {
		key                string
		value, least, most time.Duration
	}{
		{"timeout", z.Timeout, leastForwardTimeout, mostForwardTimeout},
		{"serveStale", *z.ServeStale, 0, mostServeStale},
		{"cache.maxTTL", z.Cache.MaxTTL, time.Second, mostForwardTTL},
		{"health.interval", z.Health.Interval, leastProbeInterval, time.Hour},
	} {
		if d.value < d.least || d.value > d.most {
			f.Problem(at+"."+d.key, fmt.Sprintf("%v to %v", d.least, d.most), "%v is out of bounds", d.value)
		}
	}
	for _, n := range []struct {
		key          string
		value, least int
	}{{"cache.size", *z.Cache.Size, 0}, {"health.failures", z.Health.Failures, 1}, {"inFlight", z.InFlight, 1}} {
		if n.value < n.least {
			f.Problem(at+"."+n.key, "", "%d is less than %d", n.value, n.least)
		}
	}
	if z.Zone == "." && len(z.Clients) == 0 {
		f.Problem(at, `clients: ["2001:db8::/32"]`, "with all names forwarded for everybody this would be an open resolver")
	}
	if z.TLS == nil {
		return
	}
	z.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: z.TLS.ServerName, NextProtos: []string{"dot"}}
	if z.TLS.CAFile == "" {
		return
	}
	var err error
	if z.tls.RootCAs, err = authorities(z.TLS.CAFile); err != nil {
		f.Problem(at+".tls.caFile", "", "%v", err)
	}
}

// authorities reads certificates of a PEM file.
func authorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no certificate in " + path)
	}
	return pool, nil
}

// Forwards are the zones that are forwarded, as package forward wants them.
func (c *Config) Forwards() []forward.Zone {
	var zones []forward.Zone
	for _, z := range c.Forward {
		zones = append(zones, forward.Zone{
			Name: z.Zone, To: z.To, Policy: z.Policy, TLS: z.tls, Timeout: z.Timeout, ServeStale: *z.ServeStale, MaxTTL: z.Cache.MaxTTL,
			CacheSize: *z.Cache.Size, InFlight: z.InFlight, Health: forward.Health(z.Health), Clients: z.Clients,
		})
	}
	return zones
}
