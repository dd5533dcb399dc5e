// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Samples are the values of one evaluation, found by pod or by address. The zero value is empty.
type Samples struct {
	Series int // all series
	Strays int // series that name neither a pod nor an address, or have no number

	table  *table
	values []cell // by slot
}

// cell is what the series of one pod gave.
type cell struct {
	value float64
	count int32
}

// Value returns the value for the pod, and how many series gave one: the value means nothing unless that is 1.
func (s Samples) Value(namespace, pod string, address netip.Addr) (value float64, series int) {
	if s.table == nil {
		return 0, 0
	}
	return s.at(s.table.find(namespace, pod, address))
}

// place is where a pod's value may be, the first that has one counts: by pod and namespace, by pod, by address.
type place [3]int32

func (t *table) find(namespace, pod string, address netip.Addr) place {
	p := place{-1, -1, -1}
	if pod != "" && len(t.pods) > 0 {
		if slot, ok := t.pods[podKey{namespace, pod}]; ok {
			p[0] = slot
		}
		if slot, ok := t.pods[podKey{"", pod}]; ok {
			p[1] = slot
		}
	}
	if slot, ok := t.addresses[address]; ok {
		p[2] = slot
	}
	return p
}

func (s Samples) at(p place) (value float64, series int) {
	for _, slot := range p {
		if slot >= 0 && s.values[slot].count > 0 {
			return s.values[slot].value, int(s.values[slot].count)
		}
	}
	return 0, 0
}

// Finder finds the values of always the same members, and remembers where they are for as long as the series are the
// same. The zero value is ready.
type Finder struct {
	table  *table
	places []place
}

// Values are those of the members, NaN where there is none or, ambiguous, several.
func (f *Finder) Values(s Samples, namespace string, members []model.Member) (values []float64, ambiguous bool) {
	values = make([]float64, len(members))
	if s.table == nil {
		for i := range values {
			values[i] = math.NaN()
		}
		return values, false
	}
	if f.table != s.table || len(f.places) != len(members) {
		f.table, f.places = s.table, make([]place, len(members))
		for i := range members {
			f.places[i] = s.table.find(namespace, members[i].Pod, members[i].Address)
		}
	}
	for i, p := range f.places {
		value, series := s.at(p)
		if series != 1 {
			value = math.NaN()
			ambiguous = ambiguous || series > 1
		}
		values[i] = value
	}
	return values, ambiguous
}

// table says whose value each series of a response is. It does not change, and most responses have the one of the
// response before.
type table struct {
	begins    []string // of each series, in the response's order: {"metric":LABELS
	known     map[string]int32
	slots     []int32 // of each series; negative: a stray
	pods      map[podKey]int32
	addresses map[netip.Addr]int32
	cells     int // slots that are used
}

type podKey struct{ namespace, pod string } // namespace is empty where the series has none

const begin = `{"metric":`

func (t *table) size() int {
	if t == nil {
		return 0
	}
	return len(t.begins)
}

func newTable(begins []string, m model.Match) *table {
	t := &table{begins: begins, known: make(map[string]int32, len(begins)), slots: make([]int32, len(begins)), pods: map[podKey]int32{}, addresses: map[netip.Addr]int32{}}
	for i, b := range begins {
		labels := b[len(begin):]
		t.known[labels] = int32(i)
		t.slots[i] = t.slot(labels, m)
	}
	return t
}

// slot is where the value of the series with these labels goes.
func (t *table) slot(labels string, m model.Match) int32 {
	pod, address := identify(labels, m)
	var slot int32
	var known bool
	switch {
	case pod.pod != "":
		slot, known = t.pods[pod]
	case address.IsValid():
		slot, known = t.addresses[address]
	default:
		return -1
	}
	if known {
		return slot
	}
	slot = int32(t.cells)
	t.cells++
	if pod.pod != "" {
		t.pods[pod] = slot
	} else {
		t.addresses[address] = slot
	}
	return slot
}

// samples are the values at one instant, of so many series.
func (t *table) samples(points []point, series int) Samples {
	s := Samples{Series: series, table: t, values: make([]cell, t.cells)}
	named := 0
	for _, p := range points {
		if slot := t.slots[p.series]; slot >= 0 {
			named++
			s.values[slot] = cell{p.value, s.values[slot].count + 1}
		}
	}
	s.Strays = s.Series - named
	return s
}

// addressLabels may hold a pod's address, the first that does counts.
var addressLabels = [...]string{"address", "ip", "pod_ip", "instance"}

// Identify reads whose value a series with these labels, a JSON object of strings, is by m: a pod's, where the series
// says so with its namespace, or an address's. Nothing: nobody's.
func Identify(labels string, m model.Match) (namespace, pod string, address netip.Addr) {
	key, address := identify(labels, m)
	return key.namespace, key.pod, address
}

