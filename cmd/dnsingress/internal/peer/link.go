// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

const (
	// polls is how many questions a lease is long: so many less one may be lost.
	polls = 5
	// lookGap is between two looks at a server at least, however many NOTIFYs come.
	lookGap = 20 * time.Millisecond
	// transferMost is how long one transfer may take, where a lease is not longer.
	transferMost = time.Minute
)

// link follows one server of a peer.
type link struct {
	service *Service
	cluster *cluster
	origin  string // of the peer's private zone
	remote  transfer.Remote
	line    *transfer.Line
	wake    chan struct{}

	zone *zone.Zone // what the server last gave, of run alone
	soa  mark       // of it

	// The rest is guarded by Service.mu.
	held      *held     // what zone says; nil: there was none
	confirmed time.Time // just before the question whose reply last confirmed held
	looked    bool      // there was an answer, or none in time
	failures  int       // in succession
	err       error     // of the last look; nil: it was fine
	refused   string    // why the identity of what is held is refused; "": it is not
	took      time.Duration
}

// mark is what a SOA says of a server's zone: who publishes it, and which state of it.
type mark struct {
	instance, identity string
	serial             uint32
}

// held is what a server's zone says.
type held struct {
	apex
	instance string
	serial   uint32
	pools    map[string]*model.Share // by host
	members  int
	size     int // of pools, together
}

// news is what a look has found.
type news struct {
	sent    time.Time // just before the question that it is the answer to
	took    time.Duration
	fresh   bool // there is another state than before: what follows is of it
	whole   bool // changed are all hosts
	apex    apex
	mark    mark
	changed map[string]*model.Share // by host; nil: it has no members any more
}

