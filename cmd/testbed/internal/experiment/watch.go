// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/internal/results"
)

// watchScript prints, each time that Kubernetes changes the backend's EndpointSlices, the instant and
// every address with its readiness. It ends by itself: a session that broke must leave no watch behind.
const watchScript = `timeout %d kubectl get endpointslices -n bench -l kubernetes.io/service-name=backend --watch --no-headers -o custom-columns=N:.metadata.name,A:.endpoints[*].addresses[0],R:.endpoints[*].conditions.ready | while read -r line; do echo "$(date +%%s%%N) $line"; done`

// watchPool returns what became of the backend's endpoints until the instant: the moment at which
// Kubernetes tells its watchers is the earliest at which any system can act. It costs CPU time on
// the control node, so it is done in fault trials only.
func watchPool(ctx context.Context, nodes Nodes, control string, until time.Time) ([]results.Event, error) {
	seconds := max(int(time.Until(until).Seconds()+0.999), 1)
	out, err := nodes.Shell(ctx, control, fmt.Sprintf(watchScript, seconds), nil)
	if err != nil {
		return nil, fmt.Errorf("watching endpoints: %w", err)
	}
	return parsePool(string(out), control), nil
}

// parsePool makes events of the differences between lines "INSTANT SLICE ADDRESS,… READY,…". The first
// line of a slice is how it stood. A line that was cut short is left out.
func parsePool(out, control string) []results.Event {
	var events []results.Event
	slicesSeen := map[string]map[string]string{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) != 4 || !strings.HasSuffix(line, "\n") {
			continue
		}
		ns, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			continue
		}
		now := map[string]string{}
		if fields[2] != "<none>" {
			ready := strings.Split(fields[3], ",")
			for i, address := range strings.Split(fields[2], ",") {
				if i < len(ready) {
					now[address] = ready[i]
				}
			}
		}
		before, seen := slicesSeen[fields[1]]
		slicesSeen[fields[1]] = now
		if !seen {
			continue
		}
		note := func(name, address string) {
			events = append(events, results.Event{
				UnixNs: ns, Kind: results.EventPool, Name: name, Node: control, Target: address,
				Detail: map[string]string{"source": "endpointslice"},
			})
		}
		var addresses []string
		for a := range before {
			addresses = append(addresses, a)
		}
		for a := range now {
			if _, known := before[a]; !known {
				addresses = append(addresses, a)
			}
		}
		slices.Sort(addresses)
		for _, a := range addresses {
			was, is := before[a], now[a]
			switch {
			case was == is:
			case is == "":
				note("gone", a)
			case is == "true":
				note("ready", a)
			case was == "":
				note("added", a)
			default:
				note("unready", a)
			}
		}
	}
	return events
}
