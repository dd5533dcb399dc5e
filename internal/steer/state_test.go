// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"slices"
	"testing"
	"time"
)

// moments decides on a metric, load, and a state, health.
type moments struct {
	policy       Policy
	d            Decision
	load, health Signal
}

func second(s float64) time.Time { return start().Add(time.Duration(s * float64(time.Second))) }

func (m *moments) evaluate(at float64, values ...float64) {
	m.load = Signal{At: second(at), Expires: second(at + 60), Values: values}
}

func (m *moments) state(at float64, values ...float64) {
	m.health = Signal{At: second(at), Values: values}
}

func (m *moments) decide(at float64, states string) string {
	m.d = Decide(Pool{Members: members(states), Policy: m.policy}, map[string]Signal{"load": m.load, "health": m.health}, m.d, second(at))
	return show(m.d)
}

func healthAndLoad(t *testing.T, g Guards) *moments {
	return &moments{policy: Policy{Guards: g, Rules: []Rule{
		{Signal: "health", Keep: mustBound(t, "> 0")}, {Signal: "load", Keep: mustBound(t, "< 8")},
	}}}
}

// TestStatesAreNoEvaluations: that a health check settles says nothing new of the metrics.
func TestStatesAreNoEvaluations(t *testing.T) {
	m := healthAndLoad(t, Defaults().Guards)
	m.state(0, 1, 1, 1, 1, 1)
	m.evaluate(0, 1, 1, 1, 1, 1)
	m.decide(0, "rrrrr")
	m.evaluate(5, 9, 1, 1, 1, 1)
	m.decide(5, "rrrrr")
	for i := range 5 {
		at := 5.1 + float64(i)/10
		m.state(at, 1, 1, 1, 1, 1)
		if got, want := m.decide(at, "rrrrr"), "+unconfirmed +within +within +within +within"; got != want {
			t.Errorf("health outcome %d: %s, want %s", i, got, want)
		}
		if !m.d.At.Equal(second(5)) {
			t.Errorf("health outcome %d: evaluated at %v", i, m.d.At)
		}
	}
}