// identify reads whose value a series with these labels is, by m.
func identify(labels string, m model.Match) (podKey, netip.Addr) {
	if m == (model.Match{}) {
		m.Pod = "pod"
	} else if m.Pod == "" {
		m.Namespace = ""
	}
	if m.Pod != "" && m.Namespace == "" {
		m.Namespace = "namespace"
	}
	var pod podKey
	var texts [len(addressLabels)]string
	err := eachLabel(labels, func(name, value string) {
		switch name {
		case m.Pod:
			pod.pod = value
		case m.Namespace:
			pod.namespace = value
		}
		if m.Address != "" {
			if name == m.Address {
				texts[0] = value
			}
			return
		}
		for i, l := range addressLabels {
			if name == l {
				texts[i] = value
			}
		}
	})
	if err != nil {
		return podKey{}, netip.Addr{}
	}
	if pod.pod != "" {
		return pod, netip.Addr{}
	}
	for _, text := range texts {
		if text == "" {
			continue
		}
		if a, err := netip.ParseAddr(text); err == nil {
			return podKey{}, a.Unmap()
		}
		if a, err := netip.ParseAddrPort(text); err == nil {
			return podKey{}, a.Addr().Unmap()
		}
	}
	return podKey{}, netip.Addr{}
}

// eachLabel gives the labels of a JSON object of strings. What is given shares the object's memory where it can.
func eachLabel(object string, do func(name, value string)) error {
	if strings.IndexByte(object, '\\') >= 0 {
		var labels map[string]string
		if err := json.Unmarshal([]byte(object), &labels); err != nil {
			return err
		}
		for name, value := range labels {
			do(name, value)
		}
		return nil
	}
	rest := object
	for {
		_, after, ok := strings.Cut(rest, `"`)
		if !ok {
			return nil
		}
		name, after, ok := strings.Cut(after, `"`)
		if !ok {
			return fmt.Errorf("labels %q end within a name", object)
		}
		between, after, ok := strings.Cut(after, `"`)
		if !ok || strings.TrimSpace(between) != ":" {
			return fmt.Errorf("label %s has a value that is no string", name)
		}
		value, after, ok := strings.Cut(after, `"`)
		if !ok {
			return fmt.Errorf("labels %q end within a value", object)
		}
		do(name, value)
		rest = after
	}
}

// builder finds the series of a response in the last table, and makes a new one where they are others.
type builder struct {
	last  *table
	next  int32    // in last, the one that comes if all is as it was
	order []int32  // the series so far: in last, or behind its end in fresh
	fresh []string // begins of series that last does not have
	seen  map[string]int32
	moved []int32 // by number in order, when the table is new; nil: it is last
}

// expected is what the next series begins with if all is as it was, or "".
func (b *builder) expected() string {
	if int(b.next) < b.last.size() {
		return b.last.begins[b.next]
	}
	return ""
}

// hit takes the expected series and returns its number.
func (b *builder) hit() int32 {
	id := b.next
	b.next++
	b.order = append(b.order, id)
	return id
}

// find returns the number of the series with these labels.
func (b *builder) find(labels []byte) int32 {
	if b.last != nil {
		if id, ok := b.last.known[string(labels)]; ok {
			b.next = id + 1
			b.order = append(b.order, id)
			return id
		}
	}
	id, ok := b.seen[string(labels)]
	if !ok {
		if b.seen == nil {
			b.seen = map[string]int32{}
		}
		text := begin + string(labels)
		id = int32(b.last.size() + len(b.fresh))
		b.fresh = append(b.fresh, text)
		b.seen[text[len(begin):]] = id
	}
	b.order = append(b.order, id)
	return id
}

// table is that of the response: the last one as long as it has nothing new and is not mostly of series that are gone.
func (b *builder) table(m model.Match) *table {
	if b.last != nil && len(b.fresh) == 0 && len(b.order) >= b.last.size()/2 {
		return b.last
	}
	b.moved = make([]int32, b.last.size()+len(b.fresh))
	for i := range b.moved {
		b.moved[i] = -1
	}
	begins := make([]string, 0, len(b.order))
	for _, id := range b.order {
		if b.moved[id] >= 0 {
			continue
		}
		b.moved[id] = int32(len(begins))
		if int(id) < b.last.size() {
			begins = append(begins, b.last.begins[id])
		} else {
			begins = append(begins, b.fresh[int(id)-b.last.size()])
		}
	}
	return newTable(begins, m)
}

// position is the place in the table of the series with the number id.
func (b *builder) position(id int32) int32 {
	if b.moved == nil {
		return id
	}
	return b.moved[id]
}
