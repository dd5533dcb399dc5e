// SPDX-License-Identifier: Apache-2.0

package numbers

import (
	"testing"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// Where the window ended before the thing did, nobody knows the upper end.
func TestSpreadOfLowerBounds(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		cut    []bool
		want   string
	}{
		{[]float64{12, 36}, []bool{false, false}, "12.0--36.0"},
		{[]float64{12, 36}, []bool{false, true}, `12.0--$\geq$36.0`},
		{[]float64{36}, []bool{true}, `$\geq$36.0`},
		{[]float64{36}, []bool{false}, "36.0"},
	} {
		if got := spread(&Quantity{Unit: "s", Summary: stats.Summarize(tc.values, 1), Cut: tc.cut}); got != tc.want {
			t.Errorf("%v, cut %v: %q, want %q", tc.values, tc.cut, got, tc.want)
		}
	}
}
