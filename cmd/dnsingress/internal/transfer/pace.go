// SPDX-License-Identifier: Apache-2.0

package transfer

import "time"

// pace has long work on a zone give way to questions every so often, so that they do not wait for its end.
type pace struct {
	giveWay func() // nil: there is nobody to give way to
	since   time.Time
	stretch time.Duration // how long it works until then
	pieces  int
}

const (
	// stretchLeast is far below what an answer may be late by, and far above what giving way costs.
	stretchLeast = 15 * time.Microsecond
	// somePieces are done between two looks at the clock: a record takes a microsecond, a name that changes a dozen.
	somePieces = 2
	// stretchShare keeps a flood of questions from stopping the work: it works for this part of the time that it waited.
	stretchShare = 4
)

// between is called between two pieces of the work.
func (p *pace) between() {
	if p.pieces++; p.giveWay == nil || p.pieces%somePieces != 0 {
		return
	}
	begin := time.Now()
	if begin.Sub(p.since) < p.stretch {
		return
	}
	p.giveWay()
	p.since = time.Now()
	p.stretch = max(stretchLeast, p.since.Sub(begin)/stretchShare)
}
