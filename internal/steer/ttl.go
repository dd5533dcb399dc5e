// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"math"
	"time"
)

const defaultChurnWindow = 10 * time.Minute

// cache gives the answers their TTLs.
func (w *work) cache() {
	w.d.TTL, w.d.TTLRule = w.pool.TTL, "pool"
	w.d.NegativeTTL, w.d.NegativeTTLRule = w.pool.NegativeTTL, "pool"
}

// churn is the number of changes that are remembered, decayed to now.
func (w *work) churn() float64 {
	if w.d.Changed.IsZero() {
		return 0
	}
	return w.d.Churn * math.Exp2(-w.now.Sub(w.d.Changed).Seconds()/w.policy.churnWindow().Seconds())
}

func (p *Policy) churnWindow() time.Duration {
	if p.ChurnWindow > 0 {
		return p.ChurnWindow
	}
	return defaultChurnWindow
}
