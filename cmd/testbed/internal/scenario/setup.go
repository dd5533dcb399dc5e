// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"cmp"
	"strconv"
	"time"
)

// Setup is how a cell wants its system and its backend to stand. Zero values are what stands without the factor.
type Setup struct {
	Pack   string // default | tuned
	Front  string // static | l2 | keepalived | bgp
	Retry  string // none | client | proxy | both; empty: as the pack has it, and clients that try once
	Timers string // stock | short; empty: as the cluster stands

	TLS bool
	// TTL of the service's addresses; 0: the zone's default. Dynamic leaves it to the system.
	TTL        time.Duration
	DynamicTTL bool

	Workers  int           // the first so many carry the backend and the system; 0: all
	Services int           // 0: one
	Pods     int           // of the backend; 0: Backend.Replicas
	Drain    time.Duration // that its pods serve on once they are told to end

	ResponseBytes int64 // of an answer

	ClusterDNS bool // the cluster's CoreDNS stands behind a Service, and clients' nodes route to that
}

// ByCluster is the level of Cached at which names are asked of the cluster's own DNS.
const ByCluster = "cluster"

// dynamic is the level of TTL at which the system chooses.
const dynamic = "dynamic"

// Setup is how the cell wants its system to stand. Levels were checked.
func (s *Scenario) Setup(c Cell) Setup {
	l := c.Levels
	number := func(f Factor) int {
		n, _ := strconv.Atoi(l[f])
		return n
	}
	out := Setup{
		Pack: l[Pack], Front: l[Front], Retry: l[Retry], Timers: l[Timers], TLS: l[TLS] == "on", DynamicTTL: l[TTL] == dynamic,
		Workers: number(Workers), Services: number(Services), Pods: number(Pods), ResponseBytes: s.Backend.ResponseBytes,
		ClusterDNS: l[Cached] == ByCluster,
	}
	out.TTL, _ = time.ParseDuration(l[TTL])
	out.Drain, _ = time.ParseDuration(l[Drain])
	if l[ResponseBytes] != "" {
		out.ResponseBytes, _ = strconv.ParseInt(l[ResponseBytes], 10, 64)
	}
	return out
}

// DefaultTTL is that of the addresses in DNS where a cell says nothing else: deploy/backend has it.
const DefaultTTL = 5 * time.Second

// Cached is how long caches may hold an address in the cell's trials, where these break or replace something, and else 0. At
// what age of the caches that happens is left to chance, or they would be equally old in every trial of a cell. Rounds
// with resolvers have delays of their own.
func (s *Scenario) Cached(c Cell) time.Duration {
	if s.DNS.Given() || len(c.Trials.Faults()) == 0 && c.Trials.Churn == nil {
		return 0
	}
	u := s.Setup(c)
	if u.DynamicTTL { // as long as what it is compared with
		for _, level := range s.LevelsOf(TTL) {
			d, _ := time.ParseDuration(level)
			u.TTL = max(u.TTL, d)
		}
	}
	return cmp.Or(u.TTL, DefaultTTL)
}

// Offered is the load of a cell; its rate is 0 where that is a share of a knee, which Cell.Share tells.
func (s *Scenario) Offered(c Cell) Load {
	out := s.Load
	if level := c.Levels[Rate]; level != "" {
		out.Rate, _ = strconv.ParseFloat(level, 64)
	}
	if c.Levels[Connection] != "" {
		out.Connection = c.Levels[Connection]
	}
	if n, err := strconv.Atoi(c.Levels[Users]); err == nil {
		out.Users = n
	}
	return out
}

// Loaded says whether the cell has load of a rate that is given.
func (s *Scenario) Loaded(c Cell) bool { return c.Trials.loaded() }

// Share is the part of its knee that the cell's rate is; ok is false for a rate that is absolute.
func (c Cell) Share() (part float64, ok bool) { return share(c.Levels[Rate]) }
