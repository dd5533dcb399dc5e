// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// A generator that is watched does not leave before its watcher has its last figures, however seldom it asks.
func TestLastFiguresAreSeen(t *testing.T) {
	s, err := Serve("[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	var requests uint64 = 1
	s.Show(Run{Client: "a", Start: time.Now(), Look: func() record.Progress {
		p := record.NewProgress()
		p.Requests = requests
		return p
	}})
	w := NewWatch([]string{s.Addr.String()})
	if ended, err := w.Ask(t.Context()); ended != 0 || err != nil {
		t.Fatal(ended, err)
	}
	requests = 2
	left := make(chan struct{})
	go func() { defer close(left); s.Leave(t.Context(), nil) }()
	select {
	case <-left:
		t.Fatal("it left while it was watched")
	case <-time.After(patience / 10): // that much of what it would wait for
	}
	if ended, err := w.Ask(t.Context()); ended != 1 || err != nil {
		t.Error(ended, err)
	}
	<-left
	if f := w.Frame(); f.All.Requests != 2 {
		t.Errorf("%d requests were seen, want 2", f.All.Requests)
	}
}

// A watcher that is gone, and one whose generator is interrupted, are not waited for.
func TestWaitEnds(t *testing.T) {
	w := watchers{asked: map[string]time.Time{"gone": time.Now().Add(-patience)}, told: make(chan struct{}, 1)}
	w.wait(t.Context())
	w.note("slow", false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.wait(ctx)
}
