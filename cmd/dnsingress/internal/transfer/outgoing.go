// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// leastRecord is how many octets a record takes in a message at least, but for those of types that hold next to nothing.
const leastRecord = 16

// give answers AXFR (RFC 5936) and IXFR (RFC 1995).
func (s *Service) give(ctx context.Context, q *request, m *dns.Msg) {
	origin := dns.CanonicalName(m.Question[0].Name)
	z, private := s.zone(origin)
	if z == nil || m.Question[0].Qclass != dns.ClassINET {
		q.fail(dns.RcodeNotAuth) // RFC 5936 §2.2.1
		return
	}
	ixfr := m.Question[0].Qtype == dns.TypeIXFR
	kind := "axfr"
	if ixfr {
		kind = "ixfr"
	}
	count := func(result string) { s.metrics.out.WithLabelValues(origin, kind, result).Inc() }
	if !s.policy(origin).Allow.Permits(q.Peer.Addr, q.key) {
		count("refused")
		if private {
			s.deny(q, origin, q.key, "it may not have it")
		}
		s.options.Log.Debug("refusing a transfer", "zone", origin, "to", q.Peer.Addr, "key", q.key)
		q.fail(dns.RcodeRefused)
		return
	}
	if !z.Available() {
		count("refused")
		q.fail(dns.RcodeServerFailure)
		return
	}
	s.mu.Lock()
	out := s.zones[origin]
	s.mu.Unlock()
	a := &reply{request: q, zone: z, opt: m.IsEdns0() != nil, signed: s.options.Signed && z.Signer() != nil}
	if ixfr {
		if len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA {
			q.fail(dns.RcodeFormatError)
			return
		}
		serial := m.Ns[0].(*dns.SOA).Serial
		var d delta
		var known bool
		if out != nil { // else the zone is being published first just now
			most := math.MaxInt
			if !q.Peer.TCP { // a datagram must not cost much: its sender may be another than it says
				most = q.Limit / leastRecord
			}
			a.zone, d, known = out.journal.since(serial, most)
		}
		if a.delta = &d; !known || a.signed {
			kind, a.delta = "axfr", nil
		}
		switch {
		case !newer(a.zone.Serial(), serial): // RFC 1995 §2
			kind, a.only = "current", true
		case !q.Peer.TCP && a.delta == nil:
			kind, a.only = "ixfr", true
		}
	}
	err := a.write(ctx)
	if out == nil {
		out = new(outgoing)
	}
	if err == nil {
		out.trouble.Store(nil)
		count("done")
		return
	}
	count("broken")
	level, trouble := slog.LevelInfo, fmt.Sprintf("%s %v", q.Peer.Addr, err)
	if before := out.trouble.Swap(&trouble); before != nil && *before == trouble {
		level = slog.LevelDebug
	}
	s.options.Log.Log(ctx, level, "a transfer broke off", "zone", origin, "to", q.Peer.Addr, "error", err)
}

// reply is a transfer on its way out.
type reply struct {
	*request
	zone  *zone.Zone
	delta *delta // nil: the whole zone
	// signed transfers have the signatures, which the journal has not.
	signed bool
	only   bool // the SOA alone
	opt    bool // the query had EDNS
}

// write sends the transfer. Over UDP what does not fit one message is the SOA alone, for the client to come
// again over TCP (RFC 1995 §2).
func (a *reply) write(ctx context.Context) error {
	if a.Peer.TCP {
		return a.stream(func(message []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return a.send(message)
		})
	}
	var message []byte
	err := a.stream(func(b []byte) error {
		if message != nil {
			return errFull
		}
		message = slices.Clone(b)
		return nil
	})
	switch {
	case errors.Is(err, errFull) && !a.only:
		a.only = true
		return a.write(ctx)
	case err != nil:
		return err
	}
	return a.send(message)
}

// stream packs all records and gives the messages to send.
func (a *reply) stream(send func([]byte) error) error {
	p := newPacker(a.msg, a.end, a.Limit-a.room(), a.opt, send)
	soa := a.zone.SOA()
	if err := p.add(soa); err != nil {
		return err
	}
	if !a.only {
		for r := range a.between(soa) {
			if err := p.add(r); err != nil {
				return err
			}
		}
		if err := p.add(soa); err != nil {
			return err
		}
	}
	return p.flush()
}

// between yields what a transfer has between its first SOA and its last: of a difference RFC 1995 §4, else
// RFC 5936 §2.2.
func (a *reply) between(soa zone.Record) iter.Seq[zone.Record] {
	if a.delta == nil && a.signed {
		return a.zone.SignedRecords()
	}
	if a.delta == nil {
		return a.zone.Records()
	}
	return func(yield func(zone.Record) bool) {
		each := func(records ...zone.Record) bool {
			return !slices.ContainsFunc(records, func(r zone.Record) bool { return !yield(r) })
		}
		_ = each(a.delta.from) && each(a.delta.removed...) && each(soa) && each(a.delta.added...)
	}
}
