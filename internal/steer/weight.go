// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"time"
)

const (
	defaultGain     = 0.05
	defaultFloor    = 0.05
	defaultDeadband = 0.05
	defaultStart    = 0.1
	// rampSteps is in how many steps a slow start goes: each is a change of the zone.
	rampSteps = 10
	// maxPush bounds by how much one value can move a weight of WeightBalance: a member that looks idle is not flooded.
	maxPush = 4
)

// measured reports whether the weight reads a signal.
func (t *Weight) measured() bool { return t.By != "" && t.By != WeightEqual }

func or(s Share, otherwise float64) float64 {
	if s > 0 {
		return float64(s)
	}
	return otherwise
}

// weigh gives the members that are in their weights, which sum up to 1.
func (w *work) weigh() {
	counts := w.pull()
	sum := 0.0
	for i := range w.d.Members {
		if v := &w.d.Members[i]; v.In {
			v.Weight = w.ramp(v.Memory.Entered)
			if counts && v.Memory.Pull > 0 {
				v.Weight = float64(v.Weight * v.Memory.Pull)
			}
			sum += v.Weight
		}
	}
	moved := 0.0
	for i := range w.d.Members {
		if v := &w.d.Members[i]; v.In {
			v.Weight /= sum
		}
		if old := w.old[i]; old != nil && old.Weight > 0 {
			moved = max(moved, math.Abs(w.d.Members[i].Weight/old.Weight-1))
		}
	}
	if moved >= or(w.policy.Weight.Deadband, defaultDeadband) || !w.sameSet {
		return
	}
	for i := range w.d.Members {
		if v := &w.d.Members[i]; v.In {
			v.Weight = w.old[i].Weight
		}
	}
}

// ramp is the part of its weight that a member has during its slow start.
func (w *work) ramp(entered time.Time) float64 {
	slow := w.policy.Guards.SlowStart
	if slow <= 0 || entered.IsZero() || !w.now.Before(entered.Add(slow)) {
		return 1
	}
	step := slow / rampSteps
	done := time.Duration(0)
	if step > 0 {
		done = max(0, w.now.Sub(entered)) / step
	}
	w.d.Next = earlier(w.d.Next, entered.Add(min((done+1)*max(step, 1), slow)))
	from := or(w.policy.Guards.SlowStartFrom, defaultStart)
	return from + float64((1-from)*float64(done)/rampSteps)
}

// pull moves the ready members' damped weights by what the signal says, and reports whether they count: while the signal is
// not live all are equal, and go on from where they were when it is again. An evaluation counts once.
func (w *work) pull() bool {
	rule := &w.policy.Weight
	if !rule.measured() {
		return false
	}
	values, ok := w.values(rule.Signal, &rule.Value, OverReady)
	if !ok {
		return false
	}
	var pulls []float64
	if rule.By == WeightBalance {
		pulls = w.balance(rule, values)
	} else {
		pulls = w.follow(rule, values)
	}
	sum, most, in := 0.0, 0.0, 0
	for r, i := range w.ready {
		most = max(most, pulls[r])
		if w.d.Members[i].In {
			sum += pulls[r]
			in++
		}
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return true
	}
	least := or(rule.Floor, defaultFloor) * most
	scale := float64(in) / sum
	for i := range w.d.Members { // those that are not ready too: they keep their place beside the others
		w.d.Members[i].Memory.Pull *= scale
	}
	for r, i := range w.ready {
		w.d.Members[i].Memory.Pull = max(pulls[r], least) * scale
	}
	return true
}

// follow returns the weights that are a function of the value, each the damped way from what it was.
func (w *work) follow(rule *Weight, values []float64) []float64 {
	raw := make([]float64, len(values))
	least, most := math.Inf(1), 0.0 // of the positive finite values
	for _, v := range values {
		if v > 0 && !math.IsInf(v, 0) {
			least, most = min(least, v), max(most, v)
		}
	}
	sum, known := 0.0, 0
	for r, v := range values {
		switch {
		case math.IsNaN(v):
			raw[r] = math.NaN()
			continue
		case rule.By == WeightInverse && most > 0:
			raw[r] = least / max(v, least)
		case rule.By == WeightProportional && most > 0:
			raw[r] = min(max(v, 0), most) / most
		case rule.By == WeightShed && rule.Shed != nil:
			raw[r] = 1 - rule.Shed.share(v)
		default:
			raw[r] = 1
		}
		sum += raw[r]
		known++
	}
	middle := 1.0
	if sum > 0 {
		middle = sum / float64(known)
	}
	floor := or(rule.Floor, defaultFloor)
	gain := or(rule.Gain, defaultGain)
	for r, i := range w.ready {
		if math.IsNaN(raw[r]) {
			raw[r] = middle
		}
		raw[r] = max(raw[r]/middle, floor)
		before := 0.0
		if old := w.old[i]; old != nil {
			before = old.Memory.Pull
		}
		switch {
		case before <= 0:
		case !w.fresh:
			raw[r] = before
		default:
			raw[r] = before * math.Pow(raw[r]/before, gain)
		}
	}
	return raw
}

// balance moves the weight of each member that clients were sent to against its value's distance from the mean. What it
// integrates is bounded by the floor.
func (w *work) balance(rule *Weight, values []float64) []float64 {
	pulls := make([]float64, len(values))
	moves := make([]bool, len(values))
	sum, known := 0.0, 0
	for r, i := range w.ready {
		pulls[r] = 1
		old := w.old[i]
		if old != nil && old.Memory.Pull > 0 {
			pulls[r] = old.Memory.Pull
		}
		if v := values[r]; old != nil && old.In && !math.IsNaN(v) && !math.IsInf(v, 0) {
			moves[r] = true
			sum += max(v, 0)
			known++
		}
	}
	if !w.fresh || !(sum > 0) || math.IsInf(sum, 0) {
		return pulls
	}
	mean := sum / float64(known)
	for r, v := range values {
		if moves[r] {
			push := min(maxPush, max(1.0/maxPush, mean/max(v, mean/maxPush)))
			pulls[r] *= math.Pow(push, or(rule.Gain, defaultGain))
		}
	}
	return pulls
}
