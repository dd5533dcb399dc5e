// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
)

// metered is a substrate whose switch tells watts.
type metered struct {
	power.Controller
	watts map[string]float64
}

func (m metered) Watts(context.Context) (map[string]float64, error) {
	if m.watts == nil {
		return nil, errors.New("the controller restarts")
	}
	return m.watts, nil
}

func TestEnergy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			power power.Controller
			want  int64
		}{
			"a meter":                {metered{watts: map[string]float64{"worker-1": 4.5}}, 45e6},
			"of another node":        {metered{watts: map[string]float64{"worker-2": 4.5}}, 0},
			"that does not answer":   {metered{}, 0},
			"none":                   {struct{ power.Controller }{}, 0},
			"no power at all either": {nil, 0},
		} {
			tr := &trial{Runner: &Runner{Power: c.power, Log: slog.New(slog.DiscardHandler)}}
			stop := tr.recordPower(t.Context())
			time.Sleep(2500 * time.Millisecond)
			u := &usage{node: "worker-1", start: &reading{at: time.Now()}}
			time.Sleep(10 * time.Second)
			u.end = &reading{at: time.Now()}
			stop()
			if got := tr.energy(u); got != c.want {
				t.Errorf("%s: %d µJ, want %d", name, got, c.want)
			}
		}
	})
}
