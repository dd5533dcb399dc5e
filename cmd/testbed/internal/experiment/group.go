// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"errors"
	"sync"
)

// group runs functions at once and joins all their errors.
type group struct {
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

func (g *group) do(fn func() error) {
	g.running.Go(func() {
		if err := fn(); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.errs = append(g.errs, err)
		}
	})
}

func (g *group) wait() error {
	g.running.Wait()
	return errors.Join(g.errs...)
}
