// SPDX-License-Identifier: Apache-2.0

// Package steer decides which members of a record pool are in the answer and why. It is pure: members,
// a signal, the previous decision and the time go in, a decision comes out. Identical input gives an
// identical decision on every replica, whatever the order of the members.
//
// The rules, in the order in which they have the last word:
//
//  1. Readiness. A member that is not ready, or is terminating, is out. When no member is ready, those that
//     still serve while terminating are the last resort before an empty answer.
//  2. The policy's bounds, when there is a live signal. A member that is in must satisfy Keep to stay; one
//     that is out must satisfy Readmit to return. The band between them is the hysteresis.
//  3. Members without a value follow NoData.
//  4. Hold: a member keeps its verdict at least that long. MaxStep: at most this share of the ready members
//     is newly put out by one signal, the worst first.
//  5. Min: when fewer than Min ready members would be left, all ready members are in (fail open): spreading
//     the load over all is better than sending it to the few that the metrics spared.
//
// A signal that has expired is no signal: the pool then follows readiness alone.
package steer
