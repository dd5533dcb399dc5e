// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/search"
)

// facts is what a verdict is reached from.
type facts struct {
	kind       string
	clients    []string // that should have generated load
	generators map[string]generator
	window     window // asked for
	outcome    outcome
	resources  []results.Resource
	missing    []string         // counters
	leftovers  []string         // of the last trial
	throttled  []string         // nodes, and by what
	scrapes    scrapes          // of Prometheus
	unsettled  time.Duration    // after which latency was not stable yet; 0: it was
	search     *search.Account  // of a find-max trial
	backends   int              // ready before the load
	replicas   int              // of the backend, asked for
	clocks     map[string]clock // by node and when it was asked
	fault      error            // that the fault met
	trial      error            // that ended the trial early
}

// window is a stretch of time in Unix nanoseconds, the end excluded.
type window struct{ start, end int64 }

// clock is a node's clock against the orchestrator's.
type clock struct{ offset, rtt time.Duration }

// generator is what generator.json holds.
type generator struct {
	results.Generator
	WindowStartNs int64 `json:"window_start_unix_ns"`
	WindowEndNs   int64 `json:"window_end_unix_ns"`
	Interrupted   bool  `json:"interrupted"`
}

// judge says whether a trial counts: all rules are asked, and each one broken is a reason.
func judge(v scenario.Validity, f *facts) results.Verdict {
	var reasons []string
	bad := func(format string, a ...any) { reasons = append(reasons, fmt.Sprintf(format, a...)) }
	if f.trial != nil {
		bad("the trial ended early: %v", f.trial)
		return results.Verdict{Reasons: reasons}
	}
	if f.fault != nil {
		bad("the fault: %v", f.fault)
	}
	for _, l := range f.leftovers {
		bad("left over from the last trial: %s", l)
	}
	for _, node := range f.throttled {
		if !v.Throttled {
			bad("CPUs were throttled on %s", node)
		}
	}
	if share := f.scrapes.share(); share > v.MissingScrapes {
		bad("%d of %d scrapes of Prometheus are missing or failed (%.1f %%), bound %.1f %%: %s", f.scrapes.missing, f.scrapes.expected,
			100*share, 100*v.MissingScrapes, strings.Join(f.scrapes.targets, ", "))
	}
	if f.unsettled > 0 {
		bad("latency was not stable after %s of warm-up", f.unsettled)
	}
	judgeSearch(v, f.search, bad)
	if f.backends != f.replicas {
		bad("%d of %d backend pods were ready before the load", f.backends, f.replicas)
	}
	for _, name := range f.clients {
		g, ok := f.generators[name]
		if !ok {
			bad("generator on %s: no account", name)
			continue
		}
		judgeGenerator(v, name, g, f.window, bad)
	}
	if f.outcome.requests == 0 {
		if f.kind != results.KindIdle {
			bad("no request in the window")
		}
	} else if share := float64(f.outcome.failed) / float64(f.outcome.requests); f.kind == results.KindSteady && share > v.Errors {
		bad("%d of %d requests failed (%.2f %%), bound %.2f %% for a steady trial", f.outcome.failed, f.outcome.requests, 100*share, 100*v.Errors)
	}
	for _, m := range f.missing {
		bad("missing counters: %s", m)
	}
	if f.kind != results.KindFindMax { // which looks for what a busy machine can do
		for _, o := range overloaded(f.resources, v.HostCPU) {
			bad("%s", o)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.clocks)) {
		// The true offset is within half the round trip of the measured one.
		if c := f.clocks[name]; c.offset.Abs() > v.ClockOffset+c.rtt/2 {
			bad("the clock of %s is off by %s (±%s), bound %s", name, c.offset, c.rtt/2, v.ClockOffset)
		}
	}
	return results.Verdict{Valid: len(reasons) == 0, Reasons: reasons}
}

// judgeSearch says what is wrong with a search: a rate that the generators limited says nothing of the system but that it can do more.
func judgeSearch(v scenario.Validity, a *search.Account, bad func(string, ...any)) {
	switch {
	case a == nil:
	case !a.Confirmed:
		bad("no rate was found that keeps the goal: %s", a.Why)
	case a.LimitedBy == search.Generator && !v.LowerBounds:
		bad("the generators, not the system, limited the rate: %s (hint: validity.lower_bounds takes it for a lower bound)", a.Why)
	}
}

func judgeGenerator(v scenario.Validity, name string, g generator, asked window, bad func(string, ...any)) {
	if g.Interrupted {
		bad("generator on %s: interrupted", name)
	}
	if got := (window{g.WindowStartNs, g.WindowEndNs}); got != asked {
		bad("generator on %s: measured the window %d to %d, not %d to %d", name, got.start, got.end, asked.start, asked.end)
	}
	if lag := time.Duration(g.LagP99Ns); lag > v.LagP99 {
		bad("generator on %s: 1 %% of requests were sent more than %s late, bound %s", name, lag.Round(time.Microsecond), v.LagP99)
	}
	if g.ElapsedNs > 0 {
		if cores := float64(g.CPUNs) / float64(g.ElapsedNs); cores > v.GeneratorCPU {
			bad("generator on %s: used %.2f cores, bound %.2f", name, cores, v.GeneratorCPU)
		}
	}
	if g.Requests > 0 {
		if share := float64(g.Dropped) / float64(g.Requests); share > v.Dropped {
			bad("generator on %s: %d of %d requests were never sent", name, g.Dropped, g.Requests)
		}
	}
}
