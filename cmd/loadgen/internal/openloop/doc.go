// SPDX-License-Identifier: Apache-2.0

// Package openloop sends requests when they are due, whatever became of those before.
//
// The rate comes from a pacer of github.com/tsenart/vegeta/v12/lib. Its attacker is not used:
// its Result holds one latency counted from the actual send, and neither the intended send, nor
// phases, nor the peer; its pacer waits for a worker when all are busy, which leaves the wait
// uncharged; its transport caches names for ever, walks addresses and retries on its own.
//
// Instead a Schedule asks the pacer with a virtual clock, which stands at the last intended send:
// the intended sends are a function of the pacer alone, without a gap, however late the process is.
// Loop waits for each (on a timerfd, which wakes within microseconds where Go's timers round to
// milliseconds), hands it to a free worker, and when the bound on requests in flight is reached
// drops it, which is counted. Latency is counted from the intended send by whoever executes it.
package openloop
