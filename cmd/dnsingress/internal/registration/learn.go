// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/transfer"
)

const (
	// learnShare bounds the time for which an upper is asked what it refers to: one part in so many, but no rest is longer
	// than restMost.
	learnShare = 10
	restMost   = 10 * time.Second
	// learnSlice is how long it is asked before what it has said is made use of.
	learnSlice = 2 * time.Second
	// lookMost is the longest time between two questions for the serial.
	lookMost = 15 * time.Second
)

// lesson is how far a link has learned what its upper refers to.
type lesson struct {
	serial  uint32 // of the upper's zone when its referrals were asked for
	learned time.Time
	spent   time.Duration // on the round of questions that goes on, or was the last
	rested  time.Time     // when the next may begin
	quiet   int           // looks since the serial changed
	pending []string      // zones whose referrals are still to be asked for
}

// study learns what the upper refers to, whenever that may be something else, until ctx ends.
func (k *link) study(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	// Without a name of ours it is only compared; else there is nothing to learn before the upper has taken something, and
	// other zones are registered first.
	began, wake := k.section.Server.Name == "", k.wake
	if !began {
		wake = nil
	}
	failed := 0
	for {
		woken := false
		select {
		case <-ctx.Done():
			return
		case <-k.taken:
			k.quiet, k.rested, began = 0, time.Time{}, true
		case <-wake:
			k.rested, woken = time.Time{}, true
		case <-timer.C:
		}
		if !began {
			continue
		}
		if !k.registered() {
			timer.Reset(retryLeast)
			continue
		}
		zones := k.leaf.zones(k.section)
		asked, err := k.learn(ctx, zones)
		if ctx.Err() != nil {
			return
		}
		if k.trouble(&k.unheard, err) || asked || woken {
			k.leaf.conclude(k.section, zones)
		}
		wait := k.look()
		if err != nil {
			wait = min(retryLeast<<min(failed, 8), retryMost)
			failed++
		} else {
			failed = 0
		}
		timer.Reset(jitter(wait))
	}
}

// registered reports whether the upper takes what is registered.
func (k *link) registered() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.refused == nil
}

// look is the time to the next question, which is soon where things have changed.
func (k *link) look() time.Duration {
	if len(k.pending) > 0 {
		return 0
	}
	wait := min(lookMost, k.section.Interval, time.Second<<min(k.quiet, 8))
	if rest := time.Until(k.rested); rest > 0 {
		wait = min(max(wait, rest), lookMost)
	}
	return wait
}

// learn asks the upper for its referrals to the zones, where they may be other than when last asked, for a while. It
// reports whether it has been told any.
func (k *link) learn(ctx context.Context, zones map[string]Zone) (asked bool, err error) {
	if k.quiet++; len(zones) == 0 {
		return false, nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	fresh := len(k.pending) == 0
	if fresh {
		if began.Before(k.rested) {
			return false, nil
		}
		serial, err := k.serialNow(ctx)
		if err != nil {
			return false, err
		}
		if serial != k.serial {
			k.quiet = 0
		}
		if serial == k.serial && time.Since(k.learned) < k.section.Interval && k.knows(zones) {
			return false, nil
		}
		k.serial, k.learned, k.pending, k.spent = serial, began, slices.Sorted(maps.Keys(zones)), 0
	}
	talk, err := k.client.Dial(ctx)
	if err != nil {
		return false, err
	}
	defer talk.Close()
	if fresh {
		told, err := k.told(talk, zones)
		if err != nil {
			k.pending = nil // or each would be asked for by itself
			return false, fmt.Errorf("asking for all referrals: %w", err)
		}
		k.mu.Lock()
		maps.Copy(k.views, told)
		k.mu.Unlock()
		k.pending = slices.DeleteFunc(k.pending, func(origin string) bool { _, ok := told[origin]; return ok })
	}
	for ; len(k.pending) > 0 && time.Since(began) < learnSlice; k.pending = k.pending[1:] {
		origin := k.pending[0]
		v, err := k.referral(talk, origin)
		if err != nil {
			return false, fmt.Errorf("asking for the referral to %s: %w", origin, err)
		}
		k.mu.Lock()
		k.views[origin] = v
		k.mu.Unlock()
	}
	k.mu.Lock()
	maps.DeleteFunc(k.views, func(origin string, _ view) bool { _, ok := zones[origin]; return !ok })
	k.mu.Unlock()
	k.spent += time.Since(began)
	k.rested = time.Now().Add(min(learnShare*k.spent, restMost))
	return true, nil
}

// serialNow is that of the upper's zone.
func (k *link) serialNow(ctx context.Context) (uint32, error) {
	m := new(dns.Msg).SetQuestion(k.section.Zone, dns.TypeSOA)
	m.RecursionDesired = false
	r, err := k.client.Ask(ctx, m)
	if err != nil {
		return 0, err
	}
	if r.Rcode == dns.RcodeSuccess && len(r.Answer) == 1 {
		if soa, ok := r.Answer[0].(*dns.SOA); ok {
			return soa.Serial, nil
		}
	}
	return 0, fmt.Errorf("asked for the zone %s, it says %s%s", k.section.Zone, dns.RcodeToString[r.Rcode], why(r))
}

// knows reports whether all zones have been asked for.
func (k *link) knows(zones map[string]Zone) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for origin := range zones {
		if _, ok := k.views[origin]; !ok {
			return false
		}
	}
	return true
}

// referral asks to whom the upper refers for a zone.
func (k *link) referral(talk *transfer.Conversation, origin string) (view, error) {
	m := new(dns.Msg).SetQuestion(origin, dns.TypeNS)
	m.RecursionDesired = false
	m.SetEdns0(dns.DefaultMsgSize, false)
	r, err := talk.Ask(m)
	if err != nil {
		return view{}, err
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return view{}, fmt.Errorf("it says %s%s", dns.RcodeToString[r.Rcode], why(r))
	}
	v := view{at: time.Now()}
	v.servers, v.ttl = serversOf(r, origin)
	return v, nil
}

// serversOf are the name servers of a zone in a message, answered or referred to, with the addresses that are there.
func serversOf(r *dns.Msg, origin string) (servers []model.Nameserver, ttl uint32) {
	for _, rr := range slices.Concat(r.Answer, r.Ns) {
		if ns, ok := rr.(*dns.NS); ok && dns.CanonicalName(ns.Hdr.Name) == origin {
			servers = append(servers, model.Nameserver{Name: dns.CanonicalName(ns.Ns)})
			ttl = ns.Hdr.Ttl
		}
	}
	for _, rr := range r.Extra {
		a, ok := addressOf(rr)
		if !ok {
			continue
		}
		name := dns.CanonicalName(rr.Header().Name)
		for i := range servers {
			if servers[i].Name == name {
				servers[i].Addresses = append(servers[i].Addresses, a)
			}
		}
	}
	return sorted(servers), ttl
}

// addressOf is the address in an A or AAAA record.
func addressOf(rr dns.RR) (a netip.Addr, ok bool) {
	switch x := rr.(type) {
	case *dns.A:
		return netip.AddrFromSlice(x.A.To4())
	case *dns.AAAA:
		return netip.AddrFromSlice(x.AAAA)
	}
	return a, false
}
