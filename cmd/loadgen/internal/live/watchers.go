// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"sync"
	"time"
)

// watcherKey is the parameter in which a watcher says which one it is.
const watcherKey = "watcher"

// watchers are those that follow this generator.
type watchers struct {
	mu    sync.Mutex
	asked map[string]time.Time // when a watcher that does not know of the end asked last
	told  chan struct{}        // a token when somebody was told of the end
}

// note takes note of what a watcher was told.
func (w *watchers) note(id string, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ended {
		w.asked[id] = time.Now()
		return
	}
	delete(w.asked, id)
	select {
	case w.told <- struct{}{}:
	default:
	}
}

// wait returns when each watcher was told of the end, or asks no more, or ctx ends.
func (w *watchers) wait(ctx context.Context) {
	for {
		left := w.left()
		if left <= 0 {
			return
		}
		select {
		case <-w.told:
		case <-time.After(left):
		case <-ctx.Done():
			return
		}
	}
}

// left returns for how long somebody who asked lately may ask again; not above 0 when all know.
func (w *watchers) left() (most time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.asked {
		most = max(most, patience-time.Since(at))
	}
	return most
}
