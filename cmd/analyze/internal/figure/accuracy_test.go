// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Seconds of several trials are counted from each trial's own fault.
func TestAnswerPanels(t *testing.T) {
	trial := func(begin int64, seconds ...results.Accuracy) *digest.Trial {
		return &digest.Trial{Trial: results.Trial{Fault: &results.Fault{Kind: "dns-kill", BeginNs: begin, EndNs: begin + 2e9}}, Accuracy: seconds}
	}
	d := Data{Fault: "dns-kill", Series: []Series{
		{Name: "dnsingress, no", Trials: []*digest.Trial{
			trial(100.2e9, results.Accuracy{UnixNs: 99e9, Answers: 10, Right: 10}, results.Accuracy{UnixNs: 101e9, Answers: 10, Missing: 9, Stale: 1}),
			trial(200.2e9, results.Accuracy{UnixNs: 201e9, Answers: 10, Right: 5, Wrong: 5}),
		}},
		{Name: "no queries", Trials: []*digest.Trial{{}}},
	}}
	want := []AnswerPanel{{
		Name: "dnsingress, no", Trials: 2, Start: -1, FaultEnd: 2,
		Seconds: []results.Accuracy{{Answers: 10, Right: 10}, {}, {Answers: 20, Right: 5, Missing: 9, Stale: 1, Wrong: 5}},
		Sum:     results.Accuracy{Answers: 30, Right: 15, Missing: 9, Stale: 1, Wrong: 5},
	}}
	panels := answerPanels(d)
	if diff := cmp.Diff(want, panels); diff != "" {
		t.Error(diff)
	}
	if Answers("x", "dns-kill", nil) != nil {
		t.Error("a figure of nothing")
	}
}

// someAnswers are those of series whose servers are dead for twelve seconds, and which caches help differently.
func someAnswers(names []string) []AnswerPanel {
	var out []AnswerPanel
	for i, name := range names {
		p := AnswerPanel{Name: name, Trials: 10, Start: -5, FaultEnd: 12}
		for at := -5; at < 23; at++ {
			a := results.Accuracy{Answers: 500, Stale: uint64((at + 5) % 10)}
			if at >= 2*i && at < 13 {
				a.Missing = 480
			}
			a.Right = a.Answers - a.Stale - a.Missing
			p.Seconds = append(p.Seconds, a)
			p.Sum = sumOf(p.Sum, a)
		}
		out = append(out, p)
	}
	return out
}
