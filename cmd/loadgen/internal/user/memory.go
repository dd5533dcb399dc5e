// SPDX-License-Identifier: Apache-2.0

package user

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// memory is one user's of addresses that failed.
type memory struct {
	mu     sync.Mutex
	failed map[netip.Addr]time.Time // until when
}

// fail notes that an address failed at now and is to be tried last for a while.
func (m *memory) fail(a netip.Addr, now time.Time, length time.Duration) {
	if length <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed == nil {
		m.failed = map[netip.Addr]time.Time{}
	}
	for old, until := range m.failed { // few: what failed lately
		if !now.Before(until) {
			delete(m.failed, old)
		}
	}
	m.failed[a] = now.Add(length)
}

// forgive forgets that an address failed: it works again.
func (m *memory) forgive(a netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.failed, a)
}

// demote moves what failed lately behind the others, in place; within both the order stays.
func (m *memory) demote(addrs []netip.Addr, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.failed) == 0 {
		return
	}
	bad := func(a netip.Addr) int {
		if now.Before(m.failed[a]) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return bad(a) - bad(b) })
}
