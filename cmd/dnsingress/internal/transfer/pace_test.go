// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away     time.Duration // how long giving way takes
		from, to time.Duration // how long it then works on
	}{
		"nobody asks: often":             {0, stretchLeast, 2 * stretchLeast},
		"a question or two":              {20 * time.Microsecond, stretchLeast, 2 * stretchLeast},
		"a flood: a fifth of the time":   {10 * time.Millisecond, 2500 * time.Microsecond, 2600 * time.Microsecond},
		"the rest of a scheduler's tick": {time.Millisecond, 250 * time.Microsecond, 300 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var worked []time.Duration
				back := time.Now()
				p := pace{since: back, giveWay: func() {
					worked = append(worked, time.Since(back))
					time.Sleep(c.away)
					back = time.Now()
				}}
				for range 2000 {
					time.Sleep(5 * time.Microsecond)
					p.between()
				}
				if len(worked) < 3 {
					t.Fatalf("it gave way %d times", len(worked))
				}
				for _, w := range worked[1:] {
					if w < c.from || w > c.to {
						t.Errorf("it worked for %s, want %s to %s", w, c.from, c.to)
					}
				}
			})
		})
	}
}
