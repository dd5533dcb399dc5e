// SPDX-License-Identifier: Apache-2.0

// Package scenario reads the files in experiments/: what is asked, of which systems, under which
// load and which faults, how often, and when a trial does not count.
package scenario

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Version is the version of the format that this package reads.
const Version = 1

// Scenario is one file in experiments/.
type Scenario struct {
	// Version of the format: 1.
	Version int `yaml:"version"`
	// Name of the experiment and of its directory in results/: lower-case letters, digits and hyphens.
	Name string `yaml:"name"`
	// Question that the experiment answers.
	Question string `yaml:"question"`
	// Hypothesis: the answer expected, stated before the run.
	Hypothesis string `yaml:"hypothesis"`
	// Seed of everything random: the order of trials, the faults' targets, the generators.
	Seed uint64 `yaml:"seed"`
	// Systems that are compared; each stands alone during its trials.
	Systems []string `yaml:"systems"`
	// Backend is the service behind every system.
	Backend Backend `yaml:"backend"`
	// DNS puts real resolvers and a delegation tree between the clients and dnsingress; without it the clients' node
	// resolvers ask dnsingress.
	DNS DNS `yaml:"dns"`
	// Load that the clients offer.
	Load Load `yaml:"load"`
	// Trials of each system: one entry a condition.
	Trials []Trials `yaml:"trials"`
	// Validity decides which trials count.
	Validity Validity `yaml:"validity"`
}

// Backend is the service behind every system.
type Backend struct {
	// Replicas is the number of its pods, spread over the workers. Default 6.
	Replicas int `yaml:"replicas"`
	// ResponseBytes is the size of a response body. Default 1024.
	ResponseBytes int64 `yaml:"response_bytes"`
	// ServiceTime that a request takes in the backend. Default 0s.
	ServiceTime time.Duration `yaml:"service_time"`
}

// Connections of a Load.
const (
	ConnectionNew       = "new"
	ConnectionKeepAlive = "keepalive"
)

// Load is an open loop: requests are sent at the instants that the rate gives, whatever came of those before.
type Load struct {
	// Rate in requests a second, constant, of all client nodes together; with DNS, of each trial, which has a node.
	Rate float64 `yaml:"rate"`
	// Connection is new (one a request) or keepalive.
	Connection string `yaml:"connection"`
	// Users simulated on each client node, each with its own DNS cache and connections. Default 20.
	Users int `yaml:"users"`
	// Timeout of a request, from its send. Default 1s.
	Timeout time.Duration `yaml:"timeout"`
	// Warmup is the time under load before the measured window; what happens in it is not counted. Default 3s.
	Warmup time.Duration `yaml:"warmup"`
}

// Trials is a condition under which every system is tried Count times.
type Trials struct {
	// Count of valid trials a system.
	Count int `yaml:"count"`
	// Window is the time that is measured.
	Window time.Duration `yaml:"window"`
	// Fault done in the window; without it the trials are steady.
	Fault *Fault `yaml:"fault"`
}

// Kind is results.KindSteady or results.KindFault's text.
func (t *Trials) Kind() string {
	if t.Fault == nil {
		return "steady"
	}
	return "fault"
}

// Condition is the level of the factor "fault": none, or the fault's kind.
func (t *Trials) Condition() string {
	if t.Fault == nil {
		return "none"
	}
	return t.Fault.Kind
}

// Fault is something broken at a known instant and held broken.
type Fault struct {
	// Kind of fault, e.g. pod-sigkill or node-power-cut.
	Kind string `yaml:"kind"`
	// At is the instant of the fault, counted from the start of the window.
	At time.Duration `yaml:"at"`
	// Hold is how long it lasts; it ends within the window.
	Hold time.Duration `yaml:"hold"`
}

// Validity holds the bounds that make a trial invalid, and how many invalid ones are repeated.
type Validity struct {
	// LagP99 is the largest 99th percentile of actual minus intended send. Default 10ms.
	LagP99 time.Duration `yaml:"lag_p99"`
	// GeneratorCPU is the largest CPU use of a load generator, in cores. Default 0.7.
	GeneratorCPU float64 `yaml:"generator_cpu"`
	// HostCPU is the largest busy share of a host's CPUs in the window. Default 0.9.
	HostCPU float64 `yaml:"host_cpu"`
	// Dropped is the largest share of intended requests that were never sent. Default 0.
	Dropped float64 `yaml:"dropped"`
	// Errors is the largest share of failed requests in a steady trial. Default 0.001.
	Errors float64 `yaml:"errors"`
	// ClockOffset is the largest offset between a node's clock and the orchestrator's. Default 10ms.
	ClockOffset time.Duration `yaml:"clock_offset"`
	// Repeats bounds how many invalid trials are repeated in all. Default 5.
	Repeats int `yaml:"repeats"`
}

// Vocabulary is what a scenario may name.
type Vocabulary struct {
	Systems []string
	Faults  []string

	Resolvers, Behaviours, Trees []string // the three factors of DNS
}

// Read reads the scenario in the file at path and checks it. The error holds everything that is
// wrong with it, each finding with its place.
func Read(path string, v Vocabulary) (*Scenario, []byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading scenario: %w", err)
	}
	s, err := Parse(path, data, v)
	return s, data, err
}

// Parse is Read for data that was read from the file called name.
func Parse(name string, data []byte, v Vocabulary) (*Scenario, error) {
	s := defaults()
	f := strictyaml.Decode(name, data, s)
	s.check(f, v)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

func defaults() *Scenario {
	return &Scenario{
		Backend: Backend{Replicas: 6, ResponseBytes: 1024},
		DNS:     DNS{TTL: 10 * time.Second, DelegationTTL: time.Minute, Cold: 3},
		Load:    Load{Users: 20, Timeout: time.Second, Warmup: 3 * time.Second},
		Validity: Validity{
			LagP99: 10 * time.Millisecond, GeneratorCPU: 0.7, HostCPU: 0.9,
			Errors: 0.001, ClockOffset: 10 * time.Millisecond, Repeats: 5,
		},
	}
}

// Conditions lists the levels of the factor "fault".
func (s *Scenario) Conditions() []string {
	out := make([]string, 0, len(s.Trials))
	for i := range s.Trials {
		out = append(out, s.Trials[i].Condition())
	}
	slices.Sort(out)
	return out
}
