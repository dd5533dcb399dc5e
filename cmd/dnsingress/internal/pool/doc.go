// SPDX-License-Identifier: Apache-2.0

// Package pool is the control loop: pools from the sources and samples from Prometheus go in, decisions are
// made by package steer, and what changed is published as zone changes.
//
//   - News of objects act at once; everything that has come in since the last step is taken in one piece.
//   - Samples act when they come. A signal without news lives until its staleness budget ends.
//   - Nothing is taken away because a source is silent: what was last heard stays.
//   - The zones are published first when all objects have been seen and every policy has had its first values, or
//     the wait for these has ended. Until then the server knows no zone and refuses, which sends resolvers elsewhere.
package pool
