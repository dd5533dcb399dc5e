// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options of a Service.
type Options struct {
	Zones      []Zone
	Registerer prometheus.Registerer // nil: no metrics
	Log        *slog.Logger
}

// Zone is one zone whose questions are forwarded.
type Zone struct {
	Name string    // canonical, "." for all names
	To   []Address // in order
	// Policy is which of the servers that answer is asked first.
	Policy Policy
	// TLS is for DNS over TLS (RFC 7858); nil: UDP, and TCP for what does not fit.
	TLS *tls.Config
	// Timeout is how long one server may take for an answer. A question gets twice as long in all.
	Timeout time.Duration
	// ServeStale is for how long after its TTL an answer may be given while no server answers; 0: never.
	ServeStale time.Duration
	// MaxTTL bounds for how long an answer is remembered, whatever its TTL.
	MaxTTL time.Duration
	// CacheSize is how many octets the answers that are remembered may take; 0: none are remembered.
	CacheSize int
	// InFlight is how many questions to servers may be under way.
	InFlight int
	Health   Health
	// Clients are who may ask; empty: all.
	Clients []netip.Prefix
}

// Health is how servers are watched.
type Health struct {
	// Interval is between two probes of a server.
	Interval time.Duration
	// Failures in a row, of probes or questions, make a server count as down.
	Failures int
}

// Policy is the order in which servers are asked.
type Policy string

// The policies.
const (
	PrimaryFallback Policy = "primary-fallback" // the first that is up
	RoundRobin      Policy = "round-robin"      // one after the other
)
