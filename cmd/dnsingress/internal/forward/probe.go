// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// probes are the names of probes that are under way, or were just now.
type probes struct {
	mu   sync.Mutex
	open map[string]*probe // by name in wire form
}

// probe is one question for a random name.
type probe struct {
	of   *upstream
	back atomic.Bool
}

// came takes note of a question that came in, and tells whether it is one of these.
func (p *probes) came(name string) bool {
	if len(name) <= probeLen || name[0] != byte(probeLen) || name[1:1+len(probeLabel)] != probeLabel {
		return false
	}
	p.mu.Lock()
	one := p.open[name]
	p.mu.Unlock()
	if one == nil {
		return false
	}
	one.back.Store(true)
	one.of.looped("a probe")
	return true
}

// watch probes a server until ctx ends.
func (p *probes) watch(ctx context.Context, r *relay, u *upstream) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-u.wake:
		}
		p.probe(ctx, r, u)
		every := r.zone.Health.Interval
		timer.Reset(every - every/10 + rand.N(every/5+1)) // those of many servers do not come together
		// What is amiss is asked after once between two probes by the clock.
		select {
		case <-ctx.Done():
			return
		case <-time.After(every / 4):
		}
	}
}

// probe asks a server for a name that does not exist. That it says so, or says anything that could be handed on, and that
// the question did not come back, makes it good.
func (p *probes) probe(ctx context.Context, r *relay, u *upstream) {
	name := newProbe(r.zone.Name)
	wire, err := wireName(name)
	if err != nil {
		u.bad(fmt.Errorf("naming a probe: %w", err), true) // Check rules it out
		return
	}
	one := &probe{of: u}
	p.mu.Lock()
	p.open[wire] = one
	p.mu.Unlock()
	// One that was delayed on the way may come back later than its answer.
	defer time.AfterFunc(2*u.timeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, wire)
	})
	m, err := u.ask(ctx, question{name: wire, qtype: dns.TypeA}, nil)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		_, err = trim(m, r.zone.Name, r.zone.MaxTTL)
	}
	switch {
	case one.back.Load():
	case err != nil:
		u.bad(err, true)
	default:
		u.good()
	}
}
