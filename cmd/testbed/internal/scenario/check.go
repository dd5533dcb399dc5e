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

// maxResponse is the most bytes of an answer.
const maxResponse = 1 << 30

// maxService is the longest service time: proxies' startup probes wait for an answer for 15 s (deploy/baselines).
const maxService = 10 * time.Second

// maxDrain is the longest that a pod serves on: whoever replaces pods waits a minute for them to be gone.
const maxDrain = 30 * time.Second

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
	if s.Form != "" && !slices.Contains(Forms(), s.Form) {
		f.Problem("form", strings.Join(Forms(), ", "), "unknown form %q", s.Form)
	}
	s.checkSystems(f, v.Systems)
	s.checkDNS(f, v)
	s.checkLoad(f)
	s.checkFactors(f, v)
	s.checkTrials(f, v)
	s.checkValidity(f)
	if f.Err() == nil { // what can be planned
		s.checkCells(f, v)
	}
}

// Forms lists those that a scenario may have.
func Forms() []string { return []string{"ci", "twin", "pi"} }

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
	if s.Backend.ResponseBytes < 0 || s.Backend.ResponseBytes > maxResponse {
		f.Problem("backend.response_bytes", "0 to 1073741824", "%d bytes", s.Backend.ResponseBytes)
	}
	if s.Backend.ServiceTime < 0 || s.Backend.ServiceTime > maxService {
		f.Problem("backend.service_time", "0s to "+maxService.String(), "duration %s", s.Backend.ServiceTime)
	}
	l := s.Load
	switch rates := s.LevelsOf(Rate); {
	case f.Has("load.rate") && len(rates) > 0:
		f.Problem("load.rate", "leave one out", "given here and as a factor")
	case !f.Has("load.rate") && (len(rates) > 0 || !s.needsRate()):
	case !(l.Rate > 0 && l.Rate <= 1e6):
		f.Problem("load.rate", "requests a second of all clients together, above 0", "rate %g", l.Rate)
	}
	if l.Workload != WorkloadHTTP && l.Workload != WorkloadDNS {
		f.Problem("load.workload", "http or dns", "unknown workload %q", l.Workload)
	}
	if l.Workload == WorkloadDNS {
		s.checkAccuracy(f)
	} else if len(s.LevelsOf(Connection)) == 0 && l.Connection != ConnectionNew && l.Connection != ConnectionKeepAlive {
		f.Problem("load.connection", "new or keepalive", "unknown connection mode %q", l.Connection)
	}
	if l.Users < 1 {
		f.Problem("load.users", "at least 1", "%d users", l.Users)
	}
	positive(f, "load.timeout", l.Timeout)
	if l.Warmup < 0 || l.Warmup > longest {
		f.Problem("load.warmup", "0s to "+longest.String(), "duration %s", l.Warmup)
	}
	if l.WarmupMost < 0 || l.WarmupMost > longest {
		f.Problem("load.warmup_most", "0s to "+longest.String(), "duration %s", l.WarmupMost)
	} else if l.WarmupMost > 0 && l.WarmupMost < leastSettling {
		f.Problem("load.warmup_most", "at least "+leastSettling.String()+": a shorter series does not show that it is stable", "duration %s", l.WarmupMost)
	}
	if s.Links != "" && !linkRate.MatchString(s.Links) {
		f.Problem("links", "such as 100mbit or 1gbit", "unknown rate %q", s.Links)
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
		{"validity.missing_scrapes", v.MissingScrapes, true},
	} {
		if !(share.value >= 0 && share.value <= 1) || share.value == 0 && !share.zero {
			f.Problem(share.path, "a share of 1", "%g", share.value)
		}
	}
	if v.Repeats < 0 {
		f.Problem("validity.repeats", "0 or more", "%d repeats", v.Repeats)
	}
}

// linkRate is what tc takes for a rate (tc(8), units), as far as anybody shapes a link to it.
var linkRate = regexp.MustCompile(`^[1-9][0-9]*(k|m|g)bit$`)

// leastSettling is the shortest run that can show that latency is stable: MSER-5 wants ten means, of half a second each.
const leastSettling = 6 * time.Second

// checkAccuracy checks what workload dns has.
func (s *Scenario) checkAccuracy(f *strictyaml.File) {
	if s.Load.Names < 1 || s.Load.Names > 10_000 {
		f.Problem("load.names", "1 to 10000", "%d names", s.Load.Names)
	}
	positive(f, "load.update_every", s.Load.UpdateEvery)
	if slices.Contains(s.Systems, "direct") {
		f.Problem("systems", "leave it out", "clients of direct ask no DNS, so that workload dns has nobody to ask")
	}
	if f.Has("dns") {
		f.Problem("load.workload", "http", "the section dns has its own workload")
	}
	for _, factor := range []Factor{Connection, ResponseBytes, TLS, Retry, ClientTTL, Services} {
		if len(s.LevelsOf(factor)) > 0 {
			f.Problem("load.workload", "leave the factor out", "queries have no %s", factor)
		}
	}
}

// needsRate says whether an entry has load of a given rate.
func (s *Scenario) needsRate() bool {
	return len(s.Trials) == 0 || slices.ContainsFunc(s.Trials, func(t Trials) bool { return t.loaded() })
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
