// SPDX-License-Identifier: Apache-2.0

// Package replay tries a steering policy on recorded samples: what it would have decided, when, and how often the
// answers would have changed. The decisions are those of package steer, which also decides live.
//
// Samples come as CSV with the columns time, signal, pod (or address) and value, or as what Prometheus answers to
// /api/v1/query_range. Times are RFC 3339 or seconds since 1970.
package replay
