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
	// Form says what it is meant for: ci (minutes), twin (a part of the cells), or pi (every cell, on hardware). Optional.
	Form string `yaml:"form"`
	// Systems that are compared; each stands alone during its trials.
	Systems []string `yaml:"systems"`
	// Factors that are crossed with systems and trials.
	Factors Factors `yaml:"factors"`
	// Pairs are tables of factors that vary together.
	Pairs []Pair `yaml:"pairs"`
	// Backend is the service behind every system.
	Backend Backend `yaml:"backend"`
	// DNS puts real resolvers and a delegation tree between the clients and dnsingress; without it the clients' node
	// resolvers ask dnsingress.
	DNS DNS `yaml:"dns"`
	// Load that the clients offer.
	Load Load `yaml:"load"`
	// Links is the rate, such as 100mbit, to which the link of every worker is shaped during the run. Default: as it is.
	Links string `yaml:"links"`
	// Trials of each cell: one entry a condition.
	Trials []Trials `yaml:"trials"`
	// Validity decides which trials count.
	Validity Validity `yaml:"validity"`

	vocabulary Vocabulary
}

// Backend is the service behind every system.
type Backend struct {
	// Replicas is the number of its pods, spread over the workers. Default 6.
	Replicas int `yaml:"replicas"`
	// ResponseBytes is the size of a response body. Default 1024.
	ResponseBytes int64 `yaml:"response_bytes"`
	// ServiceTime that a request takes in the backend, at most 10s. Default 0s.
	ServiceTime time.Duration `yaml:"service_time"`
}

// Connections of a Load.
const (
	ConnectionNew       = "new"
	ConnectionKeepAlive = "keepalive"
)

// Workloads of a Load.
const (
	WorkloadHTTP = "http"
	WorkloadDNS  = "dns"
)

// Load is an open loop: requests are sent at the instants that the rate gives, whatever came of those before.
type Load struct {
	// Workload is http, or dns: queries for names that the run makes and changes in the cluster, whose answers are held against
	// what is true. Default http.
	Workload string `yaml:"workload"`
	// Rate in requests a second, constant, of all client nodes together; with DNS, of each trial, which has a node.
	Rate float64 `yaml:"rate"`
	// Connection is new (one a request) or keepalive.
	Connection string `yaml:"connection"`
	// Users simulated on each client node, each with its own DNS cache and connections. Default 20.
	Users int `yaml:"users"`
	// Timeout of a request, from its send. Default 1s.
	Timeout time.Duration `yaml:"timeout"`
	// Warmup is the time under load before the measured window; what happens in it is not counted. Where something is broken or
	// replaced it takes up to a TTL more, drawn by the seed, so that caches are of any age when that happens. Default 3s.
	Warmup time.Duration `yaml:"warmup"`
	// WarmupMost has load run beforehand until its latency is stable (MSER-5), at most so long; a trial in which it is not stable
	// by then is invalid. Default: no such run.
	WarmupMost time.Duration `yaml:"warmup_most"`
	// Names that workload dns makes and asks for. Default 20.
	Names int `yaml:"names"`
	// UpdateEvery is the time between two changes of a name in workload dns. Default 10s.
	UpdateEvery time.Duration `yaml:"update_every"`
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
	// MissingScrapes is the largest share of Prometheus' scrapes in the window that failed or are missing. Default 0.
	MissingScrapes float64 `yaml:"missing_scrapes"`
	// Throttled allows nodes whose CPUs were throttled in the window, by heat or by their power supply. Default false.
	Throttled bool `yaml:"throttled"`
	// LowerBounds lets a find_max trial count whose rate the generators limited, not the system, as where both share CPUs: what it
	// found is a lower bound then. Default false.
	LowerBounds bool `yaml:"lower_bounds"`
	// Repeats bounds how many invalid trials are repeated in all. Default 5.
	Repeats int `yaml:"repeats"`
}

// Vocabulary is what a scenario may name, and what is known of it.
type Vocabulary struct {
	Systems []string
	Faults  []string

	Resolvers, Behaviours, Trees []string // the three factors of DNS

	// Levels of those factors whose levels have names.
	Levels map[Factor][]string
	// Means says whether a system differs by a factor; nil: each does by all.
	Means func(system string, f Factor) bool
	// Fits says why a system cannot stand as a cell wants it; nil: each can.
	Fits func(system string, setup Setup) error
	// Strikes says why a fault cannot be done while these systems stand; nil: each can.
	Strikes func(f Fault, systems []string) error
	// Hits says why a fault cannot be done while a system stands as a cell wants it; nil: each can.
	Hits func(f Fault, setup Setup) error
	// Workers and Clients are how many nodes of these groups the inventory has; 0: it is not known.
	Workers, Clients int
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
	s.vocabulary = v
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
		Load:    Load{Workload: WorkloadHTTP, Users: 20, Timeout: time.Second, Warmup: 3 * time.Second, Names: 20, UpdateEvery: 10 * time.Second},
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
	return slices.Compact(out)
}
