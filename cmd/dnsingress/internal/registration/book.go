// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// book is what is registered with one zone. It knows no clock but what it is told.
type book struct {
	origin   string
	policy   Policy
	static   func(child string) bool // an object delegates the child, too
	hosts    map[string]*host
	children map[string]map[string]*claim // by child and name server
	leases   int                          // claims, in all
	signed   map[signer]*signatures
	left     map[string][]departure // by child, for as long as caches may hold them
}

// host is a name server that serves children.
type host struct {
	name, key string
	addresses []netip.Addr // in order
	claims    map[string]*claim
	known     string // the digest; "": to be made
}

// claim is one name server of one child.
type claim struct {
	child, host string
	ds          []string // in order
	lease       time.Duration
	since       time.Time
	until       time.Time // the lease's end; where ended is set, that of its staying
	ended       time.Time // it stays as the last one since then; zero: it is leased
}

// signer is a name server as signatures are remembered of it. Its key may be that of others, too, whose clocks differ.
type signer struct{ key, host string }

// signatures are the last ones of a signer.
type signatures struct {
	at   int64           // when, by its clock
	seen map[string]bool // of that second
}

// departure is a name server that has left a child.
type departure struct {
	host     string
	at, held time.Time // caches may hold it until held
}

func newBook(origin string, p Policy) *book {
	return &book{
		origin: origin, policy: p, static: func(string) bool { return false }, hosts: map[string]*host{}, children: map[string]map[string]*claim{},
		signed: map[signer]*signatures{}, left: map[string][]departure{},
	}
}

// touched are the children and name servers that something has changed of.
type touched struct{ children, hosts map[string]bool }

func newTouched() touched { return touched{map[string]bool{}, map[string]bool{}} }

func (t touched) any() bool { return len(t.children)+len(t.hosts) > 0 }

// named are the name servers of a key that a message is about.
func (b *book) named(r *request, key string) map[string]bool {
	out := map[string]bool{}
	for _, e := range r.expect {
		out[e.host] = true
	}
	for _, o := range r.ops {
		switch o.verb {
		case addServer, dropServer:
			out[o.host] = true
		case addAddress, dropAddresses:
			out[o.name] = true
		default:
			if b.hosts[o.name] != nil {
				out[o.name] = true
			}
			for name := range b.children[o.name] {
				if b.hosts[name].key == key {
					out[name] = true
				}
			}
		}
	}
	return out
}

// stale reports whether a message is no news of one of the name servers that it is about, and remembers it else: RFC 8945
// §5.2.3. Names that are not the key's to have are not remembered. newest is when the newest message before was signed.
func (b *book) stale(hosts map[string]bool, key string, at int64, mac string) (stale bool, newest int64) {
	for name := range hosts {
		if s := b.signed[signer{key, name}]; s != nil {
			stale = stale || at < s.at || at == s.at && s.seen[mac]
			newest = max(newest, s.at)
		}
	}
	if stale {
		return true, newest
	}
	for name := range hosts {
		if !b.policy.mayName(key, name) {
			continue
		}
		s := b.signed[signer{key, name}]
		if s == nil {
			s = &signatures{}
			b.signed[signer{key, name}] = s
		}
		if s.seen == nil || at > s.at {
			s.at, s.seen = at, map[string]bool{}
		}
		s.seen[mac] = true
	}
	return false, newest
}

// forget drops what is remembered of signers who are gone, once their signatures are too old anyway.
func (b *book) forget(now time.Time) {
	const memory = 2 * 300 // seconds: twice what clocks may be apart (RFC 8945 §10)
	maps.DeleteFunc(b.signed, func(s signer, n *signatures) bool { return b.hosts[s.host] == nil && n.at < now.Unix()-memory })
}

// draft is what a message would make of a name server.
type draft struct {
	*host                         // as it is; nil claims: it is new
	addresses []netip.Addr        // as they would be
	given     bool                // the message says which
	add       map[string]bool     // children that it serves
	drop      map[string]bool     // children that it serves no more; true: even if it is the last one
	ds        map[string][]string // of children whose DS changes
	renew     bool                // all that it has
}

// drafts are those of one message.
type drafts map[string]*draft

