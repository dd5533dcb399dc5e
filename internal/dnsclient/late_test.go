// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// slow answers the n-th query after the n-th delay; a negative one is never. A caller that gives up gets its context's error.
type slow struct {
	delays  []time.Duration
	queries atomic.Int32
}

func (s *slow) Exchange(ctx context.Context, _ string, q *dns.Msg) (*dns.Msg, error) {
	n := int(s.queries.Add(1)) - 1
	delay := s.delays[min(n, len(s.delays)-1)]
	if delay < 0 {
		delay = 1000 * time.Hour
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m := new(dns.Msg).SetReply(q)
	records(0, fmt.Sprintf("a.test. 60 IN AAAA fd00::%d", n+1))(m)
	return m, nil
}

// Each lookup ends at the same instant, whatever comes later, and what comes later is told and not used.
func TestLateAnswers(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name    string
		cfg     Config
		delays  []time.Duration
		patient time.Duration // the caller's; 0 is for ever
		ends    time.Duration // the lookup, for the caller
		addr    string        // "" for a timeout
		late    time.Duration
		queries int
		again   int // queries of a second lookup, after all
	}{
		{"in time", Config{Timeout: 2 * s, Linger: s}, []time.Duration{s}, 0, s, "fd00::1", s, 1, 0},
		{"late", Config{Timeout: 2 * s, Linger: 5 * s}, []time.Duration{3 * s, 0}, 0, 2 * s, "", 3 * s, 1, 1},
		{"late, and nobody listens any more", Config{Timeout: 2 * s}, []time.Duration{3 * s, 0}, 0, 2 * s, "", 0, 1, 1},
		{"never", Config{Timeout: 2 * s, Linger: 5 * s}, []time.Duration{-1, 0}, 0, 2 * s, "", 0, 1, 1},
		{"the second attempt answers", Config{Timeout: s, Attempts: 3}, []time.Duration{-1, s / 2}, 0, 3 * s / 2, "fd00::2", 3 * s / 2, 2, 0},
		{"the first answers while the second asks", Config{Timeout: s, Attempts: 3}, []time.Duration{3 * s / 2, -1}, 0, 3 * s / 2, "fd00::1", 3 * s / 2, 2, 0},
		{"a deadline cuts the attempts", Config{Timeout: s, Attempts: 5, Deadline: 5 * s / 2, Linger: s}, []time.Duration{-1, -1, s, 0}, 0, 5 * s / 2, "", 3 * s, 3, 1},
		{"a deadline within the first attempt", Config{Timeout: 2 * s, Attempts: 5, Deadline: s, Linger: s}, []time.Duration{3 * s / 2, 0}, 0, s, "", 3 * s / 2, 1, 1},
		{"the caller gives up before the lookup: kept for the next", Config{Timeout: 3 * s}, []time.Duration{2 * s}, s, s, "", 2 * s, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &slow{delays: tt.delays}
				tt.cfg.Exchanger = x
				c := New(tt.cfg)
				ctx := t.Context()
				if tt.patient > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, tt.patient)
					defer cancel()
				}
				begin := time.Now()
				r, err := c.Lookup(ctx, "a.test", dns.TypeAAAA)
				if d := time.Since(begin); d != tt.ends {
					t.Errorf("ended after %v, want %v", d, tt.ends)
				}
				if tt.addr == "" && kind(err) != Timeout {
					t.Errorf("%+v, %v; want a timeout", r, err)
				}
				if tt.addr != "" && (err != nil || r.Addrs[0] != netip.MustParseAddr(tt.addr)) {
					t.Errorf("%+v, %v; want %s", r, err, tt.addr)
				}
				if len(r.Queries) != tt.queries {
					t.Errorf("queries %+v, want %d", r.Queries, tt.queries)
				}
				if late := r.Late(time.Minute); late != tt.late {
					t.Errorf("answered after %v, want %v", late, tt.late)
				}
				before := x.queries.Load()
				if _, err := c.Lookup(t.Context(), "a.test", dns.TypeAAAA); err != nil {
					t.Errorf("second lookup: %v", err)
				}
				if n := int(x.queries.Load() - before); n != tt.again {
					t.Errorf("the second lookup sent %d queries, want %d", n, tt.again)
				}
			})
		})
	}
}
