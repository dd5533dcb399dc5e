// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// world is the loop that steering closes: clients cache an answer for its TTL, load follows the answers, and a metric of
// the load, averaged and late, decides on the next answers. Its time goes in seconds.
type world struct {
	capacity []float64 // of each member, in units of demand
	rest     []float64 // each member's latency at rest, in seconds
	demand   float64   // of all clients together
	policy   Policy
	ttl      time.Duration

	clients    []client
	random     *rand.Rand
	loads      [][]float64 // utilisation of each member, for the last seconds
	decision   Decision
	usage      [][]float64 // utilisation of each member, in each second that was measured
	changes    int         // of members, while it was measured
	shift      float64     // of weight
	ttls       []float64
	ttlChanges int
	from, till int // seconds that are measured
}

type client struct {
	part     float64 // of the demand
	stubborn bool    // keeps an answer for at least half a minute, as some run-times do
	member   int
	expires  int
}

const (
	worldClients  = 1000
	evaluateEvery = 5  // seconds
	averageOver   = 15 // seconds, as of rate(...[15s])
	scrapeDelay   = 5  // seconds
	worldTTL      = 20 * time.Second
)

func newWorld(members int, policy Policy) *world {
	w := &world{
		capacity: make([]float64, members), rest: make([]float64, members), demand: 0.6 * float64(members), policy: policy,
		ttl: worldTTL, random: rand.New(rand.NewPCG(1, 2)), from: 10 * 60, till: 40 * 60,
	}
	for i := range members {
		w.capacity[i], w.rest[i] = 1, 0.01
	}
	sum := 0.0
	for range worldClients {
		part := 1 / (1 + 9*w.random.Float64()) // resolvers differ: some stand for ten times as many users
		sum += part
		w.clients = append(w.clients, client{part: part, stubborn: w.random.IntN(10) == 0})
	}
	for i := range w.clients {
		w.clients[i].part /= sum
		w.clients[i].expires = w.random.IntN(int(worldTTL / time.Second)) // they do not begin together
	}
	return w
}

func (w *world) run() {
	n := len(w.capacity)
	w.decide(0)
	for i := range w.clients {
		w.clients[i].member = w.random.IntN(n)
	}
	w.usage = make([][]float64, n)
	due := make([][]int, w.till+int(time.Minute/time.Second)*2) // clients by the second in which their answers expire
	share := make([]float64, n)                                 // of the clients, by member
	for i, c := range w.clients {
		due[c.expires] = append(due[c.expires], i)
		share[c.member] += c.part
	}
	for second := range w.till {
		if second > 0 && second%evaluateEvery == 0 {
			w.decide(second)
		}
		for _, i := range due[second] {
			c := &w.clients[i]
			share[c.member] -= c.part
			c.member = w.pick()
			share[c.member] += c.part
			ttl := int(w.decision.TTL / time.Second)
			if c.stubborn {
				ttl = max(ttl, 30)
			}
			due[second+max(1, ttl)] = append(due[second+max(1, ttl)], i)
		}
		usage := make([]float64, n)
		for i := range usage {
			usage[i] = (0.95 + 0.1*w.random.Float64()) * share[i] * w.demand / w.capacity[i]
		}
		w.loads = append(w.loads, usage)
		if second >= w.from {
			for i, u := range usage {
				w.usage[i] = append(w.usage[i], u)
			}
		}
	}
}

// pick is one lookup by a client that uses one address: every member that is in, as often as its weight says.
func (w *world) pick() int {
	at := w.random.Float64()
	last := 0
	for i := range w.decision.Members {
		if v := &w.decision.Members[i]; v.In {
			last = i
			if at -= v.Weight; at < 0 {
				break
			}
		}
	}
	return last
}

