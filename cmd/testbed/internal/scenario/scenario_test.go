// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var vocabulary = Vocabulary{Systems: []string{"direct", "dnsingress", "nginx"}, Faults: []string{"pod-sigkill", "node-power-cut"}}

const good = `version: 1
name: small
question: Which?
hypothesis: This.
seed: 7
systems: [direct, dnsingress, nginx]
load: {rate: 100, connection: new}
trials:
  - {count: 3, window: 10s}
  - {count: 2, window: 20s, fault: {kind: pod-sigkill, at: 5s, hold: 10s}}
`

func TestGood(t *testing.T) {
	s, err := Parse("small.yaml", []byte(good), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	if s.Backend.Replicas != 6 || s.Load.Timeout != time.Second || s.Validity.GeneratorCPU != 0.7 {
		t.Errorf("defaults are not set: %+v", s)
	}
	if d := cmp.Diff([]string{"none", "pod-sigkill"}, s.Conditions()); d != "" {
		t.Error(d)
	}
}

func TestFindings(t *testing.T) {
	for name, test := range map[string]struct {
		old, new string
		want     []string
	}{
		"unknown key":        {"seed: 7", "sead: 7", []string{`s.yaml:5:1: unknown key "sead" (hint: did you mean "seed"?)`}},
		"version":            {"version: 1", "version: 2", []string{`s.yaml:1:10: version: version 2 (hint: this program reads version 1)`}},
		"name":               {"name: small", "name: ../etc", []string{`s.yaml:2:7: name: bad name "../etc" (hint: lower-case letters, digits and hyphens)`}},
		"no hypothesis":      {"hypothesis: This.\n", "", []string{`s.yaml:1:1: hypothesis: missing (hint: state it before the run)`}},
		"unknown system":     {"nginx]", "ngnix]", []string{`s.yaml:6:31: systems[2]: unknown system "ngnix" (hint: known: direct, dnsingress, nginx)`}},
		"system twice":       {"nginx]", "direct]", []string{`s.yaml:6:31: systems[2]: system "direct" given twice`}},
		"no rate":            {"rate: 100, ", "", []string{`s.yaml:7:7: load.rate: rate 0 (hint: requests a second of all clients together, above 0)`}},
		"rate is no number":  {"rate: 100", "rate: .nan", []string{`s.yaml:7:14: load.rate: rate NaN (hint: requests a second of all clients together, above 0)`}},
		"too few requests":   {"rate: 100", "rate: 9", []string{`s.yaml:9:24: trials[0].window: 9 requests/s for 10s are 90 requests, fewer than 100 (hint: a longer window or a higher load.rate)`}},
		"connection":         {"connection: new", "connection: both", []string{`s.yaml:7:31: load.connection: unknown connection mode "both" (hint: new or keepalive)`}},
		"zero window":        {"window: 10s", "window: 0s", []string{`s.yaml:9:24: trials[0].window: duration 0s (hint: above 0s)`}},
		"no window":          {", window: 10s", "", []string{`s.yaml:9:5: trials[0].window: missing (hint: a duration such as 10s)`}},
		"unknown fault":      {"kind: pod-sigkill", "kind: meteor", []string{`s.yaml:10:43: trials[1].fault.kind: unknown fault kind "meteor" (hint: known: pod-sigkill, node-power-cut)`}},
		"fault after window": {"at: 5s", "at: 20s", []string{`s.yaml:10:60: trials[1].fault.at: the fault begins at 20s, but the window ends at 20s (hint: counted from the start of the window)`}},
		"fault ends late":    {"hold: 10s", "hold: 16s", []string{`s.yaml:10:70: trials[1].fault.hold: the fault ends at 21s, but the window ends at 20s (hint: at + hold within the window)`}},
		"same condition":     {", fault: {kind: pod-sigkill, at: 5s, hold: 10s}", "", []string{`s.yaml:10:5: trials[1]: a second entry with the same condition (fault none) (hint: raise the count of the other)`}},
		"slow service": {
			"load: {rate: 100, connection: new}", "backend: {service_time: 11s}\nload: {rate: 100, connection: new, timeout: 20s}",
			[]string{`s.yaml:7:25: backend.service_time: duration 11s (hint: 0s to 10s)`},
		},
		"contradicting load": {
			"load: {rate: 100, connection: new}", "backend: {service_time: 300ms}\nload: {rate: 100, connection: keepalive}",
			[]string{`s.yaml:8:14: load.rate: 100 requests/s of 300ms each keep 30 connections busy, but there are 20 users (hint: lower the rate or the service time, or add users)`},
		},
		"all at once": {
			"systems: [direct, dnsingress, nginx]\nload: {rate: 100, connection: new}", "systems: []\nload: {rate: -1, users: 0, connection: new, timeout: 0s}\nvalidity: {errors: 2, colour: red}",
			[]string{
				`s.yaml:6:10: systems: no system (hint: known: direct, dnsingress, nginx)`,
				`s.yaml:7:14: load.rate: rate -1 (hint: requests a second of all clients together, above 0)`,
				`s.yaml:7:25: load.users: 0 users (hint: at least 1)`,
				`s.yaml:7:54: load.timeout: duration 0s (hint: above 0s)`,
				`s.yaml:8:20: validity.errors: 2 (hint: a share of 1)`,
				`s.yaml:8:23: validity: unknown key "colour" (hint: known: clock_offset, dropped, errors, generator_cpu, host_cpu, lag_p99, lower_bounds, missing_scrapes, repeats, throttled)`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := strings.Replace(good, test.old, test.new, 1)
			if in == good {
				t.Fatal("the test changes nothing")
			}
			_, err := Parse("s.yaml", []byte(in), vocabulary)
			if err == nil {
				t.Fatal("no error")
			}
			if d := cmp.Diff(test.want, strings.Split(err.Error(), "\n")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	s, err := Parse("small.yaml", []byte(good), vocabulary)
	if err != nil {
		t.Fatal(err)
	}
	order := s.Order()
	if d := cmp.Diff(order, s.Order()); d != "" {
		t.Error("two orders of one seed differ: ", d)
	}
	counts := map[string]int{}
	for _, c := range order {
		counts[c.System+" "+c.Condition()]++
	}
	want := map[string]int{
		"direct none": 3, "dnsingress none": 3, "nginx none": 3,
		"direct pod-sigkill": 2, "dnsingress pod-sigkill": 2, "nginx pod-sigkill": 2,
	}
	if d := cmp.Diff(want, counts); d != "" {
		t.Error(d)
	}
	for i := 0; i < len(order); i += len(s.Systems) {
		block, systems := order[i:i+len(s.Systems)], map[string]bool{}
		for _, c := range block {
			systems[c.System] = true
			if c.Trials != block[0].Trials {
				t.Errorf("block at %d mixes conditions", i)
			}
		}
		if len(systems) != len(s.Systems) {
			t.Errorf("block at %d lacks a system", i)
		}
	}
	other := *s
	other.Seed = 8
	if cmp.Equal(order, other.Order()) {
		t.Error("seeds 7 and 8 give the same order")
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../../../experiments/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		_, data, err := Read(path, vocabulary)
		if data == nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(good))
	f.Add([]byte(crossed))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("f.yaml", data, vocabulary)
		if err != nil {
			return
		}
		// What passes can be planned.
		trials := 0
		for i := range s.Trials {
			trials += s.Trials[i].Count * len(s.cells(&s.Trials[i]))
		}
		if n := len(s.Order()); n != trials || n == 0 || s.Estimate() <= 0 {
			t.Errorf("%d of %d trials ordered, estimate %s", n, trials, s.Estimate())
		}
	})
}
