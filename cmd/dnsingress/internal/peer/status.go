// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Status is how the exchange stands, as /peers gives it.
type Status struct {
	Cluster  string   `json:"cluster"`            // this one; empty: it has no peers
	Identity string   `json:"identity,omitempty"` // absent: not known yet
	Zone     string   `json:"zone"`
	Serial   uint32   `json:"serial,omitempty"` // of Zone; absent: it is not published yet
	Lease    float64  `json:"lease_seconds"`
	Hosts    int      `json:"hosts"` // that this cluster gives to the peers
	Peers    []State  `json:"peers"`
	Denied   []Denial `json:"denied,omitempty"` // who was refused Zone, the latest first
}

// State is how one peer stands.
type State struct {
	Name     string     `json:"name"`
	Up       bool       `json:"up"` // its lease holds: its members count
	Since    time.Time  `json:"since"`
	Heard    *time.Time `json:"last_heard,omitempty"` // when it confirmed its members; absent: never
	Why      string     `json:"why,omitempty"`        // it is not up
	Identity string     `json:"identity,omitempty"`
	Hosts    int        `json:"hosts"` // that count
	Members  int        `json:"members"`
	Refused  []string   `json:"refused_hosts,omitempty"` // that it was not granted, some of them
	More     int        `json:"refused_hosts_more,omitempty"`
	Servers  []Server   `json:"servers"`
}

// Server is how one server of a peer stands.
type Server struct {
	Address  netip.AddrPort `json:"address"`
	Counts   bool           `json:"counts"`        // its copy is the one that counts
	Left     float64        `json:"lease_seconds"` // that its copy is still confirmed for
	Took     float64        `json:"answer_seconds"`
	Serial   uint32         `json:"serial,omitempty"`
	Instance string         `json:"instance,omitempty"`
	Error    string         `json:"error,omitempty"` // of the last look
}

// Denial is somebody who was refused this cluster's zone.
type Denial struct {
	From  netip.Addr `json:"from"`
	Key   string     `json:"key,omitempty"` // that the message names
	Why   string     `json:"why"`
	Count int        `json:"count"`
	Last  time.Time  `json:"last"`
}

const (
	mostDenied  = 64          // who are remembered
	leastDenied = time.Minute // for how long at least: who comes more seldom makes room for others
	mostRefused = 16          // hosts that are listed
)

type denial struct {
	from     netip.Addr
	key, why string
}

type denials struct {
	count int
	last  time.Time
}

// Denied notes that somebody was refused this cluster's zone, and says so once.
func (s *Service) Denied(_ string, from netip.Addr, key, why string) {
	s.metrics.refused.WithLabelValues(s.options.Name, "asked").Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	d := denial{from, key, why}
	if s.denied[d] == nil {
		if len(s.denied) >= mostDenied && !s.forget() { // anybody can come from anywhere
			return
		}
		s.denied[d] = new(denials)
		s.options.Log.Warn("somebody is refused the cluster's own zone", "from", from, "key", key, "why", why)
	}
	s.denied[d].count++
	s.denied[d].last = time.Now()
}

// forget makes room for another who is refused; it tells whether there was anybody to forget.
func (s *Service) forget() bool {
	var oldest denial
	var at time.Time
	for d, n := range s.denied {
		if at.IsZero() || n.last.Before(at) {
			oldest, at = d, n.last
		}
	}
	if time.Since(at) < leastDenied {
		return false
	}
	delete(s.denied, oldest)
	return true
}

// Status tells how all stands; of nil, that there are no peers.
func (s *Service) Status() Status {
	if s == nil {
		return Status{Peers: []State{}}
	}
	s.publisher.mu.Lock()
	hosts := s.publisher.hosts
	s.publisher.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	x := Status{Cluster: s.options.Name, Identity: s.self, Zone: s.origin, Lease: s.options.Lease.Seconds(), Hosts: hosts, Peers: []State{}}
	if z := s.private.Zone(s.origin); z != nil {
		x.Serial = z.Serial()
	}
	for _, c := range s.clusters {
		x.Peers = append(x.Peers, c.state(now))
	}
	for d, n := range s.denied {
		x.Denied = append(x.Denied, Denial{d.from, d.key, d.why, n.count, n.last.UTC()})
	}
	slices.SortFunc(x.Denied, func(a, b Denial) int {
		return cmp.Or(b.Last.Compare(a.Last), a.From.Compare(b.From), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Why, b.Why))
	})
	return x
}

func (c *cluster) state(now time.Time) State {
	x := State{Name: c.name, Up: c.up, Since: c.since.UTC(), Why: c.why, Hosts: len(c.told), Servers: []Server{}}
	if !c.confirmed.IsZero() {
		heard := c.confirmed.UTC()
		x.Heard = &heard
	}
	if c.counted != nil && c.counted.held != nil {
		x.Identity = c.counted.held.identity
	}
	for _, share := range c.told {
		x.Members += len(share.Members)
	}
	for host := range c.refused {
		x.Refused = append(x.Refused, host)
	}
	slices.Sort(x.Refused)
	if x.More = max(0, len(x.Refused)-mostRefused); x.More > 0 {
		x.Refused = x.Refused[:mostRefused]
	}
	for _, l := range c.links {
		one := Server{Address: l.remote.Addr, Counts: c.up && l == c.counted, Took: l.took.Seconds()}
		if l.held != nil {
			one.Serial, one.Instance = l.held.serial, l.held.instance
		}
		if l.live(now) {
			one.Left = l.ends().Sub(now).Seconds()
		}
		one.Error = l.trouble()
		x.Servers = append(x.Servers, one)
	}
	return x
}