// decide evaluates the metrics as they were a scrape ago.
func (w *world) decide(second int) {
	now := start().Add(time.Duration(second) * time.Second)
	n := len(w.capacity)
	usage, latency := make([]float64, n), make([]float64, n)
	for i := range n {
		usage[i], latency[i] = math.NaN(), math.NaN()
		if till := second - scrapeDelay; till > 0 {
			sum, from := 0.0, max(0, till-averageOver)
			for _, u := range w.loads[from:till] {
				sum += u[i]
			}
			usage[i] = sum / float64(till-from)
			latency[i] = w.rest[i] / max(0.05, 1-usage[i]) // a queue
		}
	}
	signals := map[string]Signal{
		"usage":   {At: now, Expires: now.Add(time.Minute), Values: usage},
		"latency": {At: now, Expires: now.Add(time.Minute), Values: latency},
	}
	states := make([]byte, n)
	for i := range states {
		states[i] = 'r'
	}
	next := Decide(Pool{Members: members(string(states)), Policy: w.policy, TTL: w.ttl}, signals, w.decision, now)
	if second >= w.from {
		for i := range next.Members {
			before, after := &w.decision.Members[i], &next.Members[i]
			if after.In != before.In {
				w.changes++
			}
			w.shift += math.Abs(after.Weight-before.Weight) / 2
		}
		w.ttls = append(w.ttls, next.TTL.Seconds())
		if next.TTL != w.decision.TTL {
			w.ttlChanges++
		}
	}
	w.decision = next
}

// outcome sums up what was measured.
func (w *world) outcome() outcome {
	minutes := float64(w.till-w.from) / 60
	o := outcome{
		churn: float64(w.changes) / float64(len(w.capacity)) / minutes, shift: w.shift / minutes,
		ttls: w.ttls, ttlChanges: float64(w.ttlChanges) / minutes,
	}
	o.amplitude, o.peak = w.amplitude()
	slices.Sort(o.ttls)
	return o
}

// amplitude is how far apart the 5th and the 95th percentile of a member's utilisation are over time, in the mean of the
// members; peak is the 95th percentile, over time, of the most utilised member. Both are of half-minute means, since a
// single answer to a great resolver is noise.
func (w *world) amplitude() (amplitude, peak float64) {
	var worst []float64
	for _, usage := range w.usage {
		var smooth []float64
		for i := 0; i+30 <= len(usage); i += 10 {
			smooth = append(smooth, mean(usage[i:i+30]))
		}
		if worst == nil {
			worst = make([]float64, len(smooth))
		}
		for i, u := range smooth {
			worst[i] = max(worst[i], u)
		}
		slices.Sort(smooth)
		amplitude += quantile(smooth, 0.95) - quantile(smooth, 0.05)
	}
	slices.Sort(worst)
	return amplitude / float64(len(w.usage)), quantile(worst, 0.95)
}

// scenes are what can be wrong with a pool of ten.
var scenes = []struct {
	name string
	set  func(w *world)
}{
	{"even", func(*world) {}},
	{"weak", func(w *world) { w.capacity[3] = 0.4 }},
	{"slow", func(w *world) { w.rest[3] = 0.1 }},
	{"full", func(w *world) { w.demand = 0.95 * float64(len(w.capacity)) }},
}

// outcome is what a policy does in a scene.
type outcome struct {
	churn           float64 // changes of membership, a member and minute
	shift           float64 // part of the weight that goes to other members, a minute
	amplitude, peak float64
	ttls            []float64 // sorted
	ttlChanges      float64   // a minute
}

// simulate runs every policy in every scene, all at once, and returns the outcomes scene by scene.
func simulate(t *testing.T, policies []Policy) [][]outcome {
	t.Helper()
	for _, p := range policies {
		if problems := p.Check([]string{"usage", "latency"}); problems != nil {
			t.Fatal(problems)
		}
	}
	outcomes := make([][]outcome, len(scenes))
	var group sync.WaitGroup
	for i, scene := range scenes {
		outcomes[i] = make([]outcome, len(policies))
		for k, p := range policies {
			group.Go(func() {
				w := newWorld(10, p)
				scene.set(w)
				w.run()
				outcomes[i][k] = w.outcome()
			})
		}
	}
	group.Wait()
	return outcomes
}

