// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"time"
)

// asNowTimeout bounds how long AsNow's wait may take.
const asNowTimeout = 3 * time.Minute

// AsNow returns what waits until as many pods of the backend and of the system are ready as are now, and none is ending: what
// is healthy for those who did not deploy them.
func AsNow(ctx context.Context, e Env) (func(ctx context.Context) error, error) {
	want, _, err := e.count(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, asNowTimeout)
		defer cancel()
		for {
			ready, ending, err := e.count(ctx)
			if err == nil && ready >= want && ending == 0 {
				return nil
			}
			if sleepUntil(ctx, time.Now().Add(500*time.Millisecond)) != nil {
				if err != nil {
					return fmt.Errorf("waiting for pods: %w", err)
				}
				return fmt.Errorf("waiting for pods: after %s %d of %d are ready and %d are ending", asNowTimeout, ready, want, ending)
			}
		}
	}, nil
}

// count counts the pods of the backend and of the system.
func (e *Env) count(ctx context.Context) (ready, ending int, err error) {
	for _, selector := range []string{e.Backend, e.System} {
		if selector == "" {
			continue
		}
		pods, err := e.pods(ctx, selector)
		if err != nil {
			return 0, 0, err
		}
		for _, p := range pods {
			switch {
			case p.Terminating:
				ending++
			case p.Ready:
				ready++
			}
		}
	}
	return ready, ending, nil
}
