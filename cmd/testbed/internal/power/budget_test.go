// SPDX-License-Identifier: Apache-2.0

package power

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// 22 boards of which nobody knows more than that they are of class 4 start eleven at a time on 400 W: 11 × 30 + 11 × 5 = 385.
func TestBudgetOf22(t *testing.T) {
	inv := rackInventory(22, inventory.Switch{Name: "switch-1", BudgetWatts: 400})
	b := NewBudget(inv)
	if n := b.AtOnce(inv.Nodes); n != 11 {
		t.Errorf("%d at once, want 11", n)
	}
	waves := b.Waves(inv.Nodes)
	if len(waves) != 2 || len(waves[0]) != 11 || waves[1][10].Name != "worker-22" {
		t.Errorf("waves %v", waves)
	}
	for i := range inv.Nodes { // as measured: they all fit
		inv.Nodes[i].Watts = inventory.Watts{Idle: 3.5, Worst: 12}
	}
	if n := NewBudget(inv).AtOnce(inv.Nodes); n != 22 {
		t.Errorf("%d at once with measured watts, want 22", n)
	}
}

// However many start together and however long each takes, the worst never exceeds the budget, and all get their turn.
func TestBudgetHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := rackInventory(22, inventory.Switch{Name: "switch-1", BudgetWatts: 400})
		b := NewBudget(inv)
		asked := 0
		b.Meter = meterFunc(func() (map[string]float64, error) {
			asked++
			return map[string]float64{"worker-1": 9, "worker-2": 2}, nil
		})
		var mu sync.Mutex
		starting, most, ended := 0, 0, 0
		var wg sync.WaitGroup
		for i, n := range inv.Nodes {
			wg.Go(func() {
				started, err := b.Start(t.Context(), n.Name)
				if err != nil {
					t.Error(err)
					return
				}
				again, err := b.Start(t.Context(), n.Name) // as when power is given within a re-imaging
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				starting++
				most = max(most, starting)
				mu.Unlock()
				time.Sleep(time.Duration(1+i%5) * time.Second)
				again()
				again() // a second call changes nothing
				mu.Lock()
				starting--
				ended++
				mu.Unlock()
				started()
			})
		}
		wg.Wait()
		if ended != 22 || most > 11 || most < 10 || asked != 1 {
			t.Errorf("%d ended, %d at once at most, the meter was asked %d times", ended, most, asked)
		}
	})
}

func TestBudgetInterrupted(t *testing.T) {
	inv := rackInventory(2, inventory.Switch{Name: "switch-1", BudgetWatts: 36})
	b := NewBudget(inv)
	started, err := b.Start(t.Context(), "worker-1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Start(ctx, "worker-2"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that it was cancelled", err)
	}
	started()
	if _, err := b.Start(ctx, "worker-2"); err != nil {
		t.Errorf("after the other has started: %v", err)
	}
	if _, err := b.Start(t.Context(), "nobody"); err == nil {
		t.Error("nobody may start")
	}
}

// meterFunc is a Meter.
type meterFunc func() (map[string]float64, error)

func (f meterFunc) Watts(context.Context) (map[string]float64, error) { return f() }

func TestRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var broken atomic.Bool
		m := meterFunc(func() (map[string]float64, error) {
			if broken.Load() {
				return nil, errors.New("the controller restarts")
			}
			at := time.Since(begin).Seconds()
			return map[string]float64{"steady": 5, "rising": at, "step": map[bool]float64{true: 10}[at >= 30]}, nil
		})
		r := Record(t.Context(), m, 2*time.Second, slog.New(slog.DiscardHandler))
		time.Sleep(61 * time.Second)
		broken.Store(true)
		time.Sleep(20 * time.Second)
		r.Stop()
		at := func(s float64) time.Time { return begin.Add(time.Duration(s * float64(time.Second))) }
		for _, c := range []struct {
			node     string
			from, to float64
			joules   float64
			within   float64
			readings int
			ok       bool
		}{
			{"steady", 10, 20, 50, 0, 6, true},
			{"steady", 10.5, 11.5, 5, 0, 0, true},
			{"rising", 10, 20, 150, 1e-6, 6, true},
			{"rising", 11, 19, 120, 1e-6, 4, true},
			{"step", 20, 40, 110, 1e-6, 11, true}, // it is taken to rise between two readings: up to one interval's energy is unsure
			{"steady", -3, 10, 65, 1e-6, 6, true},
			{"steady", -30, 10, 0, 0, 6, false}, // nothing was known then
			{"steady", 55, 63, 40, 1e-6, 3, true},
			{"steady", 55, 75, 0, 0, 3, false}, // readings are missing
			{"steady", 20, 10, 0, 0, 0, false},
			{"nobody", 10, 20, 0, 0, 0, false},
		} {
			joules, readings, ok := r.Joules(c.node, at(c.from), at(c.to))
			if math.Abs(joules-c.joules) > c.within+1e-9 || ok != c.ok || (ok && readings != c.readings) {
				t.Errorf("%s from %g to %g s: %g J of %d readings, %v; want %g of %d, %v", c.node, c.from, c.to, joules, readings, ok, c.joules, c.readings, c.ok)
			}
		}
	})
}