// TestStabilityOfRules compares each rule bare, with a band between out and in, and with the default guards.
func TestStabilityOfRules(t *testing.T) {
	bound := func(s string) Bound { return mustBound(t, s) }
	usage := func(keep, readmit string, over Over) Rule {
		return Rule{Signal: "usage", Keep: bound(keep), Readmit: bound(readmit), Over: over}
	}
	table := []struct {
		name  string
		rule  Rule // with its band
		ranks bool // somebody is always out, so that members take turns where the signal follows the load
	}{
		{"absolute: usage < 0.85", usage("< 0.85", "< 0.6", ""), false},
		{"relative: usage < 1.3 * mean", usage("< 1.3 * mean", "< mean", OverIn), false},
		{"relative: usage < 1.3 * median", usage("< 1.3 * median", "< median", OverIn), false},
		{"percentile: usage <= p90", usage("<= p90", "<= p70", ""), true},
		{"deviation: usage <= mean + 2.5 * stddev", usage("<= mean + 2.5 * stddev", "<= mean", ""), false},
		{"outlier: usage <= median + 5 * mad", usage("<= median + 5 * mad", "<= median", OverIn), false},
		{"relative: latency <= 3 * median", Rule{Signal: "latency", Keep: bound("<= 3 * median"), Readmit: bound("<= 2 * median")}, false},
		{"lowest 8 of usage", Rule{Signal: "usage", Lowest: 8, Margin: 0.2}, true},
		{"shed usage 0.7 to 1", Rule{Signal: "usage", Shed: &Watermarks{0.7, 1}}, false},
		{"expression: usage < 0.85 and latency < 3 * median(latency)", Rule{
			KeepIf:    mustExpr(t, "usage < 0.85 and latency < 3 * median(latency)"),
			ReadmitIf: mustExpr(t, "usage < 0.6 and latency < 2 * median(latency)"),
		}, false},
	}
	var policies []Policy
	for _, row := range table {
		plain := row.rule
		plain.Readmit, plain.ReadmitIf, plain.Margin = Bound{}, Expr{}, 0
		guarded := Defaults()
		guarded.Rules = []Rule{plain}
		policies = append(policies, Policy{Rules: []Rule{plain}}, Policy{Rules: []Rule{row.rule}}, guarded)
	}
	outcomes := simulate(t, policies)
	var out strings.Builder
	out.WriteString("| rule | scene | bare | | | with a band | | | default guards | | |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	out.WriteString("| | | changes | amplitude | peak | changes | amplitude | peak | changes | amplitude | peak |\n")
	for r, row := range table {
		for i, scene := range scenes {
			fmt.Fprintf(&out, "| %s | %s |", row.name, scene.name)
			of := outcomes[i][3*r : 3*r+3]
			for _, o := range of {
				fmt.Fprintf(&out, " %.2f | %.2f | %.2f |", o.churn, o.amplitude, o.peak)
			}
			out.WriteString("\n")
			bare, guarded := of[0], of[2]
			most := 0.05
			if row.ranks {
				most = 0.2
			}
			if guarded.churn > most {
				t.Errorf("%s, %s: with the default guards %.2f changes a member and minute, want at most %.2f", row.name, scene.name, guarded.churn, most)
			}
			if !row.ranks && guarded.peak > bare.peak*1.05 {
				t.Errorf("%s, %s: the default guards raise the peak from %.2f to %.2f", row.name, scene.name, bare.peak, guarded.peak)
			}
		}
	}
	// A loop that does not oscillate without guards would prove nothing.
	if weak, full := outcomes[1][0], outcomes[3][0]; weak.churn < 0.2 || full.churn < 1 {
		t.Errorf("bare bounds change %.2f and %.2f times a member and minute: the loop is not closed", weak.churn, full.churn)
	}
	tabulated(t, "rules", out.String())
}

// TestStabilityOfWeights compares each weight that follows the load at its full gain and at the default one.
func TestStabilityOfWeights(t *testing.T) {
	table := []struct {
		name   string
		weight Weight
	}{
		{"equal", Weight{}},
		{"inverse to usage", Weight{By: WeightInverse, Signal: "usage"}},
		{"shed usage 0.6 to 1.2", Weight{By: WeightShed, Signal: "usage", Shed: &Watermarks{0.6, 1.2}}},
		{"inverse to latency", Weight{By: WeightInverse, Signal: "latency"}},
		{"balance usage", Weight{By: WeightBalance, Signal: "usage"}},
	}
	var policies []Policy
	for _, row := range table {
		p := Defaults()
		p.Weight, p.Selection.Kind = row.weight, SelectWeighted
		policies = append(policies, p)
		p.Weight.Gain = 1
		policies = append(policies, p)
	}
	outcomes := simulate(t, policies)
	var out strings.Builder
	out.WriteString("| weight | scene | gain 100 % | | | default gain | | |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	out.WriteString("| | | shift | amplitude | peak | shift | amplitude | peak |\n")
	for r, row := range table {
		for i, scene := range scenes {
			tame, full := outcomes[i][2*r], outcomes[i][2*r+1]
			fmt.Fprintf(&out, "| %s | %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", row.name, scene.name,
				full.shift, full.amplitude, full.peak, tame.shift, tame.amplitude, tame.peak)
			if tame.churn != 0 {
				t.Errorf("%s, %s: a weight changes who is in", row.name, scene.name)
			}
			if tame.shift > 0.2 || tame.peak > outcomes[i][0].peak*1.1 {
				t.Errorf("%s, %s: with the default gain %.2f of the weight moves a minute and the peak is %.2f", row.name, scene.name, tame.shift, tame.peak)
			}
		}
	}
	// A loop that does not oscillate at full gain would prove nothing, and neither would weights that do not help.
	last := len(outcomes[0]) - 2
	if even := outcomes[0][last+1]; even.shift < 1 {
		t.Errorf("balance at full gain shifts %.2f a minute: the loop is not closed", even.shift)
	}
	if equal, balanced := outcomes[1][0].peak, outcomes[1][last].peak; balanced > 0.6*equal {
		t.Errorf("balancing changes a weak member's peak from %.2f to %.2f", equal, balanced)
	}
	tabulated(t, "weights", out.String())
}

// TestStabilityOfTTL plays the TTL rules under a rule that oscillates, and the same one with the default guards.
func TestStabilityOfTTL(t *testing.T) {
	table := []struct {
		name string
		ttl  TTL
	}{
		{"fixed 20s", TTL{}},
		{"linear in mean usage 0.5 to 1", TTL{Floor: 5 * time.Second, Ceiling: time.Minute, Rules: []TTLRule{{Kind: TTLLinear, Signal: "usage", Low: 0.5, High: 1}}}},
		{"exponential in p100 of usage 0.6 to 1.2", TTL{Floor: 5 * time.Second, Ceiling: time.Minute, Rules: []TTLRule{{Kind: TTLExponential, Signal: "usage", Of: "p100", Low: 0.6, High: 1.2}}}},
		{"steps in p100 of usage", TTL{Floor: 5 * time.Second, Ceiling: time.Minute, Rules: []TTLRule{{Kind: TTLSteps, Signal: "usage", Of: "p100", Steps: []Step{{0.8, 20 * time.Second}, {1, 5 * time.Second}}}}}},
		{"churn", TTL{Floor: 5 * time.Second, Ceiling: time.Minute, Rules: []TTLRule{{Kind: TTLChurn}}}},
		{"calm", TTL{Floor: 5 * time.Second, Ceiling: time.Minute, Rules: []TTLRule{{Kind: TTLCalm}}}},
	}
	rule := Rule{Signal: "usage", Keep: mustBound(t, "< 0.85")}
	var policies []Policy
	for _, row := range table {
		guarded := Defaults()
		guarded.Rules, guarded.TTL = []Rule{rule}, row.ttl
		policies = append(policies, Policy{Rules: []Rule{rule}, TTL: row.ttl}, guarded)
	}
	outcomes := simulate(t, policies)
	var out strings.Builder
	out.WriteString("| TTL | scene | bare rule | | | | default guards | | | |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	out.WriteString("| | | TTL p5–p50–p95 | its changes/min | member changes | peak | TTL p5–p50–p95 | its changes/min | member changes | peak |\n")
	for r, row := range table {
		for i, scene := range scenes {
			fmt.Fprintf(&out, "| %s | %s |", row.name, scene.name)
			for _, o := range outcomes[i][2*r : 2*r+2] {
				fmt.Fprintf(&out, " %.0f–%.0f–%.0f s | %.2f | %.2f | %.2f |", quantile(o.ttls, 0.05), quantile(o.ttls, 0.5), quantile(o.ttls, 0.95), o.ttlChanges, o.churn, o.peak)
				if len(row.ttl.Rules) > 0 && (o.ttls[0] < 5 || o.ttls[len(o.ttls)-1] > 60) {
					t.Errorf("%s, %s: TTLs of %v to %v s", row.name, scene.name, o.ttls[0], o.ttls[len(o.ttls)-1])
				}
			}
			out.WriteString("\n")
			// A longer TTL makes what chance has put together last longer.
			if guarded := outcomes[i][2*r+1]; guarded.churn > 0.12 {
				t.Errorf("%s, %s: with the default guards %.2f changes a member and minute, want at most 0.12", row.name, scene.name, guarded.churn)
			}
		}
	}
	tabulated(t, "ttl", out.String())
}
