// SPDX-License-Identifier: Apache-2.0

package live

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
)

// ask asks a generator where it stands, as the watcher of that name or, without, as somebody who is not waited for.
func ask(ctx context.Context, peer, watcher string) (*state, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+peer+progressPath+"?"+watcherKey+"="+watcher, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", peer, err)
	}
	reply, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", peer, err)
	}
	defer reply.Body.Close()
	var s state
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking %s: %s (hint: is it a loadgen with --metrics?)", peer, reply.Status)
	}
	if err := json.NewDecoder(reply.Body).Decode(&s); err != nil {
		return nil, fmt.Errorf("reading what %s says: %w (hint: is it a loadgen with --metrics?)", peer, err)
	}
	return &s, nil
}

// Watch follows several generators as one.
type Watch struct {
	peers []string
	id    string // tells it from other watchers

	mu   sync.Mutex
	last []seen
}

// seen is what was last heard of a generator; a generator that has ended and is gone keeps what it had.
type seen struct {
	state    *state
	progress record.Progress
	err      error
}

// NewWatch returns a watch of the generators at the addresses of their --metrics.
func NewWatch(peers []string) *Watch {
	return &Watch{peers: peers, id: rand.Text(), last: make([]seen, len(peers))}
}

// patience bounds how long a generator is waited for: what it says later is of the next look.
const patience = 2 * time.Second

// Ask asks every generator where it stands. It returns how many have ended or gone since they were first heard, and an error
// when none was ever heard.
func (w *Watch) Ask(ctx context.Context) (ended int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var all sync.WaitGroup
	for i, p := range w.peers {
		all.Go(func() {
			s, err := ask(ctx, p, w.id)
			var progress record.Progress
			if err == nil {
				progress, err = s.unpack()
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.last[i].err = err; err == nil {
				w.last[i] = seen{state: s, progress: progress}
			}
		})
	}
	all.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	heard := 0
	for _, s := range w.last {
		if s.state != nil {
			heard++
		} else {
			err = s.err
		}
		if s.state != nil && (s.err != nil || s.state.Ended) {
			ended++
		}
	}
	if heard > 0 {
		err = nil
	}
	return ended, err
}

// Frame returns what was last heard, added exactly.
func (w *Watch) Frame() Frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := Frame{Passed: -time.Hour, All: record.NewProgress()}
	for i, s := range w.last {
		line := fmt.Sprintf("  %-24s ", w.peers[i])
		if s.state == nil {
			f.Sources = append(f.Sources, line+"not heard yet: "+s.err.Error())
			continue
		}
		f.All.Merge(&s.progress)
		f.Title = s.state.Title
		f.Passed = max(f.Passed, time.Since(time.Unix(0, s.state.StartNs)))
		f.Length = max(f.Length, time.Duration(s.state.LengthNs))
		note := ""
		if s.err != nil {
			note = "  gone"
		} else if s.state.Ended {
			note = "  ended"
		}
		f.Sources = append(f.Sources, fmt.Sprintf("%s%s: %d done, %d failed, p99 %s, lag p99 %s%s", line, s.state.Client,
			s.progress.Requests, s.progress.Failed(), quantile(&s.progress, 99), lag(&s.progress), note))
	}
	if len(w.peers) > 1 {
		f.Title = fmt.Sprintf("%d generators: %s", len(w.peers), f.Title)
	}
	return f
}
