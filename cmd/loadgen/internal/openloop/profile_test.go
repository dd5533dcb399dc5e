// SPDX-License-Identifier: Apache-2.0

package openloop

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// between counts the sends in [from, to).
func between(sends []time.Duration, from, to time.Duration) int {
	n := 0
	for _, at := range sends {
		if at >= from && at < to {
			n++
		}
	}
	return n
}

func TestProfiles(t *testing.T) {
	type window struct {
		from, to time.Duration
		sends    float64
	}
	const s = time.Second
	for text, windows := range map[string][]window{
		"steps:100@2s,400@1s,50": {{0, 2 * s, 200}, {2 * s, 3 * s, 400}, {3 * s, 10 * s, 350}},
		"steps:0@2s,100":         {{0, 2 * s, 0}, {2 * s, 10 * s, 800}},
		"steps:100@1s,0":         {{0, s, 100}, {s, 10 * s, 0}},
		"ramp:100..1100@10s":     {{0, s, 150}, {9 * s, 10 * s, 1050}, {0, 10 * s, 6000}},
		"ramp:200..0@4s":         {{0, 4 * s, 400}, {4 * s, 10 * s, 0}},
		"sine:500~200@4s":        {{0, 2 * s, 1000 + 800/math.Pi}, {2 * s, 4 * s, 1000 - 800/math.Pi}, {0, 8 * s, 4000}},
		"spike:100..2000@3s+1s":  {{0, 3 * s, 300}, {3 * s, 4 * s, 2000}, {4 * s, 10 * s, 600}},
	} {
		p, err := ParseProfile(text)
		if err != nil {
			t.Error(err)
			continue
		}
		even := all(NewSchedule(Even(p, 0, 10*s, rand.New(rand.NewPCG(1, 2))), 10*s, 0))
		drawn := all(NewSchedule(Independent(p, 0, 10*s, rand.New(rand.NewPCG(3, 4))), 10*s, 0))
		if !slices.IsSorted(even) || !slices.IsSorted(drawn) {
			t.Errorf("%s: sends are not in order", text)
		}
		for _, w := range windows {
			if n := between(even, w.from, w.to); math.Abs(float64(n)-w.sends) > 1.001 {
				t.Errorf("%s: %d sends in [%v, %v), want %g", text, n, w.from, w.to, w.sends)
			}
			// Independent arrivals: within 4 standard deviations of a Poisson count. The seed is fixed.
			if n := between(drawn, w.from, w.to); math.Abs(float64(n)-w.sends) > 4*math.Sqrt(w.sends) {
				t.Errorf("%s, independent: %d sends in [%v, %v), want about %g", text, n, w.from, w.to, w.sends)
			}
		}
		if text != p.String() {
			t.Errorf("%s is called %s", text, p)
		}
	}
}

// Gaps of a steep ramp shrink all the way: no rounding to steps.
func TestEvenRampIsSmooth(t *testing.T) {
	p, err := ParseProfile("ramp:10..1000@5s")
	if err != nil {
		t.Fatal(err)
	}
	sends := all(NewSchedule(Even(p, 0, 5*time.Second, rand.New(rand.NewPCG(1, 1))), 5*time.Second, 0))
	for i := 2; i < len(sends); i++ {
		if before, gap := sends[i-1]-sends[i-2], sends[i]-sends[i-1]; gap > before+2 {
			t.Fatalf("gap %d is %v, longer than the one before it, %v", i, gap, before)
		}
	}
}

// While the load warms up the profile stands at its beginning.
func TestProfileBeginsWithTheWindow(t *testing.T) {
	p, err := ParseProfile("steps:100@1s,300")
	if err != nil {
		t.Fatal(err)
	}
	sends := all(NewSchedule(Even(p, 2*time.Second, 5*time.Second, rand.New(rand.NewPCG(1, 1))), 5*time.Second, 0))
	if warm, low, high := between(sends, 0, 2*time.Second), between(sends, 2*time.Second, 3*time.Second), between(sends, 3*time.Second, 5*time.Second); warm < 199 || warm > 201 || low < 99 || low > 101 || high < 599 || high > 601 {
		t.Errorf("%d, %d, %d sends; want 200, 100, 600", warm, low, high)
	}
}

func TestProfileMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"":                      `unknown kind ""`,
		"square:1":              `unknown kind "square"`,
		"steps:100,200@1s":      `step "100" needs its time`,
		"steps:-1":              `"-1" is no rate`,
		"steps:1e7":             `"1e7" is no rate`,
		"steps:NaN":             `"NaN" is no rate`,
		"steps:0":               "nothing would ever be sent",
		"steps:1@0s":            `"0s" is no time`,
		"ramp:100@5s":           `"100" is no pair of rates`,
		"ramp:1..2":             `"" is no time`,
		"sine:100~200@1s":       "amplitude 200 exceeds the mean",
		"spike:100..2000@10s":   `"" is no time`,
		"spike:100..2000@x+10s": `"x" is no time`,
	} {
		if _, err := ParseProfile(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "hint") {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

func FuzzParseProfile(f *testing.F) {
	for _, seed := range []string{"steps:100@10s,400", "ramp:1..2@3s", "sine:5~2@1m", "spike:1..20@1s+3s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseProfile(text)
		if err != nil {
			return
		}
		begun := 0.0
		for at := time.Duration(0); at < time.Minute; at += 7 * time.Second {
			if r := p.Rate(at); !(r >= 0 && r <= 2*maxRate) {
				t.Fatalf("%q: rate %g at %v", text, r, at)
			}
			if n := p.Expected(at); !(n >= begun-1e-6*(1+begun)) {
				t.Fatalf("%q: %g sends expected until %v, %g before", text, n, at, begun)
			} else {
				begun = n
			}
		}
	})
}

func TestTrace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trace")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# of yesterday\n1763769600.000000001\n1763769600.25\n\n1763769600.25\n1763769601.999999999999\n")
	trace, err := ReadTrace(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{0, 249999999, 249999999, 1999999998}
	if got := all(NewSchedule(trace, time.Minute, 0)); !slices.Equal(got, want) {
		t.Errorf("sends at %v, want %v", got, want)
	}
	if trace.Peak() != 3 || trace.Length() != 1999999998 {
		t.Errorf("peak %g, length %v", trace.Peak(), trace.Length())
	}

	write("1\nx\n3\n2\n-1\n")
	_, err = ReadTrace(path)
	if err == nil {
		t.Fatal("a broken trace was read")
	}
	for _, want := range []string{path + `:2:1: "x" is no instant`, path + ":4:1: 2 comes after a later instant", path + `:5:1: "-1"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
	write("\n# nothing\n")
	if _, err := ReadTrace(path); err == nil || !strings.Contains(err.Error(), "no instant") {
		t.Errorf("an empty trace: %v", err)
	}
}