func (b *book) draft(all drafts, name, key string) (*draft, error) {
	if d := all[name]; d != nil {
		return d, nil
	}
	h := b.hosts[name]
	switch {
	case !b.policy.mayName(key, name):
		return nil, refuse(dns.RcodeRefused, "not_granted", "name server %s is not granted to key %s", name, key)
	case h != nil && h.key != key:
		return nil, refuse(dns.RcodeRefused, "taken", "name server %s is registered by another key", name)
	case h == nil:
		h = &host{name: name, key: key}
	}
	d := &draft{host: h, addresses: h.addresses, add: map[string]bool{}, drop: map[string]bool{}, ds: map[string][]string{}}
	all[name] = d
	return d, nil
}

// apply does what a message asks for, all of it or nothing.
func (b *book) apply(r *request, key string, now time.Time) (touched, error) {
	for _, e := range r.expect {
		h := b.hosts[e.host]
		if !b.policy.mayName(key, e.host) || h != nil && h.key != key {
			return touched{}, refuse(dns.RcodeRefused, "not_granted", "name server %s is not granted to key %s", e.host, key)
		}
		if h == nil || h.digest() != e.digest || h.anyEnded() {
			return touched{}, refuse(dns.RcodeNXRrset, "unknown_state", "what is registered of %s is something else (hint: all of it again)", e.host)
		}
	}
	all := drafts{}
	if err := b.sketch(all, r, key); err != nil {
		return touched{}, err
	}
	for _, d := range all {
		if err := b.check(d); err != nil {
			return touched{}, err
		}
	}
	if err := b.checkCounts(all); err != nil {
		return touched{}, err
	}
	t, lease := newTouched(), b.policy.lease(r.lease)
	for _, d := range all {
		b.enter(d, lease, now, t)
	}
	for _, d := range all { // whoever comes in the place of another is there first
		for child, forGood := range d.drop {
			if c := d.claims[child]; c != nil {
				b.leave(c, forGood, now, t)
			}
		}
	}
	return t, nil
}

// sketch goes through the changes in their order (RFC 2136 §3.4.2).
func (b *book) sketch(all drafts, r *request, key string) error {
	ends := r.lease != nil && *r.lease == 0
	for _, e := range r.expect {
		d, err := b.draft(all, e.host, key)
		if err != nil {
			return err
		}
		if d.renew = !ends; ends {
			d.dropAll()
		}
	}
	ds := map[string][]string{} // of the message, by child
	for _, o := range r.ops {
		if o.verb == addDS {
			ds[o.name] = append(ds[o.name], o.ds)
		}
	}
	added := map[string]bool{} // children with a name server in the message
	for _, o := range r.ops {
		switch o.verb {
		case addServer, dropServer:
			d, err := b.draft(all, o.host, key)
			if err != nil {
				return err
			}
			if o.verb == dropServer || ends {
				d.drop[o.name] = false
				delete(d.add, o.name)
				continue
			}
			d.add[o.name], added[o.name] = true, true
			delete(d.drop, o.name)
			d.ds[o.name] = slices.Compact(slices.Sorted(slices.Values(ds[o.name])))
		case addAddress, dropAddresses:
			d, err := b.draft(all, o.name, key)
			if err != nil {
				return err
			}
			if !d.given || o.verb == dropAddresses {
				d.addresses, d.given = nil, true
			}
			if o.verb == addAddress {
				d.addresses = append(slices.Clone(d.addresses), o.address)
			}
		case dropName:
			if h := b.hosts[o.name]; h != nil && h.key == key {
				d, err := b.draft(all, o.name, key)
				if err != nil {
					return err
				}
				d.dropAll()
			}
			if err := b.dropChild(all, o.name, key); err != nil {
				return err
			}
		case dropServers:
			if err := b.dropChild(all, o.name, key); err != nil {
				return err
			}
		}
	}
	return b.sketchDS(all, r, key, added)
}

// sketchDS changes the DS of children whose name servers the message leaves alone.
func (b *book) sketchDS(all drafts, r *request, key string, added map[string]bool) error {
	for _, o := range r.ops {
		if o.verb != addDS && o.verb != dropDS || added[o.name] {
			continue
		}
		found := false
		for name, c := range b.children[o.name] {
			if b.hosts[name].key != key {
				continue
			}
			found = true
			d, err := b.draft(all, name, key)
			if err != nil {
				return err
			}
			have, ok := d.ds[o.name]
			if !ok {
				have = slices.Clone(c.ds)
			}
			switch {
			case o.verb == addDS:
				have = slices.Compact(slices.Sorted(slices.Values(append(have, o.ds))))
			case o.ds == "":
				have = nil
			default:
				have = slices.DeleteFunc(have, func(ds string) bool { return ds == o.ds })
			}
			d.ds[o.name] = have
		}
		if !found && o.verb == addDS {
			return refuse(dns.RcodeRefused, "not_granted", "DS of %s comes without a name server of key %s (hint: its NS in the same message)", o.name, key)
		}
	}
	return nil
}

