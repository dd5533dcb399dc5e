// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
)

const (
	// renewMost is the longest time between two messages to an upper, however long the lease: it is how long one that has
	// lost what it knew goes unnoticed.
	renewMost = 15 * time.Second
	// After a failure it is tried again after retryLeast, twice that after the next, and so on up to retryMost.
	retryLeast = 250 * time.Millisecond
	retryMost  = 4 * time.Second
	// messageMost is how many octets of records go into one message.
	messageMost = 48 << 10
)

// link is one upper of a section.
type link struct {
	leaf    *Leaf
	section *Section
	to      transfer.Remote
	client  *transfer.Client
	wake    chan struct{} // other zones are served
	taken   chan struct{} // the upper has taken something new: there is something to learn
	log     *slog.Logger

	// Of run alone.
	sent  *Entry // that the upper has taken whole; nil: nothing is known
	lease time.Duration

	lesson // of study alone

	mu      sync.Mutex
	views   map[string]view
	refused error // why the upper does not take what is registered; nil: it does
	unheard error // why it does not say what it refers to; nil: it does
	renewed time.Time
}

// says is what the upper says of a zone, if it has said anything, and what is wrong with it.
func (k *link) says(origin string) (v view, known bool, problem *model.Problem) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, known = k.views[origin]
	return v, known, k.problem()
}

// problem is the one with the upper; nil: all is well. mu is held.
func (k *link) problem() *model.Problem {
	reason, what, err := NotRegistered, "", k.refused
	if err == nil {
		reason, what, err = Unanswered, " does not say what it refers to", k.unheard
	}
	if err == nil {
		return nil
	}
	return &model.Problem{Reason: reason, Notice: true, Message: "upper " + k.to.Addr.String() + " of " + k.section.Zone + what + ": " + err.Error()}
}

// run registers and renews until ctx ends. It waits for nothing else, least of all for what there is to learn.
func (k *link) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failed := 0
	for {
		woken := false
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
			woken = true
		case <-timer.C:
		}
		zones := k.leaf.zones(k.section)
		err := k.enter(ctx, k.leaf.entry(k.section, zones))
		if ctx.Err() != nil {
			return
		}
		if k.trouble(&k.refused, err) || woken {
			k.leaf.conclude(k.section, zones)
		}
		wait := k.pace()
		if err != nil {
			wait = min(retryLeast<<min(failed, 8), retryMost, max(wait, retryLeast))
			failed++
		} else {
			failed = 0
		}
		timer.Reset(jitter(wait))
	}
}

// trouble notes what is wrong, or nil, and reports whether that is another than before.
func (k *link) trouble(what *error, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := *what
	*what = err
	return (before == nil) != (err == nil) || err != nil && before.Error() != err.Error()
}

// pace is the time to the next renewal: a quarter of the lease, so that three may fail.
func (k *link) pace() time.Duration {
	wait := min(renewMost, k.section.Interval)
	if k.lease > 0 {
		wait = min(wait, k.lease/4)
	}
	return wait
}

// enter has the upper know an entry: by a renewal where it does, else by all of it.
func (k *link) enter(ctx context.Context, e *Entry) error {
	if k.sent != nil && k.sent.digest() == e.digest() {
		if len(e.Children) == 0 {
			return nil
		}
		switch err := k.send(ctx, "renew", k.renewal(e)); {
		case err == nil:
			return nil
		case !errors.Is(err, errAgain):
			return err
		}
		k.log.Info("the upper knows something else: registering all again", "zones", len(e.Children))
	}
	before := k.sent
	k.sent = nil
	for _, m := range k.messages(before, e) {
		if err := k.send(ctx, "register", m); err != nil {
			return err
		}
	}
	if before == nil || before.digest() != e.digest() {
		k.log.Info("registered", "zones", len(e.Children), "lease", k.lease)
	}
	k.sent = e
	select {
	case k.taken <- struct{}{}:
	default:
	}
	return nil
}

// errAgain says that the upper does not know what it should.
var errAgain = errors.New("the upper knows something else")

