// SPDX-License-Identifier: Apache-2.0

package numbers

import (
	"path/filepath"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
)

// unready is when the cluster first called an address of the pool not ready: EndpointSlices as the control node saw them.
func unready(t *digest.Trial) (float64, bool) {
	events, err := results.ReadEvents(filepath.Join(t.Dir, results.EventsFile))
	if err != nil { // whoever draws the events says so
		return 0, false
	}
	for _, e := range events {
		if e.Kind == results.EventPool && e.Name == "unready" && e.UnixNs >= t.Fault.BeginNs {
			return seconds(e.UnixNs - t.Fault.BeginNs), true
		}
	}
	return 0, false
}
