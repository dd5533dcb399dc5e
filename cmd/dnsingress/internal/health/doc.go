// SPDX-License-Identifier: Apache-2.0

// Package health asks the members of pools how they are: over TCP, HTTP, HTTPS, gRPC (grpc.health.v1) and ICMP
// echo, IPv6 and IPv4. What it finds is one more signal for steering, not a verdict: see model.HealthCheck.
//
// A member's state turns after Up or Down outcomes in a row. A new member's first success settles it at once;
// until its first success or its Down-th failure nothing is known of it. A healthy member is asked each Interval,
// one that is unhealthy, unknown or about to turn each UnhealthyInterval; both are jittered by a tenth, so that
// replicas and members spread out. Checks run concurrently up to a bound; beyond it they are late, never lost,
// and dnsingress_health_check_delay_seconds shows how late.
//
// Every check opens its own connection, because it is to find out whether a new client would be served. Each
// replica asks for itself, so that for a short while two replicas may know different things.
package health
