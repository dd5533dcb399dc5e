// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/stats"
)

// Trial is what one trial shows.
type Trial struct {
	results.Trial
	Dir      string
	Verdict  results.Verdict
	Warnings []Warning

	// Latency of successful requests in the window; nil when there is none to be had.
	Latency *stats.Latency
	// Requests that were due in the window, and those of them that failed, by error class.
	Requests uint64
	Failed   uint64
	Errors   map[string]uint64

	Phases   Phases
	Usage    *Usage    // nil when resources.parquet could not be read
	Timeline *Timeline // fault trials only
	Heat     *Heat     // nil when the samples name no backends
	Events   []Event
	Share    *Share // fault trials on a pod whose samples name backends, else nil
	Outage   stats.Outage
	// Accuracy of answers second by second, of workload dns; else nil.
	Accuracy []results.Accuracy
	// ClockBoundNs is how far the fault's instant may be off on the clients' clocks.
	ClockBoundNs int64
}

// Phases holds the mean time of a successful request by phase, in nanoseconds. The phases and Rest add up to the mean total.
type Phases struct {
	Requests                          uint64 // that the means are of
	Lag, DNS, Connect, TLS, FirstByte float64
	Rest                              float64 // the body, and what lies between phases
}

// Timeline counts requests by when they were due, relative to the fault's begin.
type Timeline struct {
	BinNs   int64
	StartNs int64 // of the first bin, relative to the fault's begin
	EndNs   int64 // of the fault, relative to its begin
	OK      []float64
	Failed  []float64
}

const (
	baseBin = 50 * time.Millisecond // finer than any figure shows
	maxBins = 1 << 16               // bounds the memory for long windows
)

func (t *Trial) warn(damage bool, format string, a ...any) {
	t.Warnings = append(t.Warnings, Warning{Trial: t.ID, Text: fmt.Sprintf(format, a...), Damage: damage})
}

func (t *Trial) file(name string) string { return filepath.Join(t.Dir, name) }

// Used says whether the trial's figures count.
func (t *Trial) Used() bool { return t.Verdict.Valid }

// Condition says what was done in the trial besides its load: the fault's kind, or the level of factor "fault" where nothing was broken, such
// as churn-10, find-max, idle. It is empty for steady trials.
func (t *Trial) Condition() string {
	switch {
	case t.Fault != nil:
		return t.Fault.Kind
	case t.Kind == results.KindSteady || t.Kind == "":
		return ""
	}
	return cmp.Or(t.Factors["fault"], t.Kind)
}

// ErrorShare is the share of requests that failed, NaN when there was none.
func (t *Trial) ErrorShare() float64 { return float64(t.Failed) / float64(t.Requests) }

func readTrial(ctx context.Context, d results.TrialDir, c clocks, thinned bool) (t Trial) {
	t = Trial{Trial: d.Trial, Dir: d.Dir, Verdict: d.Verdict, Errors: map[string]uint64{}}
	if t.ID == "" {
		t.ID = filepath.Base(d.Dir)
	}
	if !t.Verdict.Valid {
		t.warn(false, "left out, not valid: %s", cmp.Or(strings.Join(t.Verdict.Reasons, "; "), "its verdict gives no reason"))
		left := t.Warnings
		defer func() { t.Warnings = left }() // what else is wrong with it touches no figure
	}
	if v := t.SchemaVersion; v < 0 || v > results.SchemaVersion {
		t.warn(true, "left out: its schema version is %d, this program reads 1 to %d", v, results.SchemaVersion)
		t.Verdict.Valid = false
		return t
	}
	if t.WindowEndNs <= t.WindowStartNs {
		t.warn(true, "the window ends before it starts: nothing in it can be counted")
		t.Verdict.Valid = false
		return t
	}
	if t.Kind == results.KindFault && t.Fault == nil {
		t.warn(true, "a fault trial that records no fault")
	}
	logged, err := readHistogram(filepath.Join(d.Dir, results.HistogramFile))
	if err != nil {
		t.warn(true, "%v", err)
	}
	t.readSamples(ctx, c, thinned, logged)
	t.readUsage()
	t.readEvents(c)
	if t.Accuracy, err = results.ReadAccuracy(t.file(results.AccuracySecondsFile)); err != nil {
		t.warn(true, "%v", err)
	}
	return t
}

