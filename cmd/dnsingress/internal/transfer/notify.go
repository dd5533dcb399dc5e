// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

const (
	// notifyGap is between two NOTIFYs to one server at least: what changes meanwhile is told of at once.
	notifyGap = 100 * time.Millisecond
	// After one without an answer it is notifyBack, twice that after the next, and so on up to notifyMost; after
	// notifyTries there is silence until the zone changes again. RFC 1996 §3.6 leaves the numbers to us.
	notifyBack  = time.Second
	notifyMost  = time.Minute
	notifyTries = 8
)

// notifier tells one server of a zone's changes.
type notifier struct {
	service *Service
	origin  string
	to      Remote
	wake    chan struct{}

	mu  sync.Mutex
	soa zone.Record // the newest
}

func newNotifier(s *Service, origin string, to Remote) *notifier {
	return &notifier{service: s, origin: origin, to: to, wake: make(chan struct{}, 1)}
}

// tell has the server be told of a SOA. It does not wait.
func (n *notifier) tell(soa zone.Record) {
	n.mu.Lock()
	n.soa = alone(soa)
	n.mu.Unlock()
	n.again()
}

// again has the server be told of the newest SOA, if there has been one.
func (n *notifier) again() {
	n.mu.Lock()
	known := n.soa.Owner != ""
	n.mu.Unlock()
	if !known {
		return
	}
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run tells the server of changes until ctx ends.
func (n *notifier) run(ctx context.Context) {
	log := n.service.options.Log.With("zone", n.origin, "to", n.to.String())
	failed := 0
	last := "" // trouble that was logged
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
			failed = 0 // what it did with changes before says little
		}
		for done := false; !done; {
			wait := notifyGap
			result, err := n.send(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil && last != "":
				log.Info("the server takes NOTIFY again")
				fallthrough
			case err == nil:
				done, failed, last = true, 0, ""
			default:
				if err.Error() != last {
					last = err.Error()
					log.Warn("telling a server of a change", "error", err)
				}
				wait = min(notifyBack<<min(failed, 10), notifyMost)
				failed++
				done = result == "refused" || failed >= notifyTries
			}
			n.service.metrics.notifies.WithLabelValues(n.origin, "out", result).Inc()
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	}
}

// send sends one NOTIFY, RFC 1996, and tells how it was taken.
func (n *notifier) send(ctx context.Context) (result string, err error) {
	n.mu.Lock()
	soa, err := n.soa.RR()
	n.mu.Unlock()
	if err != nil {
		return "unanswered", err
	}
	m := new(dns.Msg).SetNotify(n.origin)
	m.Id = uint16(rand.Uint32())
	m.Answer = []dns.RR{soa}
	c := client{to: n.to, key: n.service.options.Keys[n.to.Key]}
	reply, err := c.ask(ctx, m, 1)
	switch {
	case err != nil:
		return "unanswered", err
	case reply.Rcode != dns.RcodeSuccess:
		return "refused", errors.New("it says " + dns.RcodeToString[reply.Rcode])
	}
	return "accepted", nil
}

// Listener keeps a copy of a zone, and wants to know when that changes.
type Listener interface {
	// Trusts tells whether a NOTIFY from an address, well signed with a key or with "", is to be believed.
	Trusts(from netip.Addr, key string) bool
	// Tell says that the zone has changed. It must not block.
	Tell()
}

// notified answers a NOTIFY. It is taken from the primaries of the zone alone, signed where they sign.
func (s *Service) notified(q *request, m *dns.Msg) {
	origin := dns.CanonicalName(m.Question[0].Name)
	var f Listener
	if own := s.secondaries[origin]; own != nil {
		f = own
	} else if other := s.options.Listeners[origin]; other != nil {
		f = other
	}
	rcode := dns.RcodeSuccess
	switch {
	case m.Question[0].Qtype != dns.TypeSOA || m.Question[0].Qclass != dns.ClassINET:
		rcode = dns.RcodeFormatError
	case f == nil:
		rcode = dns.RcodeNotAuth // RFC 1996 §3.10
	case !f.Trusts(q.Peer.Addr, q.key):
		rcode = dns.RcodeRefused
	}
	if f != nil { // else anybody could make labels
		result := "accepted"
		if rcode != dns.RcodeSuccess {
			result = "refused"
		}
		s.metrics.notifies.WithLabelValues(origin, "in", result).Inc()
	}
	if rcode != dns.RcodeSuccess {
		q.fail(rcode)
		return
	}
	reply := header(q.msg, q.end, rcode)
	reply[2] |= 0x04 // AA
	s.giveWay()
	_ = q.send(reply)
	s.giveWay()
	f.Tell()
}

// Trusts implements Listener: it tells whether a NOTIFY is a primary's.
func (f *follower) Trusts(from netip.Addr, key string) bool {
	for _, p := range f.primaries {
		if plain(p.Addr.Addr()) == plain(from) && p.Key == key {
			return true
		}
	}
	return false
}

// plain is an address as it is compared with others: IPv4 as such, and without the interface, which only some
// sockets tell.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
