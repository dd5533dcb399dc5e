// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"time"
)

const (
	defaultChurnWindow = 10 * time.Minute
	defaultRisk        = 0.5
	defaultGrowth      = 0.5
	leastFloor         = time.Second
	// ttlBand is how far beyond its rung a TTL from a signal must go to leave it.
	ttlBand = 0.1
	// longestWake bounds how long a pool sleeps before its TTL is calculated anew.
	longestWake = 24 * time.Hour
)

// What Decision.TTLRule says when it is no rule.
const (
	ttlPool    = "pool"
	ttlFloor   = "floor"
	ttlCeiling = "ceiling"
)

// measured reports whether the rule reads a signal.
func (r *TTLRule) measured() bool {
	return r.Kind == TTLLinear || r.Kind == TTLExponential || r.Kind == TTLSteps
}

func (r *TTLRule) name() string {
	if r.Name != "" {
		return r.Name
	}
	return string(r.Kind)
}

// cache says for how long answers may be cached.
func (w *work) cache() {
	w.d.TTL, w.d.TTLRule = w.ttl(&w.policy.TTL, w.pool.TTL, w.previous.TTL, w.previous.TTLRule)
	w.d.NegativeTTL, w.d.NegativeTTLRule = w.ttl(&w.policy.NegativeTTL, w.pool.NegativeTTL, w.previous.NegativeTTL, w.previous.NegativeTTLRule)
}

// ttl returns the least that a rule says and which one it was; whole is the TTL without any, before what it was.
func (w *work) ttl(t *TTL, whole, before time.Duration, beforeRule string) (time.Duration, string) {
	floor, ceiling := t.bounds(whole)
	ttl, by := whole, ttlPool
	for k := range t.Rules {
		rule := &t.Rules[k]
		stays := time.Duration(0)
		if rule.name() == beforeRule {
			stays = before
		}
		d, ok := w.rung(rule, floor, ceiling, stays)
		if ok && (by == ttlPool || d < ttl) {
			ttl, by = d, rule.name()
		}
	}
	switch ceiling = max(ceiling, floor); {
	case ttl < floor:
		return floor, ttlFloor
	case ttl > ceiling:
		return ceiling, ttlCeiling
	}
	return ttl, by
}

// bounds returns the floor and the ceiling; where there is no ceiling, it is what the answer would have anyway.
func (t *TTL) bounds(whole time.Duration) (floor, ceiling time.Duration) {
	floor, ceiling = t.Floor, t.Ceiling
	if floor <= 0 && len(t.Rules) > 0 {
		floor = leastFloor
	}
	if ceiling <= 0 {
		ceiling = max(whole, floor)
	}
	return max(floor, 0), ceiling
}

// rung is what a rule says, bounded; stays is the TTL that it set before, 0: it did not.
func (w *work) rung(rule *TTLRule, floor, ceiling, stays time.Duration) (time.Duration, bool) {
	var seconds float64
	switch low, high := floor.Seconds(), ceiling.Seconds(); rule.Kind {
	case TTLFixed:
		return rule.TTL, true
	case TTLSteps:
		value, ok := w.aggregate(rule)
		ttl := ceiling
		for _, s := range rule.Steps {
			if value >= s.From {
				ttl = s.TTL
			}
		}
		return ttl, ok
	case TTLLinear, TTLExponential:
		value, ok := w.aggregate(rule)
		if !ok {
			return 0, false
		}
		part := min(1, max(0, (value-rule.Low)/(rule.High-rule.Low)))
		if seconds = high + float64(part*(low-high)); rule.Kind == TTLExponential && low > 0 {
			seconds = high * math.Pow(low/high, part)
		}
		if s := stays.Seconds(); seconds > low && seconds < high && seconds >= s*(1-ttlBand) && seconds < nextRung(s)*(1+ttlBand) {
			return stays, true
		}
	case TTLChurn:
		seconds = w.untilChange(rule, floor, ceiling)
	case TTLCalm:
		seconds = w.sinceChange(rule, floor, ceiling)
	default:
		return 0, false
	}
	switch {
	case !(seconds < ceiling.Seconds()):
		return ceiling, true
	case seconds <= floor.Seconds():
		return floor, true
	}
	return max(floor, time.Duration(lastRung(seconds))*time.Second), true
}