// TestStepCountsEvaluations: MaxStep is of an evaluation, however many states turn meanwhile.
func TestStepCountsEvaluations(t *testing.T) {
	m := healthAndLoad(t, Guards{Votes: 1, MaxStep: 0.25})
	m.state(0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	m.evaluate(0, 1, 1, 9, 9, 9, 9, 9, 9, 9, 9)
	for i := range 4 {
		at := float64(i) / 10
		m.state(at, m.health.Values...)
		m.decide(at, "rrrrrrrrrr")
		if in := len(m.d.In()); in != 8 {
			t.Errorf("after %d health outcomes %d of 10 are in", i, in)
		}
	}
}

// TestStateOfTheFuture: a state from before the clock was set back does not hold up the metrics.
func TestStateOfTheFuture(t *testing.T) {
	m := healthAndLoad(t, Defaults().Guards)
	m.state(3600, 1, 1, 1)
	m.evaluate(0, 1, 1, 1)
	m.decide(0, "rrr")
	for i := 1; i <= 3; i++ {
		m.evaluate(float64(5*i), 9, 1, 1)
		m.decide(float64(5*i), "rrr")
	}
	if got, want := show(m.d), "-beyond +within +within"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestWeightOfAState: where there is no metric, weights go by states, each of which counts once.
func TestWeightOfAState(t *testing.T) {
	m := &moments{policy: Policy{Weight: Weight{By: WeightProportional, Signal: "health", Gain: 0.5}, Selection: Selection{Kind: SelectWeighted}}}
	m.state(0, 1, 1)
	for i, want := range []string{"50 50", "67 33", "67 33", "74 26"} {
		if i == 1 || i == 3 {
			m.state(float64(i), 4, 1)
		}
		if m.decide(float64(i), "rr"); shares(m.d) != want {
			t.Errorf("step %d: %s, want %s", i, shares(m.d), want)
		}
	}
}

// TestStateIsNotVotedOn: who is out because of a state returns with it, and its time out is no evidence of the metric.
func TestStateIsNotVotedOn(t *testing.T) {
	type at struct {
		health, load float64 // of the first member
		want         string  // of it
	}
	for name, steps := range map[string][]at{
		"returns at once":                      {{1, 1, "+within"}, {0, 1, "-beyond"}, {0, 1, "-beyond"}, {0, 1, "-beyond"}, {1, 1, "+within"}},
		"as the first evaluation":              {{0, 1, "-beyond"}, {1, 1, "+within"}},
		"one bad sample on return":             {{1, 1, "+within"}, {0, 1, "-beyond"}, {0, 1, "-beyond"}, {1, 9, "+unconfirmed"}, {1, 1, "+within"}},
		"one bad sample after return":          {{1, 1, "+within"}, {0, 1, "-beyond"}, {0, 1, "-beyond"}, {1, 1, "+within"}, {1, 9, "+unconfirmed"}, {1, 1, "+within"}},
		"the metric has agreed meanwhile":      {{1, 1, "+within"}, {0, 9, "-beyond"}, {0, 9, "-beyond"}, {1, 9, "-beyond"}, {1, 1, "-unconfirmed"}, {1, 1, "+within"}},
		"the metric had put it out beforehand": {{1, 1, "+within"}, {1, 9, "+unconfirmed"}, {1, 9, "-beyond"}, {0, 9, "-beyond"}, {1, 1, "-unconfirmed"}, {1, 1, "+within"}},
	} {
		m := healthAndLoad(t, Guards{Votes: 2, Of: 3})
		for i, s := range steps {
			now := float64(5 * i)
			m.state(now, s.health, 1, 1)
			m.evaluate(now, s.load, 1, 1)
			if got, want := m.decide(now, "rrr"), s.want+" +within +within"; got != want {
				t.Errorf("%s: step %d: %s, want %s", name, i, got, want)
			}
		}
	}
}

// TestNotReadyForAnInstant: it makes nobody forget what is known of the member.
func TestNotReadyForAnInstant(t *testing.T) {
	p := bounded(t, Guards{Hold: 20 * time.Second, HoldMax: time.Minute, Votes: 2}, "< 8")
	p.Weight, p.Selection.Kind = Weight{By: WeightProportional, Signal: "load", Gain: 0.5}, SelectWeighted
	m := &moments{policy: p}
	for i, s := range []struct {
		states string
		load   float64
		want   string
	}{
		{"rrr", 9, "-beyond"}, {"rrr", 1, "-unconfirmed"}, {"rrr", 1, "+within"}, // 20 s
		{"rrr", 9, "+unconfirmed"}, {"rrr", 9, "-beyond"}, // a relapse: 40 s
		{"nrr", 1, "-not-ready"}, {"rrr", 1, "-unconfirmed"}, {"rrr", 1, "-held"}, {"rrr", 1, "+within"},
	} {
		now := float64(10 * i)
		m.evaluate(now, s.load, 1, 1)
		if got, want := m.decide(now, s.states), s.want+" +within +within"; got != want {
			t.Errorf("step %d: %s, want %s", i, got, want)
		}
	}
	before := shares(m.d)
	m.decide(85, "nrr")
	if m.decide(86, "rrr"); shares(m.d) != before || before == "33 33 33" || m.d.Members[0].Memory.Relapses != 1 {
		t.Errorf("weights %s, before: %s; %+v", shares(m.d), before, m.d.Members[0].Memory)
	}
}

// TestSilenceLetsIn: without a signal all ready members are in, and who had been out returns as after any return.
func TestSilenceLetsIn(t *testing.T) {
	m := &moments{policy: bounded(t, Guards{Hold: 10 * time.Second, HoldMax: 10 * time.Minute}, "< 8")}
	m.evaluate(0, 9, 1)
	var got []string
	for _, at := range []float64{0, 60} {
		got = append(got, m.decide(at, "rr"))
	}
	m.evaluate(65, 9, 1)
	got = append(got, m.decide(65, "rr"))
	if want := []string{"-beyond +within", "+no-signal +no-signal", "-beyond +within"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if r := m.d.Members[0].Memory.Relapses; r != 1 {
		t.Errorf("%d relapses", r)
	}
}
