// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// updates are what has changed, as the control loop takes it: a delegation a child, and the addresses of each name server
// that is in the zone, once for all of its children.
func (b *book) updates(t touched, now time.Time) []model.Update {
	out := make([]model.Update, 0, len(t.children)+len(t.hosts))
	for name := range t.hosts {
		out = append(out, model.Update{Ref: model.RegisteredServer(name), Pool: b.addressesOf(name), Received: now})
	}
	for child := range t.children {
		out = append(out, model.Update{Ref: model.Registered(child), Pool: b.delegation(child), Received: now})
	}
	slices.SortFunc(out, func(x, y model.Update) int { return x.Ref.Compare(y.Ref) })
	return out
}

// addressesOf is a pool of a name server's addresses, or nil.
func (b *book) addressesOf(name string) *model.Pool {
	h := b.hosts[name]
	if h == nil || len(h.addresses) == 0 || !dns.IsSubDomain(b.origin, name) {
		return nil
	}
	p := &model.Pool{Ref: model.RegisteredServer(name), Created: model.LastOfAll}
	for _, a := range h.addresses {
		rtype := dns.TypeAAAA
		if a.Is4() {
			rtype = dns.TypeA
		}
		p.Records = append(p.Records, model.RecordSet{Name: name, Type: rtype, TTL: &b.policy.AddressTTL, Records: []model.Record{{Data: a.String()}}})
	}
	return p
}

// delegation is what is registered of a child, or nil.
func (b *book) delegation(child string) *model.Pool {
	claims := b.children[child]
	if len(claims) == 0 && len(b.left[child]) == 0 {
		return nil
	}
	d := &model.Delegation{Child: child, TTL: &b.policy.TTL}
	p := &model.Pool{Ref: model.Registered(child), Created: model.LastOfAll, Delegation: d}
	note := func(reason, format string, a ...any) {
		p.Problems = append(p.Problems, model.Problem{Reason: reason, Notice: true, Message: fmt.Sprintf(format, a...)})
	}
	var first *claim
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		c := claims[name]
		d.Nameservers = append(d.Nameservers, model.Nameserver{Name: name, Addresses: b.hosts[name].addresses})
		for _, ds := range c.ds {
			if !slices.Contains(d.DS, ds) {
				d.DS = append(d.DS, ds)
			}
		}
		if !c.ended.IsZero() {
			note(LastKept, "the lease of name server %s ended at %s; being the last one of %s it stays until %s (hint: is it down?)", name, stamp(c.ended), child, stamp(c.until))
		}
		if first == nil {
			first = c
		} else if !slices.Equal(first.ds, c.ds) {
			note(LeavesDisagree, "name servers %s and %s of %s register different DS records: whoever asks the wrong one finds bogus answers, unless all their keys are in both (RFC 8901)", first.host, name, child)
		}
	}
	slices.Sort(d.DS)
	for _, gone := range b.left[child] {
		note(Left, "name server %s left %s at %s; caches may hold it until %s", gone.host, child, stamp(gone.at), stamp(gone.held))
	}
	if len(claims) == 0 {
		p.Delegation = nil
	}
	return p
}

// Reasons of problems that are found here.
const (
	LastKept       = "LastNameserver"
	LeavesDisagree = "LeavesDisagree"
	Left           = "NameserverLeft"
	NotRegistered  = "NotRegistered"   // of a zone: an upper does not take it
	ParentDisagree = "ParentDisagrees" // of a zone: its upper says something else of it
	ChildDisagree  = "ChildDisagrees"  // of a delegation: the child says something else of itself
	Unanswered     = "Unanswered"      // of either: nobody says anything
)

func stamp(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }
