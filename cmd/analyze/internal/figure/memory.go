// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"cmp"
	"slices"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
)

// Memory is the kind memory.
func (Catalog) Memory() Kind {
	return Kind{
		Name: "memory", Does: "memory at the end of the window by component between client and backend",
		Draw: func(d Data) *Figure {
			var bars []Bar
			for _, s := range d.Series {
				var used []*digest.Usage
				for _, t := range s.Trials {
					if t.Usage != nil && len(t.Usage.RSSBytes) > 0 {
						used = append(used, t.Usage)
					}
				}
				if len(used) == 0 {
					continue
				}
				sum := func(u *digest.Usage) (bytes int64) {
					for _, component := range digest.Between() {
						bytes += u.RSSBytes[component]
					}
					return bytes
				}
				slices.SortStableFunc(used, func(a, b *digest.Usage) int { return cmp.Compare(sum(a), sum(b)) })
				middle := used[(len(used)-1)/2]
				b := Bar{System: s.Name, Seed: d.Seed}
				for _, u := range used {
					b.Trials = append(b.Trials, float64(sum(u))/(1<<20))
				}
				for _, component := range digest.Between() {
					b.Parts = append(b.Parts, Part{Name: component, Value: float64(middle.RSSBytes[component]) / (1 << 20)})
				}
				b.Apart = []Part{{Name: "prometheus", Value: float64(middle.RSSBytes["prometheus"]) / (1 << 20)}}
				bars = append(bars, b)
			}
			if !slices.ContainsFunc(bars, func(b Bar) bool { return slices.ContainsFunc(b.Parts, func(p Part) bool { return p.Value > 0 }) }) {
				return nil // files from before memory was read
			}
			return Memory(d.Name, bars)
		},
	}
}

// Memory draws resident memory, stacked by component between client and backend. It returns nil when there is no bar.
func Memory(name string, bars []Bar) *Figure {
	return stacked(name, "Memory by component at the end of the window", "resident memory (MiB)",
		"Thick: everything between client and backend, the middle trial; thin: shown apart, not part of the sum.", bars)
}
