// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// Line is the way to one server, for who keeps a copy of a zone by rules of its own. It keeps a connection for the next
// transfer until Close, and is for one goroutine.
type Line struct {
	client
	stream  *stream // can be used again; nil: none
	giveWay func()  // Options.GiveWay
}

// NewLine is a line to a server. A question over it is sent once more when there is no answer for so long, and given up
// after that once more. keys must have the server's.
func NewLine(to Remote, keys Keys, patience time.Duration) *Line {
	return &Line{client: client{to: to, key: keys[to.Key], patience: patience, tries: 2}}
}

// Close closes the connection that was kept. The line can be used again.
func (l *Line) Close() {
	if l.stream != nil {
		l.stream.close()
		l.stream = nil
	}
}

// nonceLen is how many octets of every question of SOA are random.
const nonceLen = 8

// SOA asks for the SOA of a zone, as the server has it now: no two questions are alike, whatever the clock says, so that
// with a key no reply to an earlier one can stand in for this one's (RFC 8945 §5.3).
func (l *Line) SOA(ctx context.Context, origin string) (*dns.SOA, error) {
	m := newQuestion(origin, dns.TypeSOA)
	var nonce [nonceLen]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	m.SetEdns0(dns.DefaultMsgSize, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(nonce[:])}} // RFC 7873 §4
	return l.soa(ctx, m)
}

// Transfer gets what is new of a zone since have, or all of it; nil: all. z is nil where there is nothing newer. whole
// tells that it is no difference.
func (l *Line) Transfer(ctx context.Context, origin string, have *zone.Zone) (z *zone.Zone, whole bool, err error) {
	var soa *dns.SOA
	if have != nil {
		soa = soaOf(have)
	}
	z, whole, _, _, err = l.transfer(ctx, origin, have, soa)
	return z, whole, err
}

// newQuestion is a question that wants no recursion.
func newQuestion(origin string, qtype uint16) *dns.Msg {
	m := new(dns.Msg).SetQuestion(origin, qtype)
	m.RecursionDesired = false
	return m
}

// soa asks for a SOA, and takes it of an authoritative server alone.
func (c client) soa(ctx context.Context, m *dns.Msg) (*dns.SOA, error) {
	r, err := c.ask(ctx, m, cmp.Or(c.tries, udpTries))
	if errors.Is(err, errTruncated) {
		var s *stream
		if s, err = c.dial(ctx); err != nil {
			return nil, err
		}
		defer s.close()
		if err = c.send(s, m); err == nil {
			r, err = s.next()
		}
	}
	if err != nil {
		return nil, err
	}
	if r.Rcode != dns.RcodeSuccess {
		return nil, RcodeError(r.Rcode)
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok && r.Authoritative && dns.CanonicalName(soa.Hdr.Name) == m.Question[0].Name {
			return soa, nil
		}
	}
	return nil, errors.New("it is not authoritative for the zone")
}

// RcodeError is what a server has answered in place of what was asked for.
type RcodeError int

func (e RcodeError) Error() string { return fmt.Sprintf("it says %s", dns.RcodeToString[int(e)]) }

// transfer is Transfer, with the SOA of have, that also gives how many records were not the zone's, and the serial that the
// server has.
func (l *Line) transfer(ctx context.Context, origin string, have *zone.Zone, soa *dns.SOA) (z *zone.Zone, whole bool, foreign int, offered uint32, err error) {
	m := new(dns.Msg)
	if have != nil {
		m.SetIxfr(origin, soa.Serial, soa.Ns, soa.Mbox)
	} else {
		m.SetAxfr(origin)
	}
	m.RecursionDesired = false
	s, kept := l.stream, l.stream != nil
	l.stream = nil
	if kept { // somebody on the way may have forgotten the connection, and says nothing
		s.guard(ctx)
		s.patience = time.Duration(l.tries) * l.patience
	}
	for {
		if s == nil {
			if s, err = l.dial(ctx); err != nil {
				return nil, false, 0, 0, err
			}
		}
		if l.giveWay != nil {
			l.giveWay()
		}
		if err = l.send(s, m); err == nil {
			z, whole, foreign, err = s.receive(origin, have, l.giveWay)
		}
		if err == nil && s.clean() && s.release() {
			l.stream = s
			return z, whole, foreign, s.offered, nil
		}
		s.close()
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err == nil || !kept || s.octets > 0 || ctx.Err() != nil {
			return z, whole, foreign, s.offered, err
		}
		s, kept = nil, false // the server has closed it meanwhile, or it leads nowhere
	}
}