// send sends an UPDATE and reads what became of it.
func (k *link) send(ctx context.Context, kind string, m *dns.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	upper, metrics := k.to.Addr.String(), k.leaf.options.Metrics
	r, err := k.client.Ask(ctx, m)
	switch {
	case err != nil:
		metrics.sent.WithLabelValues(upper, kind, "unanswered").Inc()
		return err
	case r.Rcode == dns.RcodeNXRrset && kind == "renew":
		metrics.sent.WithLabelValues(upper, kind, "again").Inc()
		return errAgain
	case r.Rcode != dns.RcodeSuccess:
		metrics.sent.WithLabelValues(upper, kind, "refused").Inc()
		return fmt.Errorf("it says %s%s", dns.RcodeToString[r.Rcode], why(r))
	}
	metrics.sent.WithLabelValues(upper, kind, "accepted").Inc()
	metrics.renewed.WithLabelValues(upper).SetToCurrentTime()
	k.lease = k.section.Lease
	if opt := r.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if l, ok := o.(*dns.EDNS0_UL); ok {
				k.lease = time.Duration(l.Lease) * time.Second
			}
		}
	}
	k.mu.Lock()
	k.renewed = time.Now()
	k.mu.Unlock()
	return nil
}

// why is what a reply says in an extended error, after a colon.
func why(r *dns.Msg) string {
	if opt := r.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok && e.ExtraText != "" {
				return ": " + e.ExtraText
			}
		}
	}
	return ""
}

// update is an empty UPDATE that asks for a lease.
func (k *link) update(lease time.Duration) *dns.Msg {
	m := new(dns.Msg).SetUpdate(k.section.Zone)
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(dns.DefaultMsgSize)
	opt.Option = []dns.EDNS0{&dns.EDNS0_UL{Code: dns.EDNS0UL, Lease: uint32(lease / time.Second)}}
	m.Extra = []dns.RR{opt}
	return m
}

// renewal renews whatever an upper knows, if that is an entry.
func (k *link) renewal(e *Entry) *dns.Msg {
	m := k.update(k.section.Lease)
	m.Answer = []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: stateName(k.section.Zone), Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{e.Host, e.digest()},
	}}
	return m
}

// messages register an entry, and take out what was there before and is not any more.
func (k *link) messages(before, e *Entry) (all []*dns.Msg) {
	var m *dns.Msg
	size := 0
	begin := func() {
		m, size = k.update(k.section.Lease), 0
		all = append(all, m)
		if !dns.IsSubDomain(k.section.Zone, e.Host) {
			return // the zone of its name has the addresses
		}
		for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} { // these are all that it has
			m.Ns = append(m.Ns, &dns.ANY{Hdr: dns.RR_Header{Name: e.Host, Rrtype: rtype, Class: dns.ClassANY}})
		}
		for _, a := range e.Addresses {
			m.Ns = append(m.Ns, addressRecord(e.Host, a))
		}
	}
	add := func(rr dns.RR) {
		if m == nil || size+dns.Len(rr) > messageMost {
			begin()
		}
		size += dns.Len(rr)
		m.Ns = append(m.Ns, rr)
	}
	if before != nil {
		for _, child := range slices.Sorted(maps.Keys(before.Children)) {
			if _, stays := e.Children[child]; !stays {
				add(&dns.NS{Hdr: dns.RR_Header{Name: child, Rrtype: dns.TypeNS, Class: dns.ClassNONE}, Ns: e.Host})
			}
		}
	}
	for _, child := range slices.Sorted(maps.Keys(e.Children)) {
		add(&dns.NS{Hdr: dns.RR_Header{Name: child, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 0}, Ns: e.Host})
		for _, ds := range e.Children[child] {
			if rr, err := dns.NewRR(child + " 0 IN DS " + ds); err == nil {
				m.Ns = append(m.Ns, rr) // with its NS in one message
				size += dns.Len(rr)
			}
		}
	}
	return all
}

func addressRecord(name string, a netip.Addr) dns.RR {
	h := dns.RR_Header{Name: name, Class: dns.ClassINET}
	if a.Is4() {
		h.Rrtype = dns.TypeA
		return &dns.A{Hdr: h, A: a.AsSlice()}
	}
	h.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: h, AAAA: a.AsSlice()}
}

// leave tells the upper that this server goes. It is called after run.
func (k *link) leave(ctx context.Context) {
	host := k.section.Server.Name
	if host == "" {
		return
	}
	var all []*dns.Msg
	if dns.IsSubDomain(k.section.Zone, host) { // all that it has, whatever that is (RFC 2136 §2.5.3)
		m := k.update(0)
		m.Ns = []dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: host, Rrtype: dns.TypeANY, Class: dns.ClassANY}}}
		all = append(all, m)
	} else if k.sent != nil {
		all = k.messages(k.sent, &Entry{Host: host})
	}
	for _, m := range all {
		if err := k.send(ctx, "leave", m); err != nil {
			k.log.Warn("leaving an upper: the lease ends by itself", "error", err, "lease", k.lease)
			return
		}
	}
}
