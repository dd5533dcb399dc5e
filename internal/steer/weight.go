// SPDX-License-Identifier: Apache-2.0

package steer

// weigh gives those that are in their weights.
func (w *work) weigh() {
	in := 0
	for i := range w.d.Members {
		if w.d.Members[i].In {
			in++
		}
	}
	for i := range w.d.Members {
		if v := &w.d.Members[i]; v.In {
			v.Weight = 1 / float64(in)
		}
	}
}