// aggregate is the statistic of the rule's values of the ready members that are in; false: there is none.
func (w *work) aggregate(rule *TTLRule) (float64, bool) {
	values, ok := w.values(rule.Signal, &rule.Value, OverReady)
	if !ok {
		return 0, false
	}
	for r, i := range w.ready {
		if !w.d.Members[i].In {
			values[r] = math.NaN()
		}
	}
	sorted := w.sample(values, OverReady)
	if len(sorted) == 0 {
		return 0, false
	}
	of := rule.Of
	if of == "" {
		of = "mean"
	}
	value := statistic(of, sorted)
	return value, !math.IsNaN(value)
}

// untilChange is the time within which the pool changes with the rule's probability, if changes come as often as those
// that are remembered: they are C, decayed with half-life H, so that their rate is C ln 2 / H.
func (w *work) untilChange(rule *TTLRule, floor, ceiling time.Duration) float64 {
	changes := w.churn()
	if changes <= 0 {
		return math.Inf(1)
	}
	half := w.policy.churnWindow().Seconds()
	seconds := -math.Log1p(-or(rule.Risk, defaultRisk)) * half / (changes * math.Ln2)
	if seconds < ceiling.Seconds() {
		w.wake(half * math.Log2(above(seconds, floor, ceiling)/seconds))
	}
	return seconds
}

// sinceChange grows with the time since the last change, or since there is a decision: who has just begun to look has seen no calm.
func (w *work) sinceChange(rule *TTLRule, floor, ceiling time.Duration) float64 {
	growth := or(rule.Growth, defaultGrowth)
	seconds := float64(growth * w.now.Sub(w.d.Changed).Seconds())
	if seconds < ceiling.Seconds() {
		w.wake((above(seconds, floor, ceiling) - seconds) / growth)
	}
	return seconds
}

// wake asks for another decision in so many seconds, with a little more, so that the rung is reached then.
func (w *work) wake(seconds float64) {
	w.d.Next = earlier(w.d.Next, w.now.Add(min(duration(seconds), longestWake)+time.Millisecond))
}

// duration is so many seconds, or the longest time that there is.
func duration(seconds float64) time.Duration {
	if !(seconds < time.Duration(math.MaxInt64).Seconds()) {
		return math.MaxInt64
	}
	return time.Duration(seconds * float64(time.Second))
}

// lastRung rounds seconds down to a rung: 1, 2, 3, 4, 6, 8, 12, 16, 24 … At most a third is lost.
func lastRung(seconds float64) float64 {
	power := math.Exp2(math.Floor(math.Log2(max(seconds, 1))))
	if power >= 2 && seconds >= 1.5*power {
		return 1.5 * power
	}
	return power
}

// nextRung is the one above.
func nextRung(seconds float64) float64 {
	switch last := lastRung(seconds); {
	case seconds < 1:
		return 1
	case last < 4:
		return last + 1
	case last == math.Exp2(math.Floor(math.Log2(last))):
		return 1.5 * last
	default:
		return last / 1.5 * 2
	}
}

// above is the first rung above seconds that is not below the floor.
func above(seconds float64, floor, ceiling time.Duration) float64 {
	return min(nextRung(max(seconds, floor.Seconds())), ceiling.Seconds())
}

// churn is the number of changes that are remembered, decayed to now.
func (w *work) churn() float64 {
	return float64(w.d.Churn * math.Exp2(-w.now.Sub(w.d.Changed).Seconds()/w.policy.churnWindow().Seconds()))
}

func (p *Policy) churnWindow() time.Duration {
	if p.ChurnWindow > 0 {
		return p.ChurnWindow
	}
	return defaultChurnWindow
}
