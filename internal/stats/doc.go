// SPDX-License-Identifier: Apache-2.0

// Package stats holds the estimators that figures and tables rest on. It is
// pure: no files, no clocks, no global random source.
//
// The trial is the unit of statistics. Requests within a trial share its cache,
// its scheduling and its neighbours, so a thousand of them are not a thousand
// observations (Kalibera and Jones, "Rigorous benchmarking in reasonable time",
// ISMM 2013). Percentiles come from one trial's histogram, or from merged
// histograms where a pooled distribution is drawn; percentiles of different
// trials are never averaged, they are summarised by median and range.
//
// Below MinTrials values a sample has points and a range only. From there on an
// interval (BCa bootstrap) and a test (Mann-Whitney) may be given; below
// FewTrials they come with a Warning. Warnings are data: they reach the reader.
package stats

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

const (
	// MinTrials is the least number of trials for which an interval or a test is given.
	MinTrials = 6
	// FewTrials is the number of trials below which an interval or a test is flagged.
	FewTrials = 10
)

var (
	// ErrFew says that there are fewer values than an estimator needs.
	ErrFew = errors.New("stats: too few values")
	// ErrNaN says that a value is not a number: it has no place among the others.
	ErrNaN = errors.New("stats: a value is not a number")
)

// testable returns why two samples can not be set against each other; nil if they can.
func testable(a, b []float64) error {
	if len(a) < MinTrials || len(b) < MinTrials {
		return fmt.Errorf("%w: %d and %d, a test needs %d each", ErrFew, len(a), len(b), MinTrials)
	}
	if slices.ContainsFunc(a, math.IsNaN) || slices.ContainsFunc(b, math.IsNaN) {
		return ErrNaN
	}
	return nil
}