func readHistogram(path string) (*stats.Latency, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close()
	l, err := stats.ReadLatency(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return l, nil
}

// readSamples streams samples.parquet. The logged histogram, where there is one, is what latency is read from:
// it is whole in a thinned run too, so that the figures of both agree.
func (t *Trial) readSamples(ctx context.Context, c clocks, thinned bool, logged *stats.Latency) {
	g := &gather{trial: t, counted: stats.NewLatency(), shift: map[string]int64{}}
	if t.Fault != nil {
		g.timeline = newTimeline(t.Trial)
		t.Timeline = g.timeline
		g.share = newShare(t.Trial)
		for client := range t.Generators {
			shift, bound := c.between(client, t.Fault.Node)
			g.shift[client] = shift
			t.ClockBoundNs = max(t.ClockBoundNs, bound)
		}
	}
	g.heat = newHeat(t.Trial)
	missing, err := readBlocks(t.file(results.SamplesFile), func(b *block) error {
		g.begin(b)
		for i := range b.rows {
			g.add(b, i)
		}
		return ctx.Err()
	})
	if len(missing) > 0 {
		t.warn(true, "its samples have no column %s, or none of numbers: what rests on it is not drawn", strings.Join(missing, ", "))
	}
	switch {
	case err != nil && g.rows > 0:
		t.warn(true, "%v: what comes before the damage is used", err)
	case err != nil:
		t.warn(true, "%v: latency is that of the histogram, failures are not known", err)
	case g.rows == 0 && !thinned && logged != nil && logged.Count() > 0:
		t.warn(true, "%s holds no sample, the histogram %d: failures are not known", results.SamplesFile, logged.Count())
	}
	g.finish(thinned, logged)
}

// gather folds rows into a trial.
type gather struct {
	trial    *Trial
	counted  *stats.Latency
	timeline *Timeline
	share    *Share
	heat     *Heat
	shift    map[string]int64 // by client: to the clock of the fault's node

	// Of the block: by its texts' places.
	shifts  []int64
	pods    []int // rows of heat; -1 for the empty text
	targets []bool

	rows, ok, retries, broken, void, long uint64
	phased                                uint64     // successes whose phases are all there
	sums                                  [5]float64 // lag, dns, connect, tls, first byte
	total                                 float64    // of the phased
}

// begin looks up once a block what rows would look up by text.
func (g *gather) begin(b *block) {
	g.shifts, g.pods, g.targets = g.shifts[:0], g.pods[:0], g.targets[:0]
	for _, client := range b.client.text {
		g.shifts = append(g.shifts, g.shift[client])
	}
	for _, backend := range b.backend.text {
		g.pods = append(g.pods, g.heat.row(backend))
		g.targets = append(g.targets, g.share.isTarget(g.trial.Fault, backend))
	}
}

func (g *gather) add(b *block, i int) {
	t := g.trial
	g.rows++
	intended, sent, total := b.intended[i], b.sent[i], b.total[i]
	if intended == none || total == none {
		g.void++
		return
	}
	if intended < t.WindowStartNs || intended >= t.WindowEndNs {
		return
	}
	phases := [5]int64{sent - intended, b.dns[i], b.connect[i], b.tls[i], b.first[i]}
	if sent == none {
		phases[0] = none
	} else if sent != 0 && sent < intended {
		phases[0] = -1
	} else if sent == 0 {
		phases[0] = 0
	}
	whole := true
	for _, ns := range phases {
		if ns < 0 {
			if ns != none {
				g.broken++
				return
			}
			whole = false
		}
	}
	if total < 0 {
		g.broken++
		return
	}
	if b.attempt[i] > 0 {
		g.retries++
	}
	at := intended
	if f := t.Fault; f != nil {
		at += g.shifts[b.client.index[i]] - f.BeginNs
	}
	if class := b.class.at(i); class != "" {
		t.Failed++
		t.Errors[class]++
		if f := t.Fault; f != nil {
			t.Outage.Add(f.BeginNs, at+f.BeginNs, total)
			g.timeline.count(at, g.timeline.Failed)
		}
		return
	}
	g.ok++
	if g.counted.Record(total, 1) != nil {
		g.long++
	}
	if whole {
		g.phased++
		for phase, ns := range phases {
			g.sums[phase] += float64(ns)
		}
		g.total += float64(total)
	}
	pod := b.backend.index[i]
	if f := t.Fault; f != nil {
		g.timeline.count(at, g.timeline.OK)
		if g.pods[pod] >= 0 {
			g.share.add(f, at, total, g.targets[pod])
		}
	} else {
		at -= t.WindowStartNs
	}
	g.heat.add(at, g.pods[pod])
}

// finish sets what needs all rows, and holds the trial's accounts against each other.
func (g *gather) finish(thinned bool, logged *stats.Latency) {
	t := g.trial
	if g.share.known() {
		t.Share = g.share
	}
	if g.heat.known() {
		t.Heat = g.heat
	}
	if g.void > 0 {
		t.warn(true, "%d rows without a number for their time (NaN or null) were left out", g.void)
	}
	if g.phased < g.ok && g.phased > 0 {
		t.warn(true, "%d requests lack the time of a phase (NaN or null): mean times by phase are of the other %d", g.ok-g.phased, g.phased)
	}
	if g.broken > 0 {
		t.warn(true, "%d rows with negative times were left out", g.broken)
	}
	if g.long > 0 {
		t.warn(true, "%d requests took longer than a histogram holds", g.long)
	}
	if g.rows > 0 && g.ok+t.Failed == 0 {
		t.warn(true, "none of the %d samples lies in the window", g.rows)
	}
	intended := uint64(0)
	for _, gen := range t.Generators {
		intended += gen.Requests
	}
	weight, successes := 1.0, g.ok
	t.Latency = g.counted
	if logged != nil {
		t.Latency = logged
		switch n := uint64(logged.Count()); {
		case thinned || g.rows == 0:
			successes = n
			if g.ok > 0 {
				weight = float64(n) / float64(g.ok)
			}
		case n != g.ok:
			t.warn(true, "the histogram holds %d successful requests, the samples %d", n, g.ok)
		}
	}
	if t.Latency.Count() == 0 {
		t.Latency = nil
	}
	t.Requests = successes + t.Failed
	if over := t.Requests - intended; thinned && intended > 0 && t.Requests > intended && over <= t.Failed {
		g.retries = over // one that succeeded may have been left out, the failure before it never is
	}
	if g.retries > 0 {
		t.warn(false, "%d attempts were retries: each attempt is counted as a request", g.retries)
	}
	if intended > 0 && t.Requests != intended+g.retries {
		t.warn(true, "%d requests are recorded, the generators intended %d", t.Requests, intended)
	}
	if g.timeline != nil && weight != 1 {
		for i := range g.timeline.OK {
			g.timeline.OK[i] *= weight
		}
	}
	if n := float64(g.phased); n > 0 {
		p := Phases{Requests: g.phased, Lag: g.sums[0] / n, DNS: g.sums[1] / n, Connect: g.sums[2] / n, TLS: g.sums[3] / n, FirstByte: g.sums[4] / n}
		p.Rest = math.Max(0, g.total/n-p.Lag-p.DNS-p.Connect-p.TLS-p.FirstByte)
		t.Phases = p
	}
}

func newTimeline(t results.Trial) *Timeline {
	length := t.WindowEndNs - t.WindowStartNs
	bin := max(int64(baseBin), (length/maxBins+int64(baseBin)-1)/int64(baseBin)*int64(baseBin))
	start := floorTo(t.WindowStartNs-t.Fault.BeginNs, bin)
	n := (length+bin-1)/bin + 1
	return &Timeline{BinNs: bin, StartNs: start, EndNs: t.Fault.EndNs - t.Fault.BeginNs, OK: make([]float64, n), Failed: make([]float64, n)}
}

// count adds one request at the relative instant; a clock shift may put it just outside.
func (l *Timeline) count(at int64, into []float64) {
	i := (floorTo(at, l.BinNs) - l.StartNs) / l.BinNs
	into[min(max(i, 0), int64(len(into)-1))]++
}

func floorTo(v, step int64) int64 {
	q := v / step
	if v%step != 0 && v < 0 {
		q--
	}
	return q * step
}

// StillFailing says that requests failed until the window ended: the error window is at least as long as it was seen.
// Failures count as going on when the last was due no longer before the end than three times their mean distance.
func (t *Trial) StillFailing() bool {
	o := t.Outage
	if o.Failed == 0 {
		return false
	}
	slack := max(int64(250*time.Millisecond), 3*(o.LastSentNs-o.FirstNs)/int64(o.Failed))
	return t.WindowEndNs-o.LastSentNs < slack
}

// ErrorClasses returns the trial's error classes, the most frequent first.
func (t *Trial) ErrorClasses() []string {
	return slices.SortedFunc(maps.Keys(t.Errors), func(a, b string) int {
		if t.Errors[a] != t.Errors[b] {
			if t.Errors[a] > t.Errors[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
}
