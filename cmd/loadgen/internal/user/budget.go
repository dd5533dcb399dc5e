// SPDX-License-Identifier: Apache-2.0

package user

import (
	"math/rand/v2"
	"sync"
	"time"
)

// maxDoublings bounds the wait before an attempt to about a thousand times the first.
const maxDoublings = 10

// maxSaved is how many retries a budget keeps for later.
const maxSaved = 10

// budget allows retries in proportion to requests, so that a service in trouble does not get a
// multiple of its load: a token bucket, as gRPC's retry throttling and Finagle's budgets are.
type budget struct {
	share float64 // of a retry that each request earns; 0 is no bound

	mu    sync.Mutex
	saved float64
}

// earn takes note of a request.
func (b *budget) earn() {
	if b.share == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.saved = min(b.saved+b.share, maxSaved)
}

// spend reports whether a retry may be made.
func (b *budget) spend() bool {
	if b.share == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.saved < 1-1e-9 { // ten tenths are one
		return false
	}
	b.saved = max(0, b.saved-1)
	return true
}

// wait returns how long to wait before attempt n (1 is the second): exponential, with full jitter.
func wait(base time.Duration, n int, rng *rand.Rand) time.Duration {
	if base <= 0 {
		return 0
	}
	return time.Duration(rng.Float64() * float64(base<<min(n-1, maxDoublings)))
}