// leaves reports whether a name server, of which there may be no draft, leaves a child.
func (d *draft) leaves(child string) bool {
	if d == nil {
		return false
	}
	_, leaves := d.drop[child]
	return leaves
}

// dropAll has a name server leave all children.
func (d *draft) dropAll() {
	for child := range d.claims {
		d.drop[child] = false
	}
	clear(d.add)
}

// dropChild has all name servers of a key leave a child.
func (b *book) dropChild(all drafts, child, key string) error {
	for name := range b.children[child] {
		if b.hosts[name].key != key {
			continue
		}
		d, err := b.draft(all, name, key)
		if err != nil {
			return err
		}
		d.drop[child] = true
		delete(d.add, child)
	}
	return nil
}

// check says why a draft cannot be.
func (b *book) check(d *draft) error {
	slices.SortFunc(d.addresses, netip.Addr.Compare)
	d.addresses = slices.Compact(d.addresses)
	name := d.name
	switch {
	case slices.Contains(b.policy.Reserved, name):
		return refuse(dns.RcodeRefused, "reserved", "%s belongs to the zone %s itself", name, b.origin)
	case b.children[name] != nil:
		return refuse(dns.RcodeRefused, "taken", "%s is a child zone, and cannot be a name server too (hint: another name below it)", name)
	case len(d.add) == 0 && len(d.claims) == 0 && d.given && len(d.addresses) > 0:
		return refuse(dns.RcodeRefused, "unsupported", "addresses of %s come without a child that it serves (hint: NS of a child in the same message)", name)
	}
	inside := dns.IsSubDomain(b.origin, name)
	for child := range d.add {
		switch {
		case child == b.origin:
			return refuse(dns.RcodeRefused, "not_granted", "%s is the zone itself, not a child", child)
		case b.hosts[child] != nil:
			return refuse(dns.RcodeRefused, "taken", "%s is a name server, and cannot be a child zone too", child)
		case !b.policy.mayServe(d.key, child, name, d.addresses):
			return refuse(dns.RcodeRefused, "not_granted", "zone %s with name server %s is not granted to key %s", child, name, d.key)
		case inside && dns.IsSubDomain(child, name) && len(d.addresses) == 0:
			return refuse(dns.RcodeRefused, "no_glue", "name server %s is inside the child %s and has no address, without which nobody finds it (RFC 9471)", name, child)
		}
	}
	if !d.given {
		return nil
	}
	for child := range d.claims { // those that stay get the addresses too
		if d.leaves(child) {
			continue
		}
		if !b.policy.mayServe(d.key, child, name, d.addresses) {
			return refuse(dns.RcodeRefused, "not_granted", "zone %s with these addresses of %s is not granted to key %s", child, name, d.key)
		}
		if dns.IsSubDomain(child, name) && len(d.addresses) == 0 {
			return refuse(dns.RcodeRefused, "no_glue", "name server %s is inside the child %s and would have no address left (RFC 9471)", name, child)
		}
	}
	return nil
}

// checkCounts bounds the name servers of each child.
func (b *book) checkCounts(all drafts) error {
	more := map[string]int{}
	for _, d := range all {
		for child := range d.add {
			if d.claims[child] == nil {
				more[child]++
			}
		}
	}
	for child, n := range more {
		for name, c := range b.children[child] {
			if d := all[name]; c.ended.IsZero() && !d.leaves(child) {
				n++
			}
		}
		if n > b.policy.MostServers {
			return refuse(dns.RcodeRefused, "too_many", "zone %s would have %d name servers (hint: registrations.mostServers is %d)", child, n, b.policy.MostServers)
		}
	}
	return nil
}

