// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// draining is a pool of so many pods whose answers live for a minute.
func draining(n int, ttl uint32) *model.Pool {
	p := pool("web", "web.apps.test.", 0, n-1)
	p.TTL = &ttl
	return p
}

// without is the pool without one member; terminating is it with that member on its way out.
func without(p *model.Pool, i int) *model.Pool {
	q := *p
	q.Members = append(append([]model.Member{}, p.Members[:i]...), p.Members[i+1:]...)
	return &q
}

func terminating(p *model.Pool, i int) *model.Pool {
	q := *p
	q.Members = append([]model.Member{}, p.Members...)
	q.Members[i].Ready, q.Members[i].Terminating = false, true
	return &q
}

// after lets time pass in which nothing comes in.
func (b *bench) after(seconds int) {
	for range seconds {
		b.do(mail{})
	}
}

func TestPodsThatAreGoneEarly(t *testing.T) {
	const minute = 60
	for _, c := range []struct {
		name string
		do   func(b *bench, p *model.Pool)
		want string // in what is told; empty: nothing is
	}{
		{"lived on for the TTL", func(b *bench, p *model.Pool) {
			b.update(terminating(p, 1))
			b.after(minute)
			b.update(without(p, 1))
		}, ""},
		{"killed too soon", func(b *bench, p *model.Pool) {
			b.update(terminating(p, 1))
			b.after(minute / 2)
			b.update(without(p, 1))
		}, "pod web-1 (fd00::1) is gone too soon after it began to terminate: answers with its address are held for up to 1m0s"},
		{"gone without notice", func(b *bench, p *model.Pool) { b.update(without(p, 1)) }, "is gone without having begun to terminate"},
		{"terminating and gone at once", func(b *bench, p *model.Pool) {
			gone := without(p, 1)
			b.do(mail{updates: []model.Update{{Ref: p.Ref, Pool: terminating(p, 1)}, {Ref: p.Ref, Pool: gone}}})
		}, "too soon after it began to terminate"},
		{"not ready for long enough, then gone", func(b *bench, p *model.Pool) {
			q := terminating(p, 1)
			q.Members[1].Terminating = false
			b.update(q)
			b.after(minute)
			b.update(without(p, 1))
		}, ""},
		{"came back in between", func(b *bench, p *model.Pool) {
			b.update(terminating(p, 1))
			b.after(minute)
			b.update(p)
			b.update(without(p, 1))
		}, "without having begun"},
		{"the longest TTL counts, not the last", func(b *bench, p *model.Pool) {
			short := uint32(1)
			q := *p
			q.TTL = &short
			b.update(&q)
			b.update(terminating(&q, 1))
			b.after(minute / 2)
			b.update(without(&q, 1))
		}, "too soon after it began to terminate"},
		{"a shorter TTL, long enough ago", func(b *bench, p *model.Pool) {
			short := uint32(1)
			q := *p
			q.TTL = &short
			b.update(&q)
			b.after(minute)
			b.update(terminating(&q, 1))
			b.after(2)
			b.update(without(&q, 1))
		}, ""},
		{"no pod", func(b *bench, p *model.Pool) {
			q := *p
			q.Members = append([]model.Member{}, p.Members...)
			q.Ref.Name, q.Hosts, q.Members[1].Pod = "vm", []string{"vm.apps.test."}, ""
			b.update(&q)
			b.update(without(&q, 1))
		}, ""},
		{"a Service that is gone", func(b *bench, p *model.Pool) { b.remove(p) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			p := draining(3, minute)
			b.update(p)
			b.do(mail{synced: true})
			b.after(2)
			c.do(b, p)
			told := strings.Join(b.told, "\n")
			if c.want == "" && told != "" || !strings.Contains(told, c.want) {
				t.Errorf("told %q, want %q", told, c.want)
			}
			counted := testutil.ToFloat64(b.metrics.early.WithLabelValues("true")) + testutil.ToFloat64(b.metrics.early.WithLabelValues("false"))
			if int(counted) != len(b.told) {
				t.Errorf("%d told and %v counted", len(b.told), counted)
			}
		})
	}
}
