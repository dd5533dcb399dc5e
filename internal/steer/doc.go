// SPDX-License-Identifier: Apache-2.0

// Package steer decides which members of a record pool are in the answer, with what weight, for how long it may be
// cached, and why. It is pure: members, signals, the previous decision and the time go in, a decision comes out. Identical
// input gives an identical decision on every replica, whatever the order of the members.
//
// What has the last word, from the first to the last:
//
//  1. Readiness. A member that is not ready, or is terminating, is out. When no member is ready, those that
//     still serve while terminating are the last resort before an empty answer.
//  2. The policy's rules, as far as their signals are live: each judges each ready member that has a value, and all must
//     keep it. A member that is out must satisfy what a rule says on the way back, which is the hysteresis.
//  3. Members without a value follow NoData.
//  4. Votes: enough evaluations must agree. Hold: a member keeps its verdict at least that long.
//  5. The minimum: when the rules call too few good, all ready members are in (fail open): spreading the load over all
//     is better than sending it to the few that the signals spared.
//  6. MaxStep and MaxOut: no more than this share is newly put out by one evaluation, and is out in all, the worst first.
//
// A signal that has expired is no signal: without any, the pool follows readiness alone.
//
// State moves with evaluations, by their instants. It is all in the decision, whose members carry their Memory: a replica
// that was not there comes to the same state by deciding on recorded signals. docs/steering.md has every rule with an
// example, and the stability of each in a closed loop.
package steer
