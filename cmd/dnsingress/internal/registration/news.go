// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"context"
	"log/slog"
)

// newsMost is how many different lines are logged at once.
const newsMost = 16

// news gathers what is new of zones, to log it once for all zones of which it is the same: that an upper is away is news of
// a thousand.
type news struct {
	lines []line
	zones map[line][]string
}

// line is what is new, with what else is to be said of it, as reason and message; either may be missing.
type line struct {
	level           slog.Level
	text            string
	reason, message string
}

func (n *news) add(zone string, l line) {
	if n.zones == nil {
		n.zones = map[line][]string{}
	}
	if n.zones[l] == nil {
		n.lines = append(n.lines, l)
	}
	n.zones[l] = append(n.zones[l], zone)
}

func (n *news) log(to *slog.Logger) {
	for i, l := range n.lines {
		if i == newsMost {
			to.Warn("registration: there is more news than is logged; dnsingress explain has it", "zone", n.zones[l][0], "more", len(n.lines)-i)
			return
		}
		attrs := []slog.Attr{slog.String("zone", n.zones[l][0])}
		if more := len(n.zones[l]) - 1; more > 0 {
			attrs = append(attrs, slog.Int("andOthers", more))
		}
		if l.reason != "" {
			attrs = append(attrs, slog.String("reason", l.reason))
		}
		if l.message != "" {
			attrs = append(attrs, slog.String("message", l.message))
		}
		to.LogAttrs(context.Background(), l.level, l.text, attrs...)
	}
}
