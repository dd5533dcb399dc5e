// SPDX-License-Identifier: Apache-2.0

package digest_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
)

// The share of the pod that a fault was done to, counted again from the samples.
func TestShare(t *testing.T) {
	const id = "016-direct-fault"
	if trialOf(t, open(t, v1), id).Share != nil {
		t.Error("samples that name no backend give a share")
	}
	dir := copyRun(t)
	before := trialOf(t, open(t, dir), id)
	f := before.Fault
	_, target, _ := strings.Cut(f.Target, "/")
	var answered, of [3]float64
	settled := 0.0
	var ms [3][]float64
	rewrite(t, dir, id, func(s *results.Sample) bool {
		part := 0
		if s.IntendedNs >= f.BeginNs {
			part = 1
		}
		if s.IntendedNs >= f.EndNs {
			part = 2
		}
		if every := []uint64{4, 10, 5}[part]; s.Seq%every == 0 {
			s.Backend = target
		} else if s.Seq%7 > 0 { // of the others there is not told
			s.Backend = fmt.Sprint("backend-", s.Seq%3)
		}
		if s.OK() && s.Backend != "" && s.IntendedNs >= before.WindowStartNs && s.IntendedNs < before.WindowEndNs {
			answered[part]++
			if s.IntendedNs >= before.WindowStartNs+2e9 && s.IntendedNs < f.EndNs {
				settled++
			}
			ms[part] = append(ms[part], float64(s.TotalNs)/1e6)
			if s.Backend == target {
				of[part]++
			}
		}
		return true
	})
	got := trialOf(t, open(t, dir), id).Share
	if got == nil {
		t.Fatal("no share")
	}
	sum, sumOf := 0.0, 0.0
	for i := range got.Answered {
		sum += got.Answered[i]
		sumOf += got.Target[i]
	}
	for i, p := range got.Parts {
		if answered[i] == 0 { // this fault ended with the window
			if i != 2 || p.Answered != 0 || !math.IsNaN(p.Of()) {
				t.Errorf("part %d has no requests: %+v", i, p)
			}
			continue
		}
		if float64(p.Answered) != answered[i] || float64(p.Target) != of[i] || math.Abs(p.Of()-of[i]/answered[i]) > 1e-12 {
			t.Errorf("part %d: %d of %d, want %v of %v", i, p.Target, p.Answered, of[i], answered[i])
		}
		sum, sumOf = sum-answered[i], sumOf-of[i]
		slices.Sort(ms[i])
		if ns, ok := p.Latency.PercentileNs(90); ok {
			want := ms[i][int(math.Ceil(0.9*float64(len(ms[i]))))-1]
			if got := float64(ns) / 1e6; math.Abs(got-want) > 0.01*want {
				t.Errorf("part %d: p90 %v ms, want %v", i, got, want)
			}
		}
	}
	if sum != 0 || sumOf != 0 {
		t.Errorf("bins and parts differ by %v and %v", sum, sumOf)
	}
	// A fault that began so early that it should have been noticed two seconds into the window.
	early := before.Trial
	moved := *f
	moved.BeginNs = before.WindowStartNs + 2e9 - digest.SettledNs
	early.Fault = &moved
	if err := results.WriteJSON(filepath.Join(dir, results.TrialsDir, id, results.TrialFile), early); err != nil {
		t.Fatal(err)
	}
	got = trialOf(t, open(t, dir), id).Share
	if settled == 0 || float64(got.Settled.Answered) != settled || got.Settled.Target == 0 || got.Settled.Target >= got.Parts[digest.During].Target {
		t.Errorf("settled: %+v of %+v, want %v answered", got.Settled, got.Parts[digest.During], settled)
	}
}
