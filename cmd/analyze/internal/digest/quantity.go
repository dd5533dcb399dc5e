// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dnsingress/dnsingress/internal/stats"
)

// Quantity is one number of a trial: what figures set against each other.
type Quantity struct {
	Name  string // as figures.yaml has it
	Label string // with its unit, for an axis
	Log   bool   // spans orders of magnitude
	Of    func(*Trial) (v float64, ok bool)
}

// Quantities returns the quantities that have a name; besides them p followed by a percentage is one ("p99.9").
func Quantities() []Quantity {
	return []Quantity{
		{"p50", latencyLabel("p50"), true, percentile(50)},
		{"p90", latencyLabel("p90"), true, percentile(90)},
		{"p99", latencyLabel("p99"), true, percentile(99)},
		{"mean", "mean latency (ms)", true, func(t *Trial) (float64, bool) {
			p := t.Phases
			return (p.Lag + p.DNS + p.Connect + p.TLS + p.FirstByte + p.Rest) / 1e6, p.Requests > 0
		}},
		{"max", "longest latency (ms)", true, func(t *Trial) (float64, bool) {
			if t.Latency == nil {
				return 0, false
			}
			return float64(t.Latency.MaxNs()) / 1e6, true
		}},
		{"failed", "failed requests (%)", false, func(t *Trial) (float64, bool) { return 100 * t.ErrorShare(), t.Requests > 0 }},
		{"answered", "answered requests (1/s)", false, func(t *Trial) (float64, bool) {
			return float64(t.Requests-t.Failed) * 1e9 / float64(t.WindowEndNs-t.WindowStartNs), t.Requests > 0
		}},
		{"cpu", "CPU seconds for 1,000 requests", false, func(t *Trial) (float64, bool) {
			if t.Usage == nil {
				return 0, false
			}
			return t.Usage.Path(), true
		}},
		{"memory", "memory (MiB)", false, func(t *Trial) (float64, bool) {
			if t.Usage == nil {
				return 0, false
			}
			sum := int64(0)
			for _, c := range between {
				sum += t.Usage.RSSBytes[c]
			}
			return float64(sum) / (1 << 20), sum > 0
		}},
		{"outage", "client error window (s)", true, func(t *Trial) (float64, bool) {
			return float64(t.Outage.DurationNs()) / 1e9, t.Fault != nil
		}},
		{"gini", "Gini coefficient of pods' requests", false, func(t *Trial) (float64, bool) {
			if t.Heat == nil {
				return 0, false
			}
			return stats.Gini(t.Heat.Totals()), true
		}},
		{"jain", "Jain's fairness of pods' requests", false, func(t *Trial) (float64, bool) {
			if t.Heat == nil {
				return 0, false
			}
			return stats.Jain(t.Heat.Totals()), true
		}},
	}
}

// QuantityOf returns the quantity of a name.
func QuantityOf(name string) (Quantity, bool) {
	for _, q := range Quantities() {
		if q.Name == name {
			return q, true
		}
	}
	if digits, ok := strings.CutPrefix(name, "p"); ok {
		if p, err := strconv.ParseFloat(digits, 64); err == nil && p > 0 && p < 100 {
			return Quantity{name, latencyLabel(name), true, percentile(p)}, true
		}
	}
	return Quantity{}, false
}

// units are what a measure's last word may be.
var units = map[string]string{"s": "s", "ms": "ms", "us": "µs", "ns": "ns", "percent": "%", "bytes": "bytes", "mib": "MiB"}

// UnitOf splits the name of a measure (results.Trial.Measures) into words and its unit, which is the last word, or the last two of a rate
// ("per_s"). It is empty for counts, whose words say what is counted.
func UnitOf(measure string) (words []string, unit string) {
	words = strings.Split(measure, "_")
	last := len(words) - 1
	switch unit = units[words[last]]; {
	case unit == "" || last == 0:
		return words, ""
	case unit == "s" && last > 1 && words[last-1] == "per":
		return words[:last-1], "1/s"
	}
	return words[:last], unit
}

// Measure returns the quantity that trials' measures of a name are. Nanoseconds are given in ms.
func Measure(name string) Quantity {
	words, unit := UnitOf(name)
	label, factor := strings.Join(words, " "), 1.0
	if unit == "ns" {
		unit, factor = "ms", 1e-6
	}
	if unit != "" {
		label += " (" + unit + ")"
	}
	return Quantity{name, label, false, func(t *Trial) (float64, bool) {
		v, ok := t.Measures[name]
		return v * factor, ok
	}}
}

func latencyLabel(name string) string { return fmt.Sprintf("%s latency (ms)", name) }

func percentile(p float64) func(*Trial) (float64, bool) {
	return func(t *Trial) (float64, bool) {
		if t.Latency == nil {
			return 0, false
		}
		ns, ok := t.Latency.PercentileNs(p)
		return float64(ns) / 1e6, ok
	}
}
