// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/location"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// TLS is DNS over TLS (RFC 7858).
type TLS struct {
	// Listen are its addresses, as "[::]:853". Default: none.
	Listen []string `yaml:"listen"`
	// Cert and Key are PEM files, read again when they change. Required with an address.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// DNS says what the server does beside answering.
type DNS struct {
	// ID is told to who asks with NSID or for id.server, Version to who asks for version.server. Default: nothing.
	ID      string `yaml:"id"`
	Version string `yaml:"version"`
	// RateLimit bounds replies over UDP.
	RateLimit RateLimit `yaml:"rateLimit"`
	// TCP bounds what TCP clients can take.
	TCP TCP `yaml:"tcp"`
	// QueryLog writes a sample of the queries to the log.
	QueryLog QueryLog `yaml:"queryLog"`
	// Dnstap writes queries and replies as dnstap.
	Dnstap Dnstap `yaml:"dnstap"`
	// LocationDatabase is a file in MaxMind's format that says in which country clients are, read again when it changes.
	// Default: none.
	LocationDatabase string `yaml:"locationDatabase"`
	// Locations say where clients are that the database does not know, by network: a code (IE, US-CA, GEO-EU), or a path from the largest
	// place to the smallest, such as zone-a/node-7. The longest prefix counts. Default: nowhere.
	Locations map[string]string `yaml:"locations"`
}

// RateLimit is response rate limiting.
type RateLimit struct {
	// PerSecond is how many replies of one kind a network (/24, /56) gets. 0: all. Default: 0.
	PerSecond int `yaml:"perSecond"`
	// Slip makes every so manieth reply beyond that an empty one that sends the client to TCP; 0: none. Default: 2.
	Slip *int `yaml:"slip"`
}

// TCP bounds connections, those with TLS among them.
type TCP struct {
	// Connections are open at once; 0: 4096. Default: 0, as of all of these.
	Connections int `yaml:"connections"`
	// PerClient are open at once from one IPv4 address or IPv6 /64; 0: 256.
	PerClient int `yaml:"perClient"`
	// Idle is how long a connection may take for its next query; 0: 10s.
	Idle time.Duration `yaml:"idle"`
	// Memory is what the buffers of all may take, in octets; 0: 256 MiB.
	Memory int `yaml:"memory"`
}

// QueryLog says which queries are logged.
type QueryLog struct {
	// Every is one query in so many. 0: none. Default: 0.
	Every int `yaml:"every"`
	// PerSecond bounds the lines. Default: 100.
	PerSecond int `yaml:"perSecond"`
}

// Dnstap says where dnstap goes.
type Dnstap struct {
	// To is unix:PATH, a socket that a collector listens on, or file:PATH. Default: nowhere.
	To string `yaml:"to"`
	// Every is one query in so many. Default: 1.
	Every int `yaml:"every"`
}

func (d *DNS) fill() {
	orPointer(&d.RateLimit.Slip, 2)
	orElse(&d.QueryLog.PerSecond, 100)
	orElse(&d.Dnstap.Every, 1)
}

func (t TLS) check(f *strictyaml.File) {
	for i, l := range t.Listen {
		checkListen(f, fmt.Sprintf("tls.listen[%d]", i), l)
	}
	if len(t.Listen) > 0 && (t.Cert == "" || t.Key == "") {
		f.Problem("tls", "cert: /etc/dnsingress/tls/tls.crt, key: /etc/dnsingress/tls/tls.key", "TLS needs a certificate and its key")
	}
}

func (d DNS) check(f *strictyaml.File) {
	for _, l := range []struct {
		at    string
		value int
		least int
	}{
		{"rateLimit.perSecond", d.RateLimit.PerSecond, 0},
		{"rateLimit.slip", *d.RateLimit.Slip, 0},
		{"tcp.connections", d.TCP.Connections, 0},
		{"tcp.perClient", d.TCP.PerClient, 0},
		{"tcp.idle", int(d.TCP.Idle), 0},
		{"tcp.memory", d.TCP.Memory, 0},
		{"queryLog.every", d.QueryLog.Every, 0},
		{"queryLog.perSecond", d.QueryLog.PerSecond, 1},
		{"dnstap.every", d.Dnstap.Every, 1},
	} {
		if l.value < l.least {
			f.Problem("dns."+l.at, "", "%d is less than %d", l.value, l.least)
		}
	}
	for _, c := range []struct {
		at  string
		err error
	}{
		{"id", server.Names{ID: d.ID}.Check()},
		{"version", server.Names{Version: d.Version}.Check()},
		{"dnstap.to", server.Dnstap{To: d.Dnstap.To}.Check()},
	} {
		if c.err != nil {
			f.Problem("dns."+c.at, "", "%v", c.err)
		}
	}
	for _, network := range slices.Sorted(maps.Keys(d.Locations)) {
		if _, _, err := location.Parse(network, d.Locations[network]); err != nil {
			f.Problem(fmt.Sprintf("dns.locations[%q]", network), "", "%v", err)
		}
	}
}
