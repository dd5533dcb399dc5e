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
	// later, while a whole zone is being built, are the numbers of names that came directly below a key:
	// told to the names above once, in settle, and not once a name. nil: at once.
	later map[string]int
}

func newEditor(from *Zone) *editor {
	z := *from
	e := &editor{zone: &z, edit: &edit{}}
	e.hash = func(key string) uint64 { return maphash.String(z.seed, key) }
	return e
}

// put stores what alter makes of the node at an absolute wire name. A node that ends up with neither data,
// pin nor names below goes away, and so do the empty non-terminals above it.
func (e *editor) put(wire string, alter func(n node, apex bool) (node, error)) error {
	z := e.zone
	if !within(wire, z.origin) {
		return fmt.Errorf("%s is outside the zone %s", unpack(wire), unpack(z.origin))
	}
	key := wire[:len(wire)-len(z.origin)]
	old := z.apex
	if key != "" {
		old = z.trie.get([]byte(key), e.hash(key))
	}
	from := old
	if from == "" {
		from = encode(key, 0, 0, nil)
	}
	n, err := alter(from, key == "")
	if err != nil {
		return err
	}
	z.names += count(n.exists()) - count(old.exists())
	z.cuts += count(n.divides()) - count(old != "" && old.divides())
	if key == "" {
		z.apex = n
		return nil
	}
	e.store(old, n)
	return nil
}

// store puts n in the place of old, which has the same key or is "", and keeps the names above in step.
func (e *editor) store(old, n node) {
	z, key := e.zone, n.key()
	hash := e.hash(key)
	gone := !n.exists() && n.children() == 0
	switch {
	case !gone:
		z.trie = z.trie.put(e.edit, n, hash, 0, e.hash)
	case old != "":
		if z.trie = z.trie.drop(e.edit, key, hash, 0); z.trie == nil {
			z.trie = &inner{owner: e.edit}
		}
	}
	if gone == (old == "") {
		return // it was there or not, as it is now
	}
	above := key[1+int(key[0]):]
	if above == "" {
		return
	}
	if e.later != nil {
		e.later[above] += count(!gone) - count(gone)
		return
	}
	parent := z.trie.get([]byte(above), e.hash(above))
	if parent == "" {
		e.store("", encode(above, 0, 1, nil))
		return
	}
	e.store(parent, parent.withChildren(parent.children()+count(!gone)-count(gone)))
}

// settle tells the names above of those that came below them while later was in use.
func (e *editor) settle() {
	for len(e.later) > 0 {
		now := e.later
		e.later = map[string]int{} // of names above that are new themselves
		for key, n := range now {
			parent := e.zone.trie.get([]byte(key), e.hash(key))
			if parent == "" {
				e.store("", encode(key, 0, n, nil))
			} else {
				e.store(parent, parent.withChildren(parent.children()+n))
			}
		}
	}
	e.later = nil
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
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
	sets, err := compile(wire, c.RRsets)
	if err := errors.Join(err, e.zone.checkOnline(sets)); err != nil {
		return err
	}
	return e.replace(wire, sets, c.Remove, c.NegativeTTL)
}

// replace gives an absolute wire name other RRsets: none remove it, or have it exist without data.
func (e *editor) replace(wire string, sets []compiled, remove bool, negativeTTL uint32) error {
	return e.put(wire, func(n node, apex bool) (node, error) {
		if apex {
			for _, old := range n.decode() {
				given := slices.ContainsFunc(sets, func(s compiled) bool { return s.rtype == old.rtype })
				if e.zone.apexOnly(old.rtype) && !given {
					sets = append(sets, old)
				}
			}
		}
		n, err := n.with(sets, apex, !remove && len(sets) == 0)
		if err != nil || remove {
			return n, err
		}
		return n.withNegative(negativeTTL), nil
	})
}

// with returns the node with other RRsets, checked.
func (n node) with(sets []compiled, apex, pinned bool) (node, error) {
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
	return encode(n.key(), flags, n.children(), sets), nil
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
		ttl, _ := z.apex.negative()
		z.apex = encode("", z.apex.flags(), 0, sets).withNegative(ttl)
	}
	z.serial = serial
	z.nothing = newNegative(z.origin, withTTL(record, min(be32(record, 6), minimum)))
	return z, nil
}

