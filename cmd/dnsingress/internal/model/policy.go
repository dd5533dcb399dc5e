// SPDX-License-Identifier: Apache-2.0

package model

import (
	"cmp"
	"time"

	"github.com/dnsingress/dnsingress/internal/steer"
)

// LeastInterval is the shortest time between two evaluations that a policy may ask for.
const LeastInterval = time.Second

// Policy steers a pool by named signals: metrics that Prometheus is asked for, and active health checks.
type Policy struct {
	Signals []Signal // names distinct
	Checks  []HealthCheck
	Steer   steer.Policy
}

// Signal is a PromQL expression that gives one sample a pod.
type Signal struct {
	Name      string // what rules call it; "" only where a policy has but one
	Query     string
	Interval  time.Duration // between evaluations; 0: the default
	Timeout   time.Duration // of one evaluation by one server; 0: the default
	Staleness time.Duration // how long the last values count when no new ones come; 0: the default
	Match     Match
}

// Life is how long values count when no new ones come, where the defaults are these. A signal that is evaluated seldom
// keeps its values until two evaluations in a row have failed.
func (s Signal) Life(interval, staleness time.Duration) time.Duration {
	return max(cmp.Or(s.Staleness, staleness), 2*cmp.Or(s.Interval, interval))
}

// Match names the labels by which a series belongs to a pod. Zero: `pod`, with `namespace` where the series has it,
// else the address in `address`, `ip`, `pod_ip` or `instance`.
type Match struct {
	Pod       string // label with the pod's name
	Namespace string // label with the pod's namespace; only with Pod; "": `namespace`
	Address   string // label with the pod's address, with or without a port; alone, or where Pod's label is empty
}

// Labels are those of which a series needs one, to be a pod's.
func (m Match) Labels() []string {
	if m == (Match{}) {
		return []string{"pod", "address", "ip", "pod_ip", "instance"}
	}
	var labels []string
	for _, l := range []string{m.Pod, m.Address} {
		if l != "" {
			labels = append(labels, l)
		}
	}
	return labels
}
