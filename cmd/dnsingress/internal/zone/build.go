// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/miekg/dns"
)

// editor builds one zone, from an older one or from nothing, changing in place what it made itself.
type editor struct {
	zone *Zone // the one being built
	edit *edit
	hash func(string) uint64
}

func newEditor(from *Zone) *editor {
	z := *from
	e := &editor{zone: &z, edit: &edit{}}
	e.hash = func(label string) uint64 { return maphash.String(z.seed, label) }
	return e
}

// writable returns n itself if the editor made it, else a copy.
func (e *editor) writable(n *node) *node {
	if n.owner == e.edit {
		return n
	}
	return &node{data: n.data, kids: n.kids, owner: e.edit}
}

// put calls alter with the node at the absolute wire name and stores the data it returns. A node that ends up
// with neither data, pin nor children goes away, and so do the empty non-terminals above it.
func (e *editor) put(wire string, alter func(n *node, apex bool) (string, error)) error {
	if !within(wire, e.zone.origin) {
		return fmt.Errorf("%s is outside the zone %s", unpack(wire), unpack(e.zone.origin))
	}
	var nm name
	nm.set(wire)
	depth := nm.labels - e.zone.labels
	var walk func(n *node, depth int) (*node, error)
	walk = func(n *node, depth int) (*node, error) {
		if depth == 0 {
			before := n.exists()
			data, err := alter(n, n == e.zone.apex)
			if err != nil {
				return nil, err
			}
			n = e.writable(n)
			n.data = data
			if after := n.exists(); after != before {
				e.zone.names += map[bool]int{true: 1, false: -1}[after]
			}
			return n, nil
		}
		label := nm.label(depth - 1)
		hash := e.hash(string(label))
		kid, isNew := n.kids.get(label, hash), false
		if kid == nil {
			kid, isNew = &node{data: encode(string(label), 0, nil), owner: e.edit}, true
		}
		changed, err := walk(kid, depth-1)
		if err != nil {
			return nil, err
		}
		switch {
		case changed.kids == nil && !changed.exists():
			if !isNew {
				n = e.writable(n)
				n.kids = n.kids.drop(e.edit, changed.label(), hash, 0)
			}
		case changed != kid || isNew:
			n = e.writable(n)
			n.kids = n.kids.put(e.edit, changed, hash, 0, e.hash)
		}
		return n, nil
	}
	apex, err := walk(e.zone.apex, depth)
	if err != nil {
		return err
	}
	e.zone.apex = apex
	return nil
}

// change makes one Change.
func (e *editor) change(c Change) error {
	if c.Remove && len(c.RRsets) > 0 {
		return errors.New("a change either removes or gives RRsets")
	}
	wire, err := pack(c.Owner)
	if err != nil {
		return err
	}
	sets, err := compile(c.RRsets)
	if err != nil {
		return err
	}
	return e.put(wire, func(n *node, apex bool) (string, error) {
		sets := sets
		if apex {
			for _, old := range n.decode() {
				given := slices.ContainsFunc(sets, func(s compiled) bool { return s.rtype == old.rtype })
				if (old.rtype == dns.TypeSOA || old.rtype == dns.TypeNS) && !given {
					sets = append(sets, old)
				}
			}
		}
		return encodeChecked(n.label(), sets, apex, !c.Remove && len(sets) == 0)
	})
}

func encodeChecked(label string, sets []compiled, apex, pinned bool) (string, error) {
	for i := range sets {
		sets[i] = tidy(sets[i])
	}
	flags, err := check(sets, apex)
	if err != nil {
		return "", err
	}
	if pinned {
		flags |= flagPinned
	}
	return encode(label, flags, sets), nil
}

