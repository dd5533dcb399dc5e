// SPDX-License-Identifier: Apache-2.0

package figure

// Phases is the kind phases.
func (Catalog) Phases() Kind {
	return Kind{
		Name: "phases", Does: "mean time of a successful request by phase",
		Draw: func(d Data) *Figure {
			var bars []Bar
			for _, s := range d.Series {
				p, ok := s.system().Phases()
				if !ok {
					continue
				}
				bars = append(bars, Bar{System: s.Name, Seed: d.Seed, Trials: values(s.Trials, quantity("mean")), Parts: []Part{
					{Name: "send lag", Value: p.Lag / 1e6},
					{Name: "dns", Value: p.DNS / 1e6},
					{Name: "connect", Value: p.Connect / 1e6},
					{Name: "tls", Value: p.TLS / 1e6},
					{Name: "first byte", Value: p.FirstByte / 1e6},
					{Name: "rest", Value: p.Rest / 1e6},
				}})
			}
			return Phases(d.Name, bars)
		},
	}
}

// Phases draws the mean time of a successful request by phase. It returns nil when there is no bar.
func Phases(name string, bars []Bar) *Figure {
	return stacked(name, "Mean time of a successful request by phase", "mean time of a successful request (ms)",
		"Means over trials; rest: the body and what lies between phases.", bars)
}
