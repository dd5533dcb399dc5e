// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

var name = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// minRequests is the least number of requests in a window that says anything about a distribution.
const minRequests = 100

// longest bounds a window and a warm-up; a longer one is a slip of the pen.
const longest = time.Hour

// check notes everything that is wrong with what the file says.
func (s *Scenario) check(f *strictyaml.File, v Vocabulary) {
	if s.Version != Version {
		f.Problem("version", fmt.Sprintf("this program reads version %d", Version), "version %d", s.Version)
	}
	if !name.MatchString(s.Name) {
		f.Problem("name", "lower-case letters, digits and hyphens", "bad name %q", s.Name)
	}
	for _, text := range []struct{ path, value string }{{"question", s.Question}, {"hypothesis", s.Hypothesis}} {
		if strings.TrimSpace(text.value) == "" {
			f.Problem(text.path, "state it before the run", "missing")
		}
	}
	s.checkSystems(f, v.Systems)
	s.checkDNS(f, v)
	s.checkLoad(f)
	s.checkTrials(f, v.Faults)
	s.checkValidity(f)
}

func (s *Scenario) checkSystems(f *strictyaml.File, known []string) {
	if len(s.Systems) == 0 {
		f.Problem("systems", "known: "+strings.Join(known, ", "), "no system")
	}
	for i, system := range s.Systems {
		path := fmt.Sprintf("systems[%d]", i)
		if !slices.Contains(known, system) {
			f.Problem(path, "known: "+strings.Join(known, ", "), "unknown system %q", system)
		}
		if slices.Contains(s.Systems[:i], system) {
			f.Problem(path, "", "system %q given twice", system)
		}
	}
}

func (s *Scenario) checkLoad(f *strictyaml.File) {
	if s.Backend.Replicas < 1 {
		f.Problem("backend.replicas", "at least 1", "%d replicas", s.Backend.Replicas)
	}
	if s.Backend.ResponseBytes < 0 || s.Backend.ResponseBytes > 1<<30 {
		f.Problem("backend.response_bytes", "0 to 1073741824", "%d bytes", s.Backend.ResponseBytes)
	}
	if s.Backend.ServiceTime < 0 {
		f.Problem("backend.service_time", "", "negative duration %s", s.Backend.ServiceTime)
	}
	l := s.Load
	if !(l.Rate > 0 && l.Rate <= 1e6) {
		f.Problem("load.rate", "requests a second of all clients together, above 0", "rate %g", l.Rate)
	}
	if l.Connection != ConnectionNew && l.Connection != ConnectionKeepAlive {
		f.Problem("load.connection", "new or keepalive", "unknown connection mode %q", l.Connection)
	}
	if l.Users < 1 {
		f.Problem("load.users", "at least 1", "%d users", l.Users)
	}
	positive(f, "load.timeout", l.Timeout)
	if l.Warmup < 0 || l.Warmup > longest {
		f.Problem("load.warmup", "0s to "+longest.String(), "duration %s", l.Warmup)
	}
	// A request that its own timeout ends can never succeed.
	if l.Timeout > 0 && s.Backend.ServiceTime >= l.Timeout {
		f.Problem("backend.service_time", "shorter than load.timeout", "%s, but a request times out after %s", s.Backend.ServiceTime, l.Timeout)
	}
	// Little's law: rate × service time requests are in flight at least.
	if busy := l.Rate * s.Backend.ServiceTime.Seconds(); l.Connection == ConnectionKeepAlive && l.Users > 0 && busy > float64(l.Users) {
		f.Problem("load.rate", "lower the rate or the service time, or add users",
			"%g requests/s of %s each keep %.0f connections busy, but there are %d users", l.Rate, s.Backend.ServiceTime, busy, l.Users)
	}
}

func (s *Scenario) checkTrials(f *strictyaml.File, known []string) {
	if len(s.Trials) == 0 {
		f.Problem("trials", "such as - {count: 3, window: 10s}", "no trials")
	}
	seen := map[string]bool{}
	for i, t := range s.Trials {
		path := fmt.Sprintf("trials[%d]", i)
		if t.Count < 1 || t.Count > 500 {
			f.Problem(path+".count", "1 to 500", "%d trials", t.Count)
		}
		positive(f, path+".window", t.Window)
		if t.Window > longest {
			f.Problem(path+".window", "at most "+longest.String(), "duration %s", t.Window)
		}
		if n := s.Load.Rate * t.Window.Seconds(); t.Window > 0 && s.Load.Rate > 0 && n < minRequests {
			f.Problem(path+".window", "a longer window or a higher load.rate",
				"%g requests/s for %s are %.0f requests, fewer than %d", s.Load.Rate, t.Window, n, minRequests)
		}
		if c := t.Condition(); seen[c] {
			f.Problem(path, "raise the count of the other", "a second entry with the same condition (fault %s)", c)
		} else {
			seen[c] = true
		}
		if t.Fault != nil {
			checkFault(f, path+".fault", t, known)
		}
	}
}

func checkFault(f *strictyaml.File, path string, t Trials, known []string) {
	if !slices.Contains(known, t.Fault.Kind) {
		f.Problem(path+".kind", "known: "+strings.Join(known, ", "), "unknown fault kind %q", t.Fault.Kind)
	}
	positive(f, path+".at", t.Fault.At)
	positive(f, path+".hold", t.Fault.Hold)
	switch {
	case t.Window <= 0:
	case t.Fault.At >= t.Window:
		f.Problem(path+".at", "counted from the start of the window", "the fault begins at %s, but the window ends at %s", t.Fault.At, t.Window)
	case t.Fault.At+t.Fault.Hold > t.Window:
		f.Problem(path+".hold", "at + hold within the window", "the fault ends at %s, but the window ends at %s", t.Fault.At+t.Fault.Hold, t.Window)
	}
}

func (s *Scenario) checkValidity(f *strictyaml.File) {
	v := s.Validity
	positive(f, "validity.lag_p99", v.LagP99)
	positive(f, "validity.clock_offset", v.ClockOffset)
	for _, share := range []struct {
		path  string
		value float64
		zero  bool
	}{
		{"validity.generator_cpu", v.GeneratorCPU, false},
		{"validity.host_cpu", v.HostCPU, false},
		{"validity.dropped", v.Dropped, true},
		{"validity.errors", v.Errors, true},
	} {
		if !(share.value >= 0 && share.value <= 1) || share.value == 0 && !share.zero {
			f.Problem(share.path, "a share of 1", "%g", share.value)
		}
	}
	if v.Repeats < 0 {
		f.Problem("validity.repeats", "0 or more", "%d repeats", v.Repeats)
	}
}

func positive(f *strictyaml.File, path string, d time.Duration) {
	switch {
	case d > 0:
	case !f.Has(path):
		f.Problem(path, "a duration such as 10s", "missing")
	default:
		f.Problem(path, "above 0s", "duration %s", d)
	}
}
