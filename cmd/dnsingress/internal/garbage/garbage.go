// SPDX-License-Identifier: Apache-2.0

// Package garbage has the collector come seldom to small heaps. A collection takes the processor that answers queries for
// a millisecond or two; with the few megabytes of a small zone it would be due every other second while names change.
package garbage

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// room is how many octets of garbage there are between two collections at least.
	room = 16 << 20
	// percentLeast is the runtime's own: as much garbage as there is in use.
	percentLeast = 100
	// percentMost makes the runtime's least heap, 4 MiB at 100 percent, as large as room.
	percentMost = 400
)

// Seldom keeps to room from the next collection on, however the heap grows or shrinks. GOGC in the environment goes before it.
func Seldom() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percentMost) // nothing is in use yet
		afterEach(adjust)
	}
}

// adjust follows what the last collection found in use.
func adjust() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetGCPercent(percent(live[0].Value.Uint64()))
}

// percent is the setting for so many octets in use.
func percent(live uint64) int {
	return int(min(max(100*room/max(live, 1), percentLeast), percentMost))
}

// found is what a collection finds unused. It has a pointer, for objects of few octets without one are allocated together.
type found struct{ _ *found }

// afterEach has f called after each collection.
func afterEach(f func()) {
	runtime.AddCleanup(new(found), func(f func()) {
		f()
		afterEach(f)
	}, f)
}
