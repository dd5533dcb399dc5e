// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/server"
)

// Service forwards questions for its zones. It is a server.Forwarder.
type Service struct {
	relays []*relay
	zones  map[string]*relay // by name in wire form
	probes probes
	end    context.CancelFunc
}

// New makes a service that answers; Run watches its servers.
func New(o Options) (*Service, error) {
	work, end := context.WithCancel(context.Background())
	s := &Service{zones: map[string]*relay{}, probes: probes{open: map[string]*probe{}}, end: end}
	for _, z := range o.Zones {
		wire, err := wireName(z.Name)
		if err != nil {
			end()
			return nil, fmt.Errorf("forwarding %q: %w", z.Name, err)
		}
		r := &relay{
			zone: z, cache: newCache(z.CacheSize, z.ServeStale), open: make(chan struct{}, z.InFlight), work: work, flights: map[way]*flight{},
		}
		port := uint16(53)
		if z.TLS != nil {
			port = 853
		}
		for _, a := range z.To {
			to := a.with(port)
			r.servers = append(r.servers, &upstream{
				zone: z.Name, to: to, mark: newMark(), streams: &streams{to: to, tls: named(z.TLS, to)}, health: z.Health, timeout: z.Timeout, log: o.Log,
				wake: make(chan struct{}, 1), recovered: func() { r.back.Add(1) }, state: Up, since: time.Now(),
			})
		}
		s.zones[wire] = r
		s.relays = append(s.relays, r)
	}
	if o.Registerer != nil && len(s.relays) > 0 {
		if err := o.Registerer.Register(s); err != nil {
			end()
			return nil, fmt.Errorf("registering the metrics of forwarding: %w", err)
		}
	}
	return s, nil
}

// named has the certificate be for the server's address where it is for no other name; nil: no TLS.
func named(c *tls.Config, to netip.AddrPort) *tls.Config {
	if c == nil || c.ServerName != "" {
		return c
	}
	c = c.Clone()
	c.ServerName = to.Addr().WithZone("").String()
	return c
}

// wireName is a name in lower-case wire form.
func wireName(name string) (string, error) {
	var b [256]byte
	n, err := dns.PackDomainName(canonical(name), b[:], 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("packing the name %q: %w", name, err)
	}
	return string(b[:n]), nil
}

// Run probes the servers until ctx ends. What is under way then ends without an answer.
func (s *Service) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	for _, r := range s.relays {
		for _, u := range r.servers {
			wait.Go(func() { s.probes.watch(ctx, r, u) })
		}
	}
	<-ctx.Done()
	s.end()
	wait.Wait()
	for _, r := range s.relays {
		for _, u := range r.servers {
			u.streams.close()
		}
	}
	return nil
}

// Forwards implements server.Forwarder.
func (s *Service) Forwards(name []byte, from netip.Addr) bool {
	r := s.relay(name)
	return r != nil && r.admits(from)
}

// relay returns the one of the longest zone that a name in lower-case wire form is in; nil: it is in none.
func (s *Service) relay(name []byte) *relay {
	for at := 0; ; at += int(name[at]) + 1 {
		if r := s.zones[string(name[at:])]; r != nil || name[at] == 0 {
			return r
		}
	}
}

// admits tells whether a client may ask.
func (r *relay) admits(from netip.Addr) bool {
	return len(r.zone.Clients) == 0 || slices.ContainsFunc(r.zone.Clients, func(p netip.Prefix) bool { return p.Contains(from.Unmap()) })
}

// Handle implements server.Handler.
func (s *Service) Handle(ctx context.Context, x *server.Exchange) {
	var m dns.Msg
	if err := m.Unpack(x.Query); err != nil || len(m.Question) != 1 {
		_ = x.Reply(x.Complete(bare(x.Query, headerLen, dns.RcodeFormatError), 0))
		return
	}
	end := skipName(x.Query, headerLen) + 4
	q := question{name: lowered(x.Query[headerLen : end-4]), qtype: binary.BigEndian.Uint16(x.Query[end-4:]), cd: m.CheckingDisabled}
	if o := m.IsEdns0(); o != nil {
		q.do = o.Do()
	}
	refuse := func(rcode int, extended uint16) { _ = x.Reply(x.Complete(bare(x.Query, end, rcode), extended)) }
	r := s.relay([]byte(q.name))
	if r == nil { // Forwards says otherwise
		refuse(dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative)
		return
	}
	path := pathOf(&m)
	if s.probes.came(q.name) || s.met(path) {
		r.counts[looped].Add(1)
		refuse(dns.RcodeRefused, dns.ExtendedErrorCodeProhibited)
		return
	}
	g := r.answer(ctx, q, path)
	if g.result == failed {
		refuse(dns.RcodeServerFailure, g.extended)
		return
	}
	_ = x.Reply(x.Complete(g.message.reply(x.Query, end, g.age, g.result == stale), g.extended)) // an error: nobody waits for it
}

// met tells whether a question that came along a path has been here, or through too many others, and notes the servers that
// it was sent to from here.
func (s *Service) met(path []mark) (back bool) {
	if len(path) == 0 {
		return false
	}
	for _, r := range s.relays {
		for _, u := range r.servers {
			if slices.Contains(path, u.mark) {
				u.looped("a question")
				back = true
			}
		}
	}
	return back || len(path) >= mostHops
}

// lowered is a name in wire form in lower case. Octets of length are below 'A'.
func lowered(name []byte) string {
	b := slices.Clone(name)
	for i, c := range b {
		if c-'A' < 26 {
			b[i] = c | 0x20
		}
	}
	return string(b)
}
