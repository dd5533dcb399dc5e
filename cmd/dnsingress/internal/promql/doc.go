// SPDX-License-Identifier: Apache-2.0

// Package promql asks Prometheus, or anything that speaks its HTTP API, for one value a pod.
//
// Every query has its own goroutine, so that a slow one delays no other. Its instants are multiples of its
// interval since the Unix epoch and are sent as query?time=, so that all replicas read the same values; only
// the sending is jittered. What comes back is attributed to pods by label: `pod` (with `namespace`, where the
// series has it), else the address in `address`, `ip`, `pod_ip` or `instance` (with or without a port).
package promql
