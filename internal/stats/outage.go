// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"cmp"
	"math"
	"slices"
)

// Outage is what clients saw of a fault: the span from the intended send of the first request that
// failed because of it to the end of the last. Times are nanoseconds on one clock.
type Outage struct {
	FirstNs    int64  // intended send of the first failed request
	LastSentNs int64  // intended send of the last failed request
	LastNs     int64  // when the last failure was seen
	Failed     uint64 // failed requests in the window
	Before     uint64 // failures that were over before the fault began: not its doing
}

// Add counts a failure that was due to be sent at intended and ended after total nanoseconds. A failure counts for
// the fault when it ended at or after the fault's begin: requests in flight when it strikes are its victims
// though they were sent before. Failures may be added in any order.
func (o *Outage) Add(begin, intended, total int64) {
	end := intended + total
	if end < begin {
		o.Before++
		return
	}
	if o.Failed == 0 || intended < o.FirstNs {
		o.FirstNs = intended
	}
	if o.Failed == 0 || intended > o.LastSentNs {
		o.LastSentNs = intended
	}
	if o.Failed == 0 || end > o.LastNs {
		o.LastNs = end
	}
	o.Failed++
}

// DurationNs is the length of the window: 0 when nothing failed.
func (o *Outage) DurationNs() int64 {
	if o.Failed == 0 {
		return 0
	}
	return o.LastNs - o.FirstNs
}

// Failure is a request that was due to be sent at IntendedNs and failed TotalNs later.
type Failure struct{ IntendedNs, TotalNs int64 }

// Outages splits failures into windows: a new one begins where the next failed request was due more than gap
// nanoseconds after the last failure before it was seen. They are in the order of time and count nothing as before.
func Outages(failures []Failure, gap int64) []Outage {
	var out []Outage
	for _, f := range slices.SortedFunc(slices.Values(failures), func(a, b Failure) int { return cmp.Compare(a.IntendedNs, b.IntendedNs) }) {
		if len(out) == 0 || f.IntendedNs-out[len(out)-1].LastNs > gap {
			out = append(out, Outage{})
		}
		out[len(out)-1].Add(math.MinInt64, f.IntendedNs, f.TotalNs)
	}
	return out
}