// Builder compiles a zone record by record, keeping no more of them than those of one owner, so that a large
// zone file costs little more memory than the zone. Records of one owner that follow one another are cheapest.
type Builder struct {
	*editor
	owner string // wire form of the owner that pending is for
	text  string // and its form in the records, to spare the conversion
	// pending are the records of owner so far. Those that came in wire form are in scratch until Flush.
	pending []compiled
	scratch []byte
	lowered []byte // what Owner was given last
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
	e := newEditor(&Zone{
		origin: wire, labels: nm.labels, seed: maphash.MakeSeed(),
		apex: encode("", 0, 0, nil), trie: &inner{},
	})
	e.later = map[string]int{}
	return &Builder{editor: e, buf: make([]byte, maxMessage)}, nil
}

// Add takes one record, which is the builder's from then on. Where it is the first of another owner, the error
// can be about the owner before, unless Flush was called.
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
			errs = append(errs, b.Flush())
			b.owner = wire
		}
		b.text = owner
	}
	r, err := record(rr, h.Ttl, b.buf)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("%s: %w", owner, err))...)
	}
	b.pending = collect(b.pending, rtype, r)
	return errors.Join(errs...)
}

// Owner says whose the records are that AddWire gives from now on: those of an absolute name in wire form, in whatever
// case, which is not kept. It flushes those of another, whose error it returns, and tells whether the name is in the
// zone; one that is not has no records.
func (b *Builder) Owner(name []byte) (inside bool, err error) {
	b.lowered = append(b.lowered[:0], name...)
	fold(b.lowered, name) // a length octet is at most 63, below 'A'
	if view(b.lowered) == b.owner {
		return true, nil
	}
	err = b.Flush()
	if !within(view(b.lowered), b.zone.origin) {
		return false, err
	}
	b.owner, b.text = string(b.lowered), ""
	return true, err
}

// AddWire adds a record of class IN to the owner's. Names in its data, which is not kept, are not compressed.
func (b *Builder) AddWire(rtype uint16, ttl uint32, rdata []byte) {
	begin := len(b.scratch)
	b.scratch = appendRecord(b.scratch, rtype, ttl, rdata)
	b.pending = collect(b.pending, rtype, view(b.scratch[begin:]))
}

// Flush stores the pending records, together with what their owner had already. Its error is about that owner.
func (b *Builder) Flush() error {
	if len(b.pending) == 0 {
		return nil
	}
	err := b.put(b.owner, func(n node, apex bool) (node, error) {
		sets := b.pending
		for _, old := range n.decode() {
			i := slices.IndexFunc(sets, func(c compiled) bool { return c.rtype == old.rtype })
			if i < 0 {
				sets = append(sets, old)
			} else {
				sets[i].records = append(old.records, sets[i].records...)
			}
		}
		return n.with(sets, apex, false)
	})
	b.pending, b.scratch = b.pending[:0], b.scratch[:0]
	if err != nil {
		return fmt.Errorf("%s: %w", unpack(b.owner), err)
	}
	return nil
}

// AddSet adds a set whole, of an owner and a type that have no records yet.
func (b *Builder) AddSet(owner string, s RRset) error {
	wire, err := pack(owner)
	if err != nil {
		return err
	}
	if !within(wire, b.zone.origin) {
		return fmt.Errorf("%s %s is outside the zone %s", owner, dns.Type(s.Type), unpack(b.zone.origin))
	}
	sets, err := compile(wire, []RRset{s})
	if err = errors.Join(b.Flush(), err); err != nil {
		return fmt.Errorf("%s: %w", owner, err)
	}
	err = b.put(wire, func(n node, apex bool) (node, error) {
		if _, double := n.set(s.Type); double {
			return "", fmt.Errorf("%s records that say whom they are for beside others that do not", dns.Type(s.Type))
		}
		return n.with(append(n.decode(), sets...), apex, false)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", owner, err)
	}
	return nil
}

// Zone returns the zone of the records added so far. The builder is of no use afterwards.
func (b *Builder) Zone() (*Zone, error) {
	err := b.Flush()
	b.settle()
	b.zone.trie.trim()
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
