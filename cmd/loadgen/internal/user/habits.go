// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
)

// Family is which addresses a user asks for.
type Family string

// The families. Auto asks for AAAA, and for A when there is no AAAA; Happy Eyeballs asks for both at once.
const (
	Auto Family = "auto"
	IPv6 Family = "ipv6"
	IPv4 Family = "ipv4"
)

// Protocol is which HTTP a user speaks.
type Protocol string

// The protocols, by their names in ALPN. HTTP2 without TLS is with prior knowledge (RFC 9113 §3.3).
const (
	HTTP1 Protocol = "http/1.1"
	HTTP2 Protocol = "h2"
	HTTP3 Protocol = "h3"
)

// ParseProtocol reads the name of a protocol: http/1.1, h2 or h3; h1 is short for the first.
func ParseProtocol(s string) (Protocol, error) {
	switch p := Protocol(s); p {
	case "h1":
		return HTTP1, nil
	case HTTP1, HTTP2, HTTP3:
		return p, nil
	}
	return "", fmt.Errorf("unknown protocol %q (hint: h1, h2 or h3)", s)
}

// Habits are what a user does, and what the users of a population have in common unless Traits differ.
type Habits struct {
	Client   string          // name of the node, for the samples
	Running  context.Context // ends when nobody is to think any longer; nil is never
	Target   *Target
	Others   []*Target     // of the same scheme and port: users are given the Target and these in turn
	Mix      *Mix          // what is asked for instead of the Target alone, at its host; nil: the Target
	Timeout  time.Duration // of one attempt, all phases together, from its actual send
	Attempts int           // per request, at least 1
	// RetryBudget bounds attempts after the first: each request earns a user this share of one, of
	// which it saves up to ten, beginning with one. 0 is no bound.
	RetryBudget float64
	RetryWait   time.Duration // before the second attempt, a random part of it; twice as long before each further one
	MaxBody     int64         // bytes

	Protocol    Protocol // "" is HTTP1
	KeepAlive   bool
	MaxRequests int           // on one connection; 0 is no limit
	MaxAge      time.Duration // of a connection that is given another request; 0 is no limit
	MaxIdle     time.Duration // between requests; 0 is no limit

	Addresses []netip.Addr     // when set, no DNS is asked
	DNS       dnsclient.Config // otherwise; its Exchanger is set from Resolver
	Resolver  dnsclient.Server
	Family    Family
	Order     dnsclient.Order
	RaceDelay time.Duration // Happy Eyeballs: between the begins of two connections; 0 is 250 ms (RFC 8305 §5)
	FailedFor time.Duration // how long an address that failed is tried last; 0 is not at all

	Sources netip.Prefix // when valid, user n sends from its n-th address (1 is the first)
	Ports   Ports        // when set, the users share these out, and each connects from its own
	TLS     *tls.Config
}

// Traits are habits in which users differ: each with the shares of the population that have it.
// Empty ones leave all as Habits say.
type Traits struct {
	TTL      Shares[dnsclient.TTL]
	Order    Shares[dnsclient.Order]
	Protocol Shares[Protocol]
	// KeepAlive: whether connections are used again.
	KeepAlive Shares[bool]
}

// Shares is a distribution over a population.
type Shares[T any] []Share[T]

// Share is a part of a population, in proportion to Weight.
type Share[T any] struct {
	Value  T
	Weight float64
}

// ParseShares reads "VALUE" or "VALUE=WEIGHT/VALUE=WEIGHT/…".
func ParseShares[T any](s string, parse func(string) (T, error)) (Shares[T], error) {
	var out Shares[T]
	parts := splitShares(s)
	for _, part := range parts {
		text, weight, weighed := strings.Cut(part, "=")
		share := Share[T]{Weight: 1}
		var err error
		if share.Value, err = parse(text); err != nil {
			return nil, err
		}
		if weighed {
			if _, err := fmt.Sscanf(weight+"\n", "%g\n", &share.Weight); err != nil || !(share.Weight > 0 && share.Weight <= 1e9) {
				return nil, fmt.Errorf("%q is no positive weight (hint: %s=70)", weight, text)
			}
		} else if len(parts) > 1 {
			return nil, fmt.Errorf("%q has no weight (hint: %s=70)", part, text)
		}
		out = append(out, share)
	}
	return out, nil
}

// splitShares cuts at slashes; that of http/1.1 is none.
func splitShares(s string) []string {
	const slash = "\x00"
	parts := strings.Split(strings.ReplaceAll(s, "http/1.1", "http"+slash+"1.1"), "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], slash, "/")
	}
	return parts
}

// deal gives each of n users a value: as many as its share says, to within one, in an order drawn from rng.
func (s Shares[T]) deal(n int, rng *rand.Rand) []T {
	sum := 0.0
	for _, share := range s {
		sum += share.Weight
	}
	out := make([]T, 0, n)
	passed := 0.0
	for _, share := range s {
		passed += share.Weight
		for len(out) < n && float64(len(out))+0.5 <= passed/sum*float64(n)+1e-9 {
			out = append(out, share.Value)
		}
	}
	for len(out) < n { // rounding
		out = append(out, s[len(s)-1].Value)
	}
	rng.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return slices.Clip(out)
}

// AsksDNS reports whether the users have to look the target's name up.
func (h *Habits) AsksDNS() bool { return len(h.Addresses) == 0 && h.Target.local() == nil }
