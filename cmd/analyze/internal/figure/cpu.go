// SPDX-License-Identifier: Apache-2.0

package figure

import "github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"

// CPU is the kind cpu.
func (Catalog) CPU() Kind {
	return Kind{
		Name: "cpu", Does: "CPU seconds for 1,000 requests by component between client and backend",
		Draw: func(d Data) *Figure {
			var bars []Bar
			for _, s := range d.Series {
				u := s.system().Usage()
				if u == nil {
					continue
				}
				b := Bar{System: s.Name, Seed: d.Seed, Trials: values(s.Trials, quantity("cpu"))}
				for _, component := range digest.Between() {
					b.Parts = append(b.Parts, Part{Name: component, Value: u.Component[component]})
				}
				b.Apart = []Part{{Name: "prometheus", Value: u.Component["prometheus"]}, {Name: "softirq", Value: u.Softirq}}
				bars = append(bars, b)
			}
			return CPU(d.Name, bars)
		},
	}
}

// CPU draws CPU seconds for 1,000 requests, stacked by component between client and backend.
// It returns nil when there is no bar.
func CPU(name string, bars []Bar) *Figure {
	return stacked(name, "CPU seconds for 1,000 requests by component", "CPU seconds for 1,000 requests",
		"Thick: everything between client and backend, the middle trial; thin: shown apart, not part of the sum.", bars)
}