// finish sets the serial, unless the SOA in the tree is already ahead of it, and returns the zone.
func (e *editor) finish(serial uint32) (*Zone, error) {
	z := e.zone
	soa, ok := z.apex.set(dns.TypeSOA)
	if !ok {
		return nil, fmt.Errorf("zone %s has no SOA at its origin", unpack(z.origin))
	}
	have, minimum, ok := soaFields(soa.wire)
	if !ok {
		return nil, fmt.Errorf("zone %s has a malformed SOA", unpack(z.origin))
	}
	if int32(have-serial) > 0 { // RFC 1982 §3.2
		serial = have
	}
	record := soa.wire
	if have != serial {
		record = withSerial(record, serial)
		sets := z.apex.decode()
		for i, s := range sets {
			if s.rtype == dns.TypeSOA {
				sets[i].records = []string{record}
			}
		}
		z.apex = e.writable(z.apex)
		z.apex.data = encode(z.apex.label(), z.apex.flags(), sets)
	}
	z.serial = serial
	z.nothing = negative{withTTL(record, min(be32(record, 6), minimum))}
	return z, nil
}

// Builder compiles a zone record by record, keeping no more of them than those of one owner, so that a large
// zone file costs little more memory than the zone. Records of one owner that follow one another are cheapest.
type Builder struct {
	*editor
	owner string // wire form of the owner that pending is for
	text  string // and its form in the records, to spare the conversion
	// pending are the records of owner so far.
	pending []compiled
	buf     []byte
}

// NewBuilder returns a builder for the zone with the given absolute origin.
func NewBuilder(origin string) (*Builder, error) {
	wire, err := pack(origin)
	if err != nil {
		return nil, fmt.Errorf("zone origin: %w", err)
	}
	var nm name
	nm.set(wire)
	apex := &node{data: encode("", 0, nil)}
	e := newEditor(&Zone{origin: wire, labels: nm.labels, apex: apex, seed: maphash.MakeSeed()})
	return &Builder{editor: e, buf: make([]byte, maxMessage)}, nil
}

// Add takes one record, which is the builder's from then on. An error about the record before, which had
// another owner, can come late: see Zone.
func (b *Builder) Add(rr dns.RR) error {
	h := rr.Header()
	owner, rtype := h.Name, h.Rrtype
	var errs []error
	if owner != b.text {
		wire, err := pack(owner)
		if err != nil {
			return err
		}
		if !within(wire, b.zone.origin) {
			return fmt.Errorf("%s %s is outside the zone %s", owner, dns.Type(rtype), unpack(b.zone.origin))
		}
		if wire != b.owner {
			errs = append(errs, b.flush())
			b.owner = wire
		}
		b.text = owner
	}
	r, err := record(rr, h.Ttl, b.buf)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("%s: %w", owner, err))...)
	}
	i := slices.IndexFunc(b.pending, func(c compiled) bool { return c.rtype == rtype })
	if i < 0 {
		b.pending = append(b.pending, compiled{rtype: rtype})
		i = len(b.pending) - 1
	}
	b.pending[i].records = append(b.pending[i].records, r)
	return errors.Join(errs...)
}

// flush stores the pending records, together with what their owner had already.
func (b *Builder) flush() error {
	if len(b.pending) == 0 {
		return nil
	}
	err := b.put(b.owner, func(n *node, apex bool) (string, error) {
		sets := b.pending
		for _, old := range n.decode() {
			i := slices.IndexFunc(sets, func(c compiled) bool { return c.rtype == old.rtype })
			if i < 0 {
				sets = append(sets, old)
			} else {
				sets[i].records = append(old.records, sets[i].records...)
			}
		}
		return encodeChecked(n.label(), sets, apex, false)
	})
	b.pending = b.pending[:0]
	if err != nil {
		return fmt.Errorf("%s: %w", unpack(b.owner), err)
	}
	return nil
}

// Zone returns the zone of the records added so far. The builder is of no use afterwards.
func (b *Builder) Zone() (*Zone, error) {
	err := b.flush()
	z, errSOA := b.finish(b.declared())
	if err != nil || errSOA != nil {
		return nil, errors.Join(err, errSOA)
	}
	b.editor = nil
	return z, nil
}

// declared returns the serial of the SOA that was added.
func (b *Builder) declared() uint32 {
	if soa, ok := b.zone.apex.set(dns.TypeSOA); ok {
		serial, _, _ := soaFields(soa.wire)
		return serial
	}
	return 0
}
