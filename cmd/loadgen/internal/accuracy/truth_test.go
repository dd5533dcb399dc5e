// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var epoch = time.Unix(1_800_000_000, 0)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

// A name is {a1,a2} from 0, {b1,b2} from a change in 100…110, gone from a change in 200…210, {c1} from 300…310.
func TestVerdicts(t *testing.T) {
	tests := []struct {
		name           string
		sent, received int
		data           []string
		silent         bool
		want           Counts
	}{
		{"before any change", 10, 20, []string{"a2", "a1"}, false, Counts{Right: 1}},
		{"half of the data", 10, 20, []string{"a1"}, false, Counts{Wrong: 1, Mixed: 1}},
		{"the old one while the change is under way", 105, 108, []string{"a1", "a2"}, false, Counts{Right: 1}},
		{"the new one while the change is under way", 102, 103, []string{"b1", "b2"}, false, Counts{Right: 1}},
		{"the old one, asked before the change was done", 109, 190, []string{"a1", "a2"}, false, Counts{Right: 1}},
		{"the old one after it", 111, 112, []string{"a1", "a2"}, false, Counts{Stale: 1}},
		{"old and new", 111, 112, []string{"a1", "b1"}, false, Counts{Wrong: 1, Mixed: 1}},
		{"what never was", 111, 112, []string{"x"}, false, Counts{Wrong: 1}},
		{"what was and what never was", 111, 112, []string{"b1", "x"}, false, Counts{Wrong: 1}},
		{"before it is true", 98, 99, []string{"b1", "b2"}, false, Counts{Wrong: 1}},
		{"nothing", 111, 112, nil, false, Counts{Missing: 1}},
		{"silence", 111, 112, nil, true, Counts{Missing: 1, Silent: 1}},
		{"gone when it is gone", 211, 212, nil, false, Counts{Right: 1}},
		{"there when it is gone", 211, 212, []string{"b1", "b2"}, false, Counts{Stale: 1}},
		{"two versions old", 211, 212, []string{"a1", "a2"}, false, Counts{Stale: 1}},
		{"still gone when it is there again", 311, 312, nil, false, Counts{Stale: 1}},
		{"silence when it is gone", 211, 212, nil, true, Counts{Missing: 1, Silent: 1}},
	}
	for _, tt := range tests {
		truth := NewTruth(1, []string{"s"}, false, nil)
		for i, data := range [][]string{{"a1", "a2"}, {"b2", "b1"}, nil, {"c1"}} {
			if i*100 > tt.received {
				break
			}
			truth.Begin(0, data, at(i*100))
			if i == 0 {
				truth.Done(0, at(0))
			} else if i*100+10 <= tt.received {
				truth.Done(0, at(i*100+10))
			}
		}
		truth.Judge(Answer{Sent: at(tt.sent), Received: at(tt.received), Data: tt.data, Silent: tt.silent})
		tt.want.Answers = 1
		if d := cmp.Diff(tt.want, truth.Close().Counts); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

// Nothing, from a server that has shown the data, is missing and not stale.
func TestNothingAfterData(t *testing.T) {
	truth := NewTruth(1, []string{"s"}, false, nil)
	truth.Begin(0, nil, at(0))
	truth.Done(0, at(0))
	truth.Begin(0, []string{"a"}, at(10))
	truth.Done(0, at(11))
	truth.Judge(Answer{Sent: at(12), Received: at(13)})                      // stale
	truth.Judge(Answer{Sent: at(14), Received: at(15), Data: []string{"a"}}) // right
	truth.Judge(Answer{Sent: at(16), Received: at(17)})                      // missing
	if d := cmp.Diff(Counts{Answers: 3, Stale: 1, Right: 1, Missing: 1}, truth.Close().Counts); d != "" {
		t.Error(d)
	}
}

func TestSubset(t *testing.T) {
	truth := NewTruth(1, []string{"s"}, true, nil)
	truth.Begin(0, []string{"a1", "a2", "a3"}, at(0))
	truth.Done(0, at(0))
	truth.Begin(0, []string{"b1", "b2"}, at(10))
	truth.Done(0, at(10))
	for _, data := range [][]string{{"b2"}, {"b1", "b2"}, {"a3", "a1"}, {"a1", "b1"}, nil} {
		truth.Judge(Answer{Sent: at(12), Received: at(13), Data: data})
	}
	if d := cmp.Diff(Counts{Answers: 5, Right: 2, Stale: 1, Wrong: 1, Mixed: 1, Missing: 1}, truth.Close().Counts); d != "" {
		t.Error(d)
	}
}

// Two servers are asked every 10 ms. One shows a change made at 100 from 130 on, flaps at 160; the other never does.
func TestPropagation(t *testing.T) {
	var reports []Reached
	truth := NewTruth(1, []string{"quick", "dead"}, false, func(r Reached) { reports = append(reports, r) })
	truth.Begin(0, []string{"a"}, at(0))
	truth.Done(0, at(0))
	for ms := 5; ms < 200; ms += 10 {
		if ms == 105 {
			truth.Begin(0, []string{"b"}, at(100))
			truth.Done(0, at(101))
		}
		says := "a"
		if ms > 130 && ms != 165 {
			says = "b"
		}
		truth.Judge(Answer{Server: 0, Sent: at(ms), Received: at(ms + 1), Data: []string{says}})
		truth.Judge(Answer{Server: 1, Sent: at(ms), Received: at(ms + 1), Data: []string{"a"}})
	}
	a := truth.Close()
	if a.Changes != 1 || a.Propagation.Unfinished != 1 || a.Servers[0].Propagation.Unfinished != 0 || a.Servers[1].Propagation.Unfinished != 1 || a.Propagation.Never != 0 {
		t.Errorf("%+v", a)
	}
	if len(reports) != 2 {
		t.Fatalf("%+v", reports)
	}
	// The first right answer came at 136, to a query sent 11 ms after the one before it; the last wrong one at 166.
	want := Reached{
		Server: "quick", Data: []string{"b"}, BegunNs: at(100).UnixNano(), DoneNs: at(101).UnixNano(),
		FirstRightNs: 36e6, FirstRightErrorNs: 11e6, LastWrongNs: 66e6,
	}
	if d := cmp.Diff(want, reports[0]); d != "" {
		t.Error(d)
	}
	if r := reports[1]; r.FirstRightNs != -1 || r.LastWrongNs != 96e6 {
		t.Errorf("%+v", r)
	}
	if r := a.Resolution; r.P50 < 9.99e6 || r.Max > 10.1e6 {
		t.Errorf("%+v", r)
	}
}
