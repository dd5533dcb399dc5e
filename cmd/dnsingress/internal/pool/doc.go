// SPDX-License-Identifier: Apache-2.0

// Package pool is the control loop: pools from the sources, samples from Prometheus and outcomes of health checks go
// in, decisions are made by package steer, and what changed is published as zone changes.
//
//   - News of objects act at once; everything that has come in since the last step is taken in one piece.
//   - Samples act when they come, for the instant that they are of. A pool with several signals is decided when all that
//     are due at an instant have been heard, so that every replica decides on the same ones; a slow one is waited for no
//     longer than half an interval, and by no other pool.
//   - Pools that ask the same share the query, also when they write it in another way.
//   - A signal without news lives until its staleness budget ends. That holds for an evaluation that fails, for one that
//     names no pods, and for one that finds nothing any more, unless the expression is a filter as in `errors > 5`.
//   - Nothing is taken away because a source is silent: what was last heard stays.
//   - The zones are published first when all objects have been seen and every policy has had its first values, or
//     the wait for these has ended. Until then the server knows no zone and refuses, which sends resolvers elsewhere.
//   - Before that first publication, the decisions of the past are made again on what Prometheus has of it, so that who was
//     put out before a restart stays out after it, with the members that there are now.
package pool