// run looks at the server until ctx ends.
func (l *link) run(ctx context.Context) {
	defer l.line.Close()
	every := l.service.options.Lease / polls
	for {
		begin := time.Now()
		n, err := l.look(ctx)
		if ctx.Err() != nil {
			return
		}
		l.service.hear(l, n, err)
		timer := time.NewTimer(time.Until(begin.Add(every)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-l.wake:
			timer.Stop()
			select {
			case <-ctx.Done():
				return
			case <-time.After(lookGap - time.Since(begin)):
			}
		}
	}
}

// look asks the server for its serial, and gets what is new.
func (l *link) look(ctx context.Context) (news, error) {
	n := news{sent: time.Now()}
	soa, err := l.line.SOA(ctx, l.origin)
	n.took = time.Since(n.sent)
	l.service.metrics.looked(l, "soa", err)
	if err != nil {
		return n, l.other(ctx, err)
	}
	now, err := readMark(soa, l.origin)
	if err != nil {
		return n, err
	}
	if l.zone != nil && now == l.soa {
		return n, nil
	}
	ctx, stop := context.WithTimeout(ctx, max(transferMost, l.service.options.Lease))
	defer stop()
	n.sent = time.Now()
	var z *zone.Zone
	if l.zone != nil && now.instance == l.soa.instance {
		z, n.whole, err = l.line.Transfer(ctx, l.origin, l.zone)
		l.service.metrics.looked(l, "ixfr", err)
		if err == nil && z != nil {
			if found, err := l.read(n, z); err == nil {
				return found, nil
			}
		} // the whole zone may be in order
	}
	n.sent = time.Now()
	z, n.whole, err = l.line.Transfer(ctx, l.origin, nil)
	l.service.metrics.looked(l, "axfr", err)
	if err != nil {
		return n, fmt.Errorf("transferring its zone: %w", err)
	}
	return l.read(n, z)
}

// read finds out what a zone that has come in says, and keeps it where it is in order.
func (l *link) read(n news, z *zone.Zone) (news, error) {
	rr, err := z.SOA().RR()
	if err != nil {
		return n, unreadableError{err}
	}
	soa, ok := rr.(*dns.SOA)
	if !ok {
		return n, unreadableError{errors.New("its SOA is none")}
	}
	if n.mark, err = readMark(soa, l.origin); err != nil {
		return n, err
	}
	var before *zone.Zone
	if !n.whole {
		if n.mark.instance != l.soa.instance { // two processes at one address, in the course of a restart: serials of one mean nothing to the other
			return n, unreadableError{errors.New("the difference is of another instance")}
		}
		before = l.zone
	}
	if n.apex, n.changed, err = read(z, before, l.origin); err != nil {
		return n, unreadableError{err}
	}
	if n.apex.cluster != l.cluster.name {
		return n, unreadableError{fmt.Errorf("its zone is of cluster %q", n.apex.cluster)}
	}
	if n.apex.identity != n.mark.identity {
		return n, unreadableError{errors.New("its SOA and its apex say different identities")}
	}
	if n.size(l.held) > mostMembers {
		return n, unreadableError{fmt.Errorf("it has more than %d hosts, members and records", mostMembers)}
	}
	n.fresh = true
	l.zone, l.soa = z, n.mark
	return n, nil
}

// other finds out why a server does not have the zone: it may be of a cluster with our own name, or our own.
func (l *link) other(ctx context.Context, why error) error {
	var code transfer.RcodeError
	if !errors.As(why, &code) {
		return why
	}
	soa, err := l.line.SOA(ctx, l.service.origin)
	if err != nil {
		return fmt.Errorf("it has no zone of cluster %s: %w (hint: its cluster.name, and its peers.zone)", l.cluster.name, why)
	}
	m, err := readMark(soa, l.service.origin)
	if err != nil {
		return err
	}
	if m.identity == l.service.identity() {
		return identityError{fmt.Sprintf("it is of this cluster, %s, itself", l.service.options.Name)}
	}
	return identityError{fmt.Sprintf("another cluster is called %s as this one, with identity %s (hint: a cluster.name of its own for each)", l.service.options.Name, m.identity)}
}

// identityError says that a server is not who it should be.
type identityError struct{ text string }

func (e identityError) Error() string { return e.text }

// unreadableError says that a zone cannot be read.
type unreadableError struct{ error }

func (e unreadableError) Unwrap() error { return e.error }

// readMark reads a SOA, whose names begin with the instance and the identity.
func readMark(soa *dns.SOA, origin string) (mark, error) {
	m := mark{serial: soa.Serial}
	var ok, too bool
	m.instance, ok = strings.CutSuffix(dns.CanonicalName(soa.Ns), "."+origin)
	m.identity, too = strings.CutSuffix(dns.CanonicalName(soa.Mbox), "."+origin)
	if !ok || !too || !label.MatchString(m.instance) || !label.MatchString(m.identity) {
		return m, unreadableError{errors.New("its SOA tells of no cluster (hint: another server has the zone)")}
	}
	return m, nil
}

// mostMembers is how many hosts, members and records a peer may have in all.
const mostMembers = 2_000_000

// size is how many hosts, members and records there are with the news. What is held changes with the goroutine alone that asks.
func (n *news) size(h *held) int {
	if h == nil || n.whole {
		h = new(held)
	}
	size := h.size
	for host, share := range n.changed {
		if old := h.pools[host]; old != nil {
			size -= old.Size()
		}
		if share != nil {
			size += share.Size()
		}
	}
	return size
}

// read reads a zone: all of it, or what is other than in the one before.
func read(z, before *zone.Zone, origin string) (a apex, changed map[string]*model.Share, err error) {
	sets, _ := z.RRsets(origin)
	if a, err = readApex(texts(sets)[0]); err != nil {
		return a, nil, err
	}
	changed = map[string]*model.Share{}
	touch := func(name string) {
		if host := hostOf(name, origin); host != "" {
			changed[host] = nil
		}
	}
	if before == nil {
		for name := range z.All() {
			touch(name)
		}
	} else {
		removed, added := z.Diff(before)
		for _, records := range [][]zone.Record{removed, added} {
			for _, r := range records {
				name, _, err := dns.UnpackDomainName([]byte(r.Owner), 0)
				if err != nil {
					return a, nil, fmt.Errorf("reading a name: %w", err)
				}
				touch(name)
			}
		}
	}
	for host := range changed {
		if changed[host], err = readShare(z, host, origin); err != nil {
			return a, nil, fmt.Errorf("%s: %w", host, err)
		}
	}
	return a, changed, nil
}
