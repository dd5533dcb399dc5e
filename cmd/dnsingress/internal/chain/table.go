// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"cmp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// table is record sets by name and type.
type table map[key]*entry

// key is what there is one set of.
type key struct {
	name  string
	rtype uint16
}

// entry is a set with what it holds already.
type entry struct {
	model.RecordSet
	seen    map[identity]bool
	options map[option]model.Record // the first record of each
}

// option is what tells options of a set apart.
type option struct{ geo, set string }

// identity is all that a record says.
type identity struct {
	option
	data, follow string
	weight       int64 // -1: none
}

func identify(r model.Record) identity {
	i := identity{option{r.Geo, r.Set}, r.Data, r.Follow, -1}
	if r.Weight != nil {
		i.weight = int64(*r.Weight)
	}
	return i
}

// add puts a record into the set that is like set, of which there may be none yet. One that is there already is not
// added again, and the least TTL counts for all (RFC 2181 §5.2).
func (t table) add(set model.RecordSet, r model.Record) {
	k := key{set.Name, set.Type}
	e := t[k]
	if e == nil {
		e = &entry{RecordSet: set, seen: map[identity]bool{}, options: map[option]model.Record{}}
		e.Records = nil
		t[k] = e
	}
	e.TTL = least(e.TTL, set.TTL)
	e.Stable = e.Stable || set.Stable
	i := identify(r)
	if e.seen[i] {
		return
	}
	e.seen[i] = true
	if _, ok := e.options[i.option]; !ok {
		e.options[i.option] = r
	}
	e.Records = append(e.Records, r)
}

// sorted gives the sets in the order of their names and types, and the records of each in an order of their own, so
// that the same records are the same value however they were found.
func (t table) sorted() []model.RecordSet {
	sets := make([]model.RecordSet, 0, len(t))
	for _, e := range t {
		slices.SortFunc(e.Records, func(a, b model.Record) int {
			return cmp.Or(strings.Compare(a.Geo, b.Geo), strings.Compare(a.Set, b.Set), strings.Compare(a.Data, b.Data), strings.Compare(a.Follow, b.Follow))
		})
		sets = append(sets, e.RecordSet)
	}
	slices.SortFunc(sets, func(a, b model.RecordSet) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
	})
	return sets
}

func equal(a, b *uint32) bool { return a == b || a != nil && b != nil && *a == *b }

// least is the lesser of two TTLs, of which nil is none.
func least(a, b *uint32) *uint32 {
	if a == nil || b != nil && *b < *a {
		return b
	}
	return a
}

// single tells whether an answer can hold but one record of a type (RFC 1034 §3.6.2, RFC 6672 §2.4).
func single(rtype uint16) bool { return rtype == dns.TypeCNAME || rtype == dns.TypeDNAME }
