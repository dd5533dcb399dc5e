// SPDX-License-Identifier: Apache-2.0

// Package kube turns Kubernetes objects into the model's pools. It is the only package that knows Kubernetes.
//
// # What is published
//
// A Service that carries a hostname annotation has the addresses of its ready endpoints published under that
// name: AAAA for IPv6, A for IPv4. Endpoints come from its EndpointSlices; one that is not ready or is
// terminating leaves at once, without waiting for any interval.
//
// # Annotations under the hostname prefixes
//
// The prefixes are configured; by default external-dns.kubernetes.io/ and external-dns.alpha.kubernetes.io/.
//
//   - hostname: the names, comma-separated. "*.apps.example.org" is a wildcard (RFC 4592).
//   - ttl: of the answers, in seconds or as a duration ("60", "1m").
//   - controller: where this is set to anything but dns-controller, the object is somebody else's.
//
// # Annotations under the policy prefix
//
// The prefix is configured; by default dnsingress.dev/. Without promql, readiness alone decides.
//
//   - promql: an expression that gives one sample a pod: an instant vector whose series have the label pod (and
//     namespace, where they have it) or the pod's address in a label address, ip, pod_ip or instance.
//   - keep: what a pod's value must satisfy to stay in the answers; required with promql. An operator
//     (< <= > >=) and a limit: "< 8", or relative to the pool: "< 1.5 * mean", "<= median + 3 * mad".
//     Statistics: mean, median, stddev, mad, p0 to p100, over the ready pods that have a value.
//   - readmit: what a pod that was put out must satisfy to return, stricter than keep. Default: keep.
//   - interval: between evaluations, at least 1s. Default: the configured one.
//   - min-members, min-share: ready pods, at least 1, and the share of them, "25%" or "0.25", that are always
//     left. When the metric says that fewer are good, all ready pods are in. Defaults: 1 and 50%.
//   - no-data: what becomes of ready pods for which the metric has no value: keep (as they were, for as long as a
//     value lives), drop, or readiness (in). Default: keep.
//   - votes: evaluations in a row that must agree before a pod leaves or returns. Default: 3.
//   - hold: the shortest time between leaving and returning, and back. Default: 30s. A pod that leaves again
//     within hold-max of its return stays out twice as long each time, up to hold-max. Default: 10m.
//   - max-step, max-out: the share of the ready pods that one evaluation may newly put out, and that may be out
//     at a time, at least one pod each. Defaults: 25% and 20%.
//   - max-answers: addresses in one answer, 0 for all (2000 at most, which a message can hold). Default: the zone's.
//
// A policy that cannot be read changes nothing: the last good one stays in force, and an event says so.
//
// # SteeringPolicies
//
// A SteeringPolicy (api/v1alpha1; package policy says what is read) is on Services of its namespace, by their names or
// by host names that they publish. It goes before the Service's own policy annotations, which then count for nothing.
// Of two on one Service the older one has it, then the one whose name comes first; an invalid one keeps what it has,
// and the last good policy stays in force.
//
// Its status has the conditions Accepted and Applied, and what became of it at each target. Every replica comes to the
// same status; each writes after a random wait, only what is other than what it has read, and only over that. Where the
// API server does not know the kind, annotations count alone until it does, and one line of the log says so.
//
// # Reports
//
// What is wrong with a Service is logged once and recorded as a warning event on it. The event's name is
// derived from its content, so that replicas, which all see the same, write it once.
package kube