// enter makes a draft what is, but for who leaves.
func (b *book) enter(d *draft, lease time.Duration, now time.Time, t touched) {
	h := d.host
	if len(d.add) > 0 && h.claims == nil {
		h.claims = map[string]*claim{}
		b.hosts[h.name] = h
	}
	if d.given && !slices.Equal(h.addresses, d.addresses) {
		h.addresses, h.known = d.addresses, ""
		t.hosts[h.name] = true
		for child := range h.claims {
			t.children[child] = true
		}
	}
	if d.renew {
		for _, c := range h.claims {
			c.lease, c.until = lease, now.Add(lease)
		}
	}
	for child, ds := range d.ds {
		if c := h.claims[child]; c != nil && !d.add[child] && !slices.Equal(c.ds, ds) {
			c.ds, h.known = ds, ""
			t.children[child] = true
		}
	}
	for child := range d.add {
		c := h.claims[child]
		if c == nil || !c.ended.IsZero() || !slices.Equal(c.ds, d.ds[child]) {
			since := now
			if c != nil && c.ended.IsZero() {
				since = c.since
			}
			c = &claim{child: child, host: h.name, ds: d.ds[child], since: since}
			b.put(c, t)
			t.children[child], t.hosts[h.name] = true, true
		}
		c.lease, c.until = lease, now.Add(lease)
	}
}

// put enters a claim. Who stayed only as the last one goes.
func (b *book) put(c *claim, t touched) {
	for name, o := range b.children[c.child] {
		if !o.ended.IsZero() && name != c.host {
			t.hosts[name] = true
			b.remove(o)
		}
	}
	if b.children[c.child] == nil {
		b.children[c.child] = map[string]*claim{}
	}
	if b.children[c.child][c.host] == nil {
		b.leases++
	}
	b.children[c.child][c.host] = c
	h := b.hosts[c.host]
	h.claims[c.child], h.known = c, ""
	b.left[c.child] = slices.DeleteFunc(b.left[c.child], func(d departure) bool { return d.host == c.host })
	if len(b.left[c.child]) == 0 {
		delete(b.left, c.child)
	}
}

// remove takes out a claim, and its name server with the last one.
func (b *book) remove(c *claim) {
	h := b.hosts[c.host]
	delete(h.claims, c.child)
	h.known = ""
	if len(h.claims) == 0 {
		delete(b.hosts, c.host)
	}
	delete(b.children[c.child], c.host)
	b.leases--
	if len(b.children[c.child]) == 0 {
		delete(b.children, c.child)
	}
}

// leave ends a lease: the name server goes out at once, unless nobody else is left and it is not for good.
func (b *book) leave(c *claim, forGood bool, now time.Time, t touched) {
	t.children[c.child], t.hosts[c.host] = true, true
	if !forGood && c.ended.IsZero() && b.policy.KeepLast > 0 && b.last(c) {
		c.ended, c.until = now, now.Add(b.policy.KeepLast)
		b.hosts[c.host].known = ""
		return
	}
	b.remove(c)
	b.left[c.child] = append(b.left[c.child], departure{c.host, now, now.Add(time.Duration(b.policy.TTL) * time.Second)})
}

// last reports whether a claim is the only one of its child.
func (b *book) last(c *claim) bool { return len(b.children[c.child]) == 1 && !b.static(c.child) }

// expire ends the leases whose time has come, those that end first first, and tells when to look again; zero: never.
func (b *book) expire(now time.Time) (t touched, next time.Time) {
	t = newTouched()
	var over []*claim
	for _, claims := range b.children {
		for _, c := range claims {
			if !c.until.After(now) {
				over = append(over, c)
			}
		}
	}
	slices.SortFunc(over, func(x, y *claim) int { return x.until.Compare(y.until) })
	for _, c := range over {
		b.leave(c, false, now, t)
	}
	for _, claims := range b.children {
		for _, c := range claims {
			next = sooner(next, c.until)
		}
	}
	for child, list := range b.left {
		list = slices.DeleteFunc(list, func(d departure) bool {
			if !d.held.After(now) {
				t.children[child] = true
				return true
			}
			next = sooner(next, d.held)
			return false
		})
		if b.left[child] = list; len(list) == 0 {
			delete(b.left, child)
		}
	}
	b.forget(now)
	return t, next
}

func (h *host) anyEnded() bool {
	for _, c := range h.claims {
		if !c.ended.IsZero() {
			return true
		}
	}
	return false
}

// digest is that of what is known of a name server.
func (h *host) digest() string {
	if h.known == "" {
		e := Entry{Host: h.name, Addresses: h.addresses, Children: map[string][]string{}}
		for child, c := range h.claims {
			e.Children[child] = c.ds
		}
		h.known = e.digest()
	}
	return h.known
}
