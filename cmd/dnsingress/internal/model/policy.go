// SPDX-License-Identifier: Apache-2.0

package model

import (
	"time"

	"github.com/dnsingress/dnsingress/internal/steer"
)

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

// Match names the labels by which a series belongs to a pod. Zero: `pod`, with `namespace` where the series has it,
// else the address in `address`, `ip`, `pod_ip` or `instance`.
type Match struct {
	Pod       string // label with the pod's name
	Namespace string // label with the pod's namespace; only with Pod; "": `namespace`
	Address   string // label with the pod's address, with or without a port; alone, or where Pod's label is empty
}

// HealthCheck asks every member of a pool itself how it does. To the rules it is one more signal: 1 for a member that
// is well, 0 for one that is not.
type HealthCheck struct {
	Name     string        // what rules call it; "": health
	Kind     string        // tcp, http, https, grpc or icmp
	Port     uint16        // not for icmp
	Path     string        // http and https: what is asked for; grpc: the service, "" for the whole server
	Host     string        // http and https: the Host header, and the name in the certificate; "": the address
	Interval time.Duration // between two checks of a member that is well; 0: the default
	Retry    time.Duration // between two checks of one that is not, or is about to change; 0: Interval
	Timeout  time.Duration // of one check; 0: the default
	Up       int           // successes in a row that make a member well; 0: 1
	Down     int           // failures in a row that make it unwell; 0: 3
}
