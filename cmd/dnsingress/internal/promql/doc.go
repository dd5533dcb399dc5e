// SPDX-License-Identifier: Apache-2.0

// Package promql asks Prometheus, or anything that speaks its HTTP API, for one value a pod.
//
// Every query has its own goroutine, so that a slow one delays no other. Its instants are multiples of its
// interval since the Unix epoch and are sent as query?time=, less a configured delay, so that all replicas read the
// same values; only the sending is jittered. With the first result comes what earlier instants would have given, by
// query_range. Of several servers the one that answered last is asked first; a query that one server cannot read is
// given to no other.
//
// What comes back is attributed to pods by the labels that the query's Match names; else by `pod` (with `namespace`,
// where the series has it), else by the address in `address`, `ip`, `pod_ip` or `instance` (with or without a port).
// Answers are read as they stream in, and a series that is written as in the answer before costs one comparison:
// 100,000 samples take some 12 ms.
package promql
