// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"errors"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

func TestCheckLabels(t *testing.T) {
	for _, c := range []struct {
		expr   string
		offset int // of what leaves no label of a pod; -1: some may be left
	}{
		{"load", -1},
		{"sum by (pod) (load)", -1},
		{"sum without (pod) (load)", -1}, // an address may be left
		{"sum(load)", 0},
		{"sum by (node) (load)", 0},
		{"sum by (pod) (sum by (node) (load))", 0},
		{"2 * (-sum(load))", 6},
		{"histogram_quantile(0.99, sum by (le) (rate(latency_bucket[5m])))", 25},
		{"histogram_quantile(0.99, sum by (le, pod) (rate(latency_bucket[5m])))", -1},
		{"sum by (node) (a) / sum by (node) (b)", 0},
		{"a / sum by (node) (b)", 4},
		{"a / on (pod) b", -1},
		{"a / on (node) b", 0},
		{"a * on (node) group_left b", -1},
		{"sum by (node) (a) * on (node) group_left (pod) b", -1},
		{"sum by (node) (a) * on (node) group_right b", -1},
		{"sum(a) or b", -1},
		{"sum(a) or vector(1)", 0},
		{"sum(a) and b", 0},
		{"a unless sum(b)", -1},
		{"vector(1)", 0},
		{"clamp_max(sum(x), 5)", 10},
		{"max_over_time(sum(x)[5m:1m])", 14},
		{"topk(3, load)", -1},
		{"topk(3, sum(load))", 8},
		{`count_values("pod", load)`, -1},
		{`count_values("version", load)`, 0},
		{`label_replace(sum by (node) (load), "pod", "$1", "node", "(.*)")`, -1},
		{`label_replace(sum by (node) (load), "host", "$1", "node", "(.*)")`, 14},
		{"absent(load)", 0},
		{`absent(load{pod="web-0"})`, -1},
		{"hour()", 0},
	} {
		err := CheckPods(c.expr)
		var lost *NoPodError
		switch {
		case c.offset < 0 && err != nil:
			t.Errorf("%s: %v", c.expr, err)
		case c.offset >= 0 && !errors.As(err, &lost):
			t.Errorf("%s: %v, want a NoPodError", c.expr, err)
		case c.offset >= 0 && lost.Offset != c.offset:
			t.Errorf("%s: at %d, want %d", c.expr, lost.Offset, c.offset)
		}
	}
	if err := CheckLabels("sum by (name) (load)", model.Match{Pod: "name"}); err != nil {
		t.Error(err)
	}
	if err := CheckLabels("sum by (pod) (load)", model.Match{Address: "addr"}); err == nil || err.Error() != "this leaves no label that tells a pod: addr" {
		t.Error(err)
	}
}
