// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"cmp"
	"fmt"
	"strings"
)

// looser reports whether b lets more values pass than keep, which is on the same side: some of its terms are looser and
// none is stricter. Values are taken to be above zero where both have a factor of the same statistic; a mean or percentile
// that is in one of them only tells nothing.
func (b Bound) looser(keep Bound) bool {
	sign := 1.0
	if !keep.upper() {
		sign = -1
	}
	before, after := keep.factors(), b.factors()
	wider := false
	for name := range union(before, after) {
		x, inKeep := before[name]
		y, inBack := after[name]
		place := name != "" && name != "stddev" && name != "mad"
		switch {
		case sign*y < sign*x:
			return false
		case x == y:
		case place && !(inKeep && inBack):
			return false
		default:
			wider = true
		}
	}
	return wider || strings.HasSuffix(b.op, "=") && !strings.HasSuffix(keep.op, "=")
}

// factors are those of the statistics, "" being the constant, that make up the limit.
func (b Bound) factors() map[string]float64 {
	factors := map[string]float64{}
	for _, t := range b.terms {
		name := t.statistic
		if name == "p50" {
			name = "median"
		}
		factors[name] += t.factor
	}
	return factors
}

func union(a, b map[string]float64) map[string]bool {
	names := map[string]bool{}
	for name := range a {
		names[name] = true
	}
	for name := range b {
		names[name] = true
	}
	return names
}

// relative reports whether the rule compares with a statistic of the pool.
func (r *Rule) relative() bool {
	for _, b := range []Bound{r.Keep, r.Readmit} {
		if _, fixed := b.fixed(); !fixed {
			return true
		}
	}
	return len(r.Value.pools)+len(r.KeepIf.pools)+len(r.ReadmitIf.pools) > 0
}

// span is what absolute bounds on the same value leave of it.
type span struct {
	above, below Bound // zero: unbounded
}

// narrow cuts the span; it reports whether anything is left, and if not, the bound that is in the way.
func (s *span) narrow(b Bound) (other Bound, left bool) {
	limit, fixed := b.fixed()
	if !fixed || b.IsZero() {
		return Bound{}, true
	}
	mine, against := &s.above, s.below
	if b.upper() {
		mine, against = &s.below, s.above
	}
	if mine.IsZero() || mine.looser(b) {
		*mine = b
	}
	if against.IsZero() {
		return Bound{}, true
	}
	end, _ := against.fixed()
	away := cmp.Compare(limit, end)
	if b.upper() {
		away = -away
	}
	closed := strings.HasSuffix(b.op, "=") && strings.HasSuffix(against.op, "=")
	return against, away < 0 || away == 0 && closed
}

// together checks that the rules' absolute bounds leave a value that satisfies all: to stay, and to return.
func (c *check) together(rules []Rule) {
	stay, back := map[string]*span{}, map[string]*span{}
	cut := func(spans map[string]*span, path, of string, b Bound, nobody string) bool {
		if spans[of] == nil {
			spans[of] = &span{}
		}
		other, left := spans[of].narrow(b)
		if !left {
			c.add(path, fmt.Sprintf("%s is never both %s and %s, so that %s", of, b, other, nobody), "bounds on the same value that leave some of it")
		}
		return left
	}
	for i := range rules {
		r := &rules[i]
		of := cmp.Or(r.Value.String(), r.Signal)
		if r.Keep.IsZero() || of == "" {
			continue
		}
		path := fmt.Sprintf("rules[%d]", i)
		if !cut(stay, path+".keep", of, r.Keep, "no member is kept") {
			continue
		}
		if r.Readmit.IsZero() {
			cut(back, path+".keep", of, r.Keep, "no member returns")
		} else if r.Readmit.upper() == r.Keep.upper() {
			cut(back, path+".readmit", of, r.Readmit, "no member returns")
		}
	}
}
