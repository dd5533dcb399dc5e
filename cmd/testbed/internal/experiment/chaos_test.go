// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/fault"
)

// toldFault notes what it is told.
type toldFault struct{ told []string }

func (f *toldFault) Aim(context.Context, *rand.Rand) (fault.Target, error) {
	return fault.Target{}, nil
}

func (f *toldFault) Begin(context.Context, time.Time) (fault.Instant, error) {
	f.told = append(f.told, "begin")
	return fault.Instant{}, nil
}

func (f *toldFault) End(context.Context, time.Time) (fault.Instant, error) {
	f.told = append(f.told, "end")
	return fault.Instant{}, nil
}

func (f *toldFault) Recover(context.Context) error {
	f.told = append(f.told, "recover")
	return nil
}

// TestCalm ends the chaos of a trial that was interrupted between the begins of two faults: the first has begun, and of the other
// there is nothing to wait for.
func TestCalm(t *testing.T) {
	first, second := new(toldFault), new(toldFault)
	var trial trial
	for _, f := range []*toldFault{first, second} {
		trial.struck = append(trial.struck, &struck{fault: f})
	}
	trial.inject(t.Context(), trial.struck[0], time.Now())
	if err := trial.calm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(first.told) != 3 || len(second.told) != 0 {
		t.Errorf("the first was told %q, the second %q", first.told, second.told)
	}
}
