// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestLineLeadsNowhere: a connection that was kept, and that somebody on the way has forgotten meanwhile, costs no more than
// the patience with a question; the transfer goes over another.
func TestLineLeadsNowhere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	started := make(chan struct{})
	s := &dns.Server{Listener: l, IdleTimeout: func() time.Duration { return patience }, NotifyStartedFunc: func() { close(started) }}
	s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		mu.Lock()
		before := seen[w.RemoteAddr().String()]
		seen[w.RemoteAddr().String()] = true
		mu.Unlock()
		if before {
			return // as if it had not come
		}
		r := new(dns.Msg).SetReply(m)
		rrs := records(t, small)
		r.Answer = append(rrs, rrs[0])
		if err := w.WriteMsg(r); err != nil {
			t.Error(err)
		}
	})
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { _ = s.Shutdown() })

	line := NewLine(remote(t, l.Addr().String()), nil, 20*time.Millisecond)
	t.Cleanup(line.Close)
	ctx, stop := context.WithTimeout(t.Context(), tcpPatience-10*time.Second)
	defer stop()
	for range 2 {
		z, whole, err := line.Transfer(ctx, "example.org.", nil)
		if err != nil || !whole || len(flat(t, z)) != len(records(t, small)) {
			t.Fatalf("%v, %v, %v", z, whole, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if line.stream == nil || len(seen) != 2 {
		t.Errorf("%d connections", len(seen))
	}
}
