// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"bytes"
	"flag"
	"fmt"
	"image/color"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"gonum.org/v1/plot/cmpimg"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/dnsingress/dnsingress/internal/stats"
)

var update = flag.Bool("update", false, "write the golden images anew")

var names = []string{"direct", "dnsingress", "nginx", "traefik", "envoy"}

// latencies makes a distribution of n requests with a tail.
func latencies(t testing.TB, rng *rand.Rand, n int, median float64) *stats.Latency {
	l := stats.NewLatency()
	for range n {
		ms := median * math.Exp(0.25*rng.NormFloat64())
		if rng.Float64() < 0.01 {
			ms += 10 * rng.ExpFloat64()
		}
		if err := l.Record(int64(ms*1e6), 1); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func someDistributions(t testing.TB, names []string, trials, n int) []Distribution {
	rng := rand.New(rand.NewPCG(1, 2))
	var out []Distribution
	for i, name := range names {
		d := Distribution{System: name, Pooled: stats.NewLatency()}
		for range trials {
			l := latencies(t, rng, n, 1+0.4*float64(i))
			d.Trials = append(d.Trials, l)
			d.Pooled.Merge(l)
		}
		out = append(out, d)
	}
	return out
}

func somePanels(names []string) []Panel {
	var out []Panel
	for i, name := range names {
		p := Panel{System: name, Bin: 0.25, Start: -4, FaultEnd: 12, First: math.NaN(), Last: math.NaN(), Trials: 1}
		for b := range 64 {
			p.Requests = append(p.Requests, 50)
			failed := 0.0
			if at := -4 + 0.25*float64(b); at >= 0 && at < float64(i) {
				failed = 15 - float64(3*b%7)
				if p.FailedSum == 0 {
					p.First = at
				}
				p.Last = at + 0.25
				p.FailedSum += uint64(failed)
			}
			p.Failed = append(p.Failed, failed)
			p.RequestSum += 50
		}
		out = append(out, p)
	}
	out[len(out)-1].Open = true
	for _, at := range []float64{0.3, 2.1, 6.4} {
		out[len(out)-1].Events = append(out[len(out)-1].Events, Mark{"pool change", at})
	}
	out[0].Events = append(out[0].Events, Mark{"node not ready", 8})
	return out
}

func someShares(names []string) []SharePanel {
	var out []SharePanel
	for i, name := range names {
		p := SharePanel{System: name, Bin: 1, Start: -15, FaultEnd: 40, Parts: [3]float64{0.1, 0.1 / float64(i+1), math.NaN()}, Trials: 1}
		for b := range 75 {
			p.Answered = append(p.Answered, 120)
			part := 12 + float64(5*b%7) - 3
			if at := b - 15; at >= 8-2*i && at < 40+3*i && i > 0 {
				part /= float64(4 * i)
			}
			p.Target = append(p.Target, part)
		}
		out = append(out, p)
	}
	return out
}

func cpuBars(names []string) []Bar {
	var out []Bar
	for i, name := range names {
		v := 0.2 * float64(i)
		out = append(out, Bar{
			System: name,
			Parts:  []Part{{"proxy", v}, {"controller", v / 4}, {"dnsingress", float64((i+4)%5/4) * 0.1}, {"resolver", 0.05}},
			Apart:  []Part{{"prometheus", 0.21}, {"softirq", 0.33}},
			Trials: []float64{0.04 + 1.2*v, 0.05 + 1.25*v, 0.07 + 1.3*v},
		})
	}
	return out
}

func phaseBars(names []string) []Bar {
	var out []Bar
	for i, name := range names {
		out = append(out, Bar{
			System: name,
			Parts:  []Part{{"send lag", 0.05}, {"dns", 0.1}, {"connect", 0.3}, {"tls", 0}, {"first byte", 1 + 0.3*float64(i)}, {"rest", 0.06}},
			Trials: []float64{1.4 + 0.3*float64(i), 1.6 + 0.3*float64(i)},
		})
	}
	return out
}

// some makes a trial's values, n of them.
func some(seed uint64, n int, median, spread float64) stats.Summary {
	rng := rand.New(rand.NewPCG(seed, 9))
	v := make([]float64, n)
	for i := range v {
		v[i] = median * math.Exp(spread*rng.NormFloat64())
	}
	return stats.Summarize(v, seed)
}

// someTraces rise gently up to a knee and steeply from there, another knee for each name.
func someTraces(names []string, xs []float64, trials int) []trace {
	var out []trace
	for i, name := range names {
		t := trace{name: name}
		for j, x := range xs {
			t.places = append(t.places, place{x, some(uint64(10*i+j), trials, (1+0.3*float64(i))*math.Exp(0.0002*x+0.006*max(0, x-900+130*float64(i))), 0.08)})
		}
		out = append(out, t)
	}
	return out
}

func ladders(names []string, trials int) []trace {
	var out []trace
	for i, name := range names {
		t := trace{name: name}
		for j, p := range []float64{50, 75, 90, 95, 99, 99.5, 99.9} {
			t.places = append(t.places, place{-math.Log10(1 - p/100), some(uint64(10*i+j), trials, (1+0.4*float64(i))*math.Pow(1.6, float64(j)), 0.1)})
		}
		out = append(out, t)
	}
	return out
}

func kneesOf(all []trace) []knee {
	var out []knee
	for _, t := range all {
		out = append(out, findKnee(t, true, 1))
	}
	return out
}

func rates() []float64 { return []float64{100, 200, 300, 400, 500, 600, 700, 800, 900, 1000} }

func rows(names []string, n ...int) []Row {
	var out []Row
	for i, name := range names {
		out = append(out, Row{name, some(uint64(i), n[i%len(n)], 3+0.7*float64(i), 0.12)})
	}
	return out
}

func trades(names []string, trials int) []Trade {
	var out []Trade
	for i, name := range names {
		out = append(out, Trade{name, some(uint64(i), trials, 0.3*float64(i), 0.1), some(uint64(20+i), trials, 3+2*float64(i*i%5), 0.15)})
	}
	return out
}

func heats(names []string, pods int) []HeatPanel {
	var out []HeatPanel
	for i, name := range names {
		d := HeatPanel{System: name, Bin: 1, Start: -15, FaultEnd: 40, Target: 0}
		for row := range pods {
			d.Pods = append(d.Pods, fmt.Sprintf("backend-%d", row))
			cells := make([]float64, 75)
			for col := range cells {
				cells[col] = 10 + float64((7*row+3*col)%5)
				if col == 30 { // nobody answered
					cells[col] = 0
					continue
				}
				if at := col - 15; row == 0 && at > 3*i && at < 42 {
					cells[col] = float64(3 - i)
				}
			}
			d.Counts = append(d.Counts, cells)
		}
		out = append(out, d)
	}
	return out
}

func memoryBars(names []string) []Bar {
	var out []Bar
	for i, name := range names {
		v := 60 * float64(i)
		out = append(out, Bar{
			System: name, Parts: []Part{{"proxy", v}, {"controller", v / 3}, {"dnsingress", float64((i+4)%5/4) * 40}, {"resolver", 31}},
			Apart: []Part{{"prometheus", 110}}, Trials: []float64{31 + 1.3*v, 31 + 1.36*v, 31 + 1.4*v},
		})
	}
	return out
}

// figures has one figure of every kind at least.
func figures(t testing.TB) []*Figure {
	bent := someTraces(names[1:], rates(), 10)
	return []*Figure{
		CDF("latency-cdf", someDistributions(t, names, 3, 4000)),
		Tail("latency-tail", someDistributions(t, names, 3, 4000)),
		Ladder("percentiles", ladders(names, 10)),
		Rate("rate-latency", "Latency against the offered rate", "offered rate (requests/s)", "p99 latency (ms)", true, bent, kneesOf(bent)),
		Scaling("scaling", "CPU seconds for 1,000 requests", "replicas", false, someTraces(names, []float64{2, 4, 8, 16, 32}, 6)),
		Rain("trials", "p99 latency (ms)", true, rows(names, 20, 12, 10, 7, 3)),
		Pareto("pareto", "CPU seconds for 1,000 requests", "p99 latency (ms)", true, trades(names, 10)),
		Timeline("error-timeline", "pod-sigkill", somePanels(names)),
		Answers("accuracy", "dns-kill", someAnswers([]string{"dnsingress, no", "dnsingress, yes", "external-dns, no", "external-dns, yes"})),
		Share("pod-share", "pod-slow", someShares([]string{"static", "dnsingress-outlier", "nginx-least", "envoy-least"})),
		Heatmap("pod-heatmap", "pod-slow", heats([]string{"static", "dnsingress-outlier", "nginx-least"}, 10)),
		CPU("cpu", cpuBars(names)),
		Memory("memory", memoryBars(names)),
		Phases("phases", phaseBars(names)),
	}
}

func encode(t testing.TB, f *Figure, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.Encode(&b, format, Light()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The figures look as they did when somebody last looked at them (-update, then look at testdata).
// PNGs may differ by rounding between architectures.
func TestGolden(t *testing.T) {
	for _, f := range figures(t) {
		for _, format := range []string{"png"} { // the other formats come from the same strokes
			t.Run(f.Name+"."+format, func(t *testing.T) {
				path := filepath.Join("testdata", f.Name+"."+format)
				got := encode(t, f, format)
				if *update {
					if err := os.WriteFile(path, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				same, err := cmpimg.EqualApprox(format, got, want, 0.02)
				if err != nil {
					t.Fatal(err)
				}
				if !same {
					other := filepath.Join(t.ArtifactDir(), f.Name+"."+format)
					if err := os.WriteFile(other, got, 0o644); err != nil {
						t.Fatal(err)
					}
					t.Errorf("%s differs from what is drawn now (-artifacts keeps it: %s)", path, other)
				}
			})
		}
	}
}

// Identical data gives identical bytes, of new themes and new canvases, in every format.
func TestIdenticalBytes(t *testing.T) {
	again := figures(t)
	for i, f := range figures(t) {
		for _, format := range Formats() {
			if !bytes.Equal(encode(t, f, format), encode(t, again[i], format)) {
				t.Errorf("%s.%s: drawn twice, two results", f.Name, format)
			}
		}
	}
}

// Whatever the names and numbers are, no text is clipped and no two texts overlap.
func TestNothingClippedOrOverlapping(t *testing.T) {
	long := []string{"direct", "dnsingress", "nginx-with-cache", "a-system-of-a-quite-long-name", "envoy", "haproxy", "sechstes"}
	cases := append(figures(t),
		CDF("many", someDistributions(t, long, 12, 300)),
		CDF("one", someDistributions(t, long[:1], 1, 50)),
		CDF("wide", []Distribution{
			{System: "a", Pooled: latencies(t, rand.New(rand.NewPCG(3, 4)), 200_000, 0.002)},
			{System: "b", Pooled: latencies(t, rand.New(rand.NewPCG(3, 4)), 200_000, 20_000)},
		}),
		CDF("narrow", []Distribution{{System: "a", Pooled: constant(t, 5_000_000, 100)}}),
		Timeline("many", "node-power-cut", somePanels(long)),
		Timeline("one", "pod-sigkill", somePanels(long[:1])),
		Answers("many", "dns-kill", someAnswers(long)), Answers("one", "dns-kill", someAnswers(long[:1])),
		Share("many", "pod-slow", someShares(long)), Share("one", "pod-slow", someShares(long[:1])),
		CPU("many", cpuBars(long)), CPU("intervals", []Bar{{System: "nginx", Parts: []Part{{"proxy", 1}}, Trials: []float64{0.9, 1, 1.1, 1, 1.05, 0.95, 1.2, 0.8, 1, 1}}}), CPU("one", cpuBars(long[:1])), Phases("many", phaseBars(long)),
		CPU("huge", []Bar{{System: "direct", Parts: []Part{{"proxy", 123_456}}, Trials: []float64{123_456}}}),
		CPU("nothing", []Bar{{System: "direct"}}),
		Memory("many", memoryBars(long)),
		Tail("many", someDistributions(t, long, 12, 300)), Tail("one", someDistributions(t, long[:1], 1, 50)),
		Tail("narrow", []Distribution{{System: "a", Pooled: constant(t, 5_000_000, 100)}}),
		Ladder("many", ladders(long, 7)), Ladder("one", ladders(long[:1], 1)),
		Rate("many", "x", "offered rate (requests/s)", "p99 latency (ms)", true, someTraces(long, rates(), 6), kneesOf(someTraces(long, rates(), 6))),
		Rate("three trials", "x", "offered rate (requests/s)", "p99 latency (ms)", true, someTraces(long[:3], rates(), 3), kneesOf(someTraces(long[:3], rates(), 3))),
		Scaling("wide", "memory (MiB)", "endpoints", false, someTraces(long, []float64{1, 10, 100, 1000, 10_000}, 1)),
		Scaling("two", "failed requests (%)", "ttl (s)", false, someTraces(long[:2], []float64{5, 30}, 6)),
		Rain("many", "p99 latency (ms)", true, rows(long, 2, 6, 9, 10, 40)), Rain("equal", "failed requests (%)", false, []Row{{"a", stats.Summarize([]float64{0, 0, 0}, 1)}}),
		Rain("one trial each", "last try (s)", false, rows(long, 1)), Rain("huge", "requests", false, rows([]string{"a"}, 8)),
		Pareto("many", "CPU seconds for 1,000 requests", "p99 latency (ms)", true, trades(long, 3)),
		Heatmap("many", "node-power-cut", heats(long, 40)), Heatmap("steady", "", heats(long[:1], 3)), Heatmap("silent", "", []HeatPanel{{System: "a", Bin: 1, Pods: []string{"x", "y"}, Counts: [][]float64{{0, 0}, {0, 0}}, Target: -1}}),
	)
	failing := someDistributions(t, long, 3, 2000)
	for i := range failing {
		failing[i].Failed = []uint64{0, 123_456, 7}
	}
	cases = append(cases, CDF("failing", failing))
	for _, f := range cases {
		type written struct {
			text string
			box  vg.Rectangle
		}
		var all []written
		c := vgimg.NewWith(vgimg.UseWH(ColumnWidth, f.Height), vgimg.UseDPI(72))
		p := &pen{Canvas: draw.New(c), theme: Light()}
		p.wrote = func(text string, box vg.Rectangle) { all = append(all, written{text, box}) }
		f.draw(p)
		if len(all) < 3 {
			t.Errorf("%s: only %d texts", f.Name, len(all))
		}
		for i, a := range all {
			if a.box.Min.X < -0.01 || a.box.Min.Y < -0.01 || a.box.Max.X > ColumnWidth+0.01 || a.box.Max.Y > f.Height+0.01 {
				t.Errorf("%s (%d): %q is clipped: %v", f.Name, len(all), a.text, a.box)
			}
			for _, b := range all[:i] {
				// A line box has room for accents and descenders: a fifth of it may touch.
				w := min(a.box.Max.X, b.box.Max.X) - max(a.box.Min.X, b.box.Min.X)
				h := min(a.box.Max.Y, b.box.Max.Y) - max(a.box.Min.Y, b.box.Min.Y)
				if w > 0.1 && h > 0.3*labelSize {
					t.Errorf("%s: %q and %q overlap by %.1f × %.1f", f.Name, a.text, b.text, float64(w), float64(h))
				}
			}
		}
	}
}

func constant(t testing.TB, ns int64, n int64) *stats.Latency {
	l := stats.NewLatency()
	if err := l.Record(ns, n); err != nil {
		t.Fatal(err)
	}
	return l
}

// Figures without data are not drawn at all.
func TestNoData(t *testing.T) {
	if CDF("x", nil) != nil || CDF("x", []Distribution{{System: "nginx"}}) != nil || Timeline("x", "y", nil) != nil || Share("x", "y", nil) != nil || CPU("x", nil) != nil ||
		Tail("x", nil) != nil || Ladder("x", nil) != nil || Rate("x", "", "", "", true, nil, nil) != nil || Scaling("x", "", "", true, nil) != nil ||
		Rain("x", "", true, nil) != nil || Pareto("x", "", "", true, trades(names[:1], 3)) != nil || Heatmap("x", "", heats(names[:1], 1)) != nil {
		t.Error("something was drawn of nothing")
	}
}

// luminance is the relative luminance of WCAG 2.2, what is left of a colour in greyscale.
func luminance(c color.Color) float64 {
	r, g, b, _ := c.RGBA()
	lin := func(v uint32) float64 {
		x := float64(v) / 0xffff
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	return 0.2126*lin(r) + 0.7152*lin(g) + 0.0722*lin(b)
}

func contrast(a, b color.Color) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Text has the contrast that WCAG 2.2 §1.4.3 asks for, lines that of §1.4.11 with some ease for tints; systems
// differ in dash pattern, and parts that are stacked next to each other differ in greyscale.
func TestThemes(t *testing.T) {
	for name, theme := range map[string]*Theme{"light": Light(), "dark": Dark()} {
		for what, c := range map[string]color.Color{"ink": theme.Ink, "muted": theme.Muted} {
			for where, paper := range map[string]color.Color{"paper": theme.Paper, "fault": theme.Fault} {
				if got := contrast(c, paper); what == "ink" && got < 4.5 || where == "paper" && got < 4.5 {
					t.Errorf("%s: %s on %s has contrast %.1f", name, what, where, got)
				}
			}
		}
		patterns, shapes := map[string]string{}, map[shape]string{}
		var all []string
		for system := range theme.systems {
			all = append(all, system)
		}
		for i, s := range theme.strokes(all) {
			system := all[i]
			if other, taken := shapes[s.shape]; taken {
				t.Errorf("%s: %s and %s have one shape", name, system, other)
			}
			shapes[s.shape] = system
			if got := contrast(s.color, theme.Paper); got < 2.9 {
				t.Errorf("%s: %s has contrast %.1f", name, system, got)
			}
			pattern := fmt.Sprint(s.dashes)
			if other, taken := patterns[pattern]; taken {
				t.Errorf("%s: %s and %s have one dash pattern", name, system, other)
			}
			patterns[pattern] = system
		}
		for _, pair := range [][2]string{
			{"proxy", "controller"},
			{"controller", "resolver"},
			{"dnsingress", "resolver"},
			{"proxy", "resolver"},
			{"prometheus", "softirq"},
			{"send lag", "dns"},
			{"dns", "connect"},
			{"first byte", "rest"},
		} {
			if got := contrast(theme.parts[pair[0]], theme.parts[pair[1]]); got < 1.1 {
				t.Errorf("%s: %s and %s look alike in greyscale (contrast %.2f)", name, pair[0], pair[1], got)
			}
		}
	}
}

// The curve ends where the tail has too few requests, and failures keep it from reaching the top.
func TestCurve(t *testing.T) {
	l := stats.NewLatency()
	for ms := range int64(1000) {
		if err := l.Record((ms+1)*1e6, 1); err != nil {
			t.Fatal(err)
		}
	}
	c := curve(l, 0)
	if got, want := c[len(c)-1].nines, -math.Log10(0.005); math.Abs(got-want) > 0.02 {
		t.Errorf("1,000 requests: the curve ends at %.3f nines, want %v (995 of 1,000)", got, want)
	}
	c = curve(l, 1000)
	if got, want := c[len(c)-1].nines, -math.Log10(0.5); math.Abs(got-want) > 1e-9 {
		t.Errorf("half failed: the curve ends at %.3f nines, want %.3f", got, want)
	}
}

// Failures lower the curve of the trial that they are of, and not of another.
func TestFailuresByTrial(t *testing.T) {
	drawn := func(failed ...uint64) []byte {
		d := someDistributions(t, []string{"nginx"}, 2, 1000)
		d[0].Failed = failed
		return encode(t, CDF("x", d), "png")
	}
	if bytes.Equal(drawn(500, 0), drawn(0, 500)) {
		t.Error("the failures of either trial look the same")
	}
}

// A simplified line stays within the tolerance of every point that it leaves out, and keeps its ends.
func TestSimplify(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var pts []vg.Point
	for i := range 2000 {
		pts = append(pts, vg.Point{X: vg.Length(i) / 10, Y: 50 + 40*vg.Length(math.Sin(float64(i)/200)) + vg.Length(0.01*rng.Float64())})
	}
	const tolerance = 0.08
	got := simplify(pts, tolerance)
	if len(got) > len(pts)/10 || got[0] != pts[0] || got[len(got)-1] != pts[len(pts)-1] {
		t.Errorf("%d of %d points stay", len(got), len(pts))
	}
	for _, p := range pts {
		i := 1
		for got[i].X < p.X {
			i++
		}
		a, b := got[i-1], got[i]
		slope := float64((b.Y - a.Y) / (b.X - a.X))
		vertical := float64(a.Y-p.Y) + slope*float64(p.X-a.X)
		if d := math.Abs(vertical) / math.Hypot(1, slope); d > tolerance+1e-9 {
			t.Fatalf("at %v the line is off by %v", p.X, d)
		}
	}
	if one := simplify(pts[:1], 1); len(one) != 1 {
		t.Errorf("a point became %v", one)
	}
}

// The embedded font is small and holds what figures write.
func TestSubset(t *testing.T) {
	faces, ttf := typeface()
	if len(ttf) > 40_000 {
		t.Errorf("the cut font has %d bytes", len(ttf))
	}
	style := Light().style(labelSize, color.Black, 0, 0)
	for r := rune(first); r <= last; r++ {
		if w := style.Width(string(r)); w <= 0 {
			t.Errorf("%q has no width", r)
		}
	}
	if len(faces) != 1 {
		t.Errorf("%d faces", len(faces))
	}
	for _, b := range [][]byte{nil, ttf[:100], bytes.Repeat([]byte{0xff}, 200)} {
		if _, err := subset(b); err == nil {
			t.Errorf("a broken font of %d bytes was cut without an error", len(b))
		}
	}
}
