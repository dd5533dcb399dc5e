// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// BenchmarkDecide decides on 100 members after an evaluation.
func BenchmarkDecide(b *testing.B) {
	weighted := Defaults()
	weighted.Rules = []Rule{{Signal: "load", Keep: mustBound(b, "<= median + 5 * mad")}, {Signal: "errors", Keep: mustBound(b, "< 9")}}
	weighted.Weight, weighted.Selection.Kind = Weight{By: WeightBalance, Signal: "load"}, SelectWeighted
	weighted.TTL = TTL{Floor: 5 * time.Second, Ceiling: time.Minute, Rules: []TTLRule{{Kind: TTLLinear, Signal: "load", Low: 1, High: 9}, {Kind: TTLChurn}}}
	condition, ranks := Defaults(), Defaults()
	condition.Rules = []Rule{{KeepIf: mustExpr(b, "load < 2 * mean(load) and errors < 9")}}
	ranks.Rules = []Rule{{Signal: "load", Lowest: 80, Margin: 0.1}}
	for _, c := range []struct {
		name   string
		policy Policy
	}{
		{"readiness", Policy{}},
		{"bound", bounded(b, Defaults().Guards, "< 8", "< 6")},
		{"condition", condition},
		{"ranks", ranks},
		{"rules+weights+ttl", weighted},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			pool := Pool{Members: members(strings.Repeat("r", 100)), Policy: c.policy, TTL: 20 * time.Second}
			var rounds [8]map[string]Signal
			for i := range rounds {
				values, errors := make([]float64, 100), make([]float64, 100)
				for k := range values {
					values[k], errors[k] = 5+r.NormFloat64(), 10*r.Float64()
				}
				rounds[i] = map[string]Signal{"load": {Values: values}, "errors": {Values: errors}}
			}
			var d Decision
			now := start()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now = now.Add(5 * time.Second)
				s := rounds[i%len(rounds)]
				for _, name := range []string{"load", "errors"} {
					s[name] = Signal{At: now, Expires: now.Add(time.Minute), Values: s[name].Values}
				}
				d = Decide(pool, s, d, now)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5e9*1000*100, "%core/1000-pools@5s")
		})
	}
}
