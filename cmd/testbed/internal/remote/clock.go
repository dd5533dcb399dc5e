// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// clockRounds is how often a clock is asked; the round with the shortest round trip counts.
const clockRounds = 8

// ClockOffset returns how far a node's clock is ahead of ours, by the round trip with the least
// delay, and that round trip: the offset is right to within half of it (as in NTP, RFC 5905 §8).
func (f *Fleet) ClockOffset(ctx context.Context, node string) (offset, rtt time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// One shell answers each line with its time, by itself: a session or a date(1) a round would be
	// measured, too.
	const line = `LC_ALL=C exec bash -c 'while read -r _; do echo "$EPOCHREALTIME"; done'`
	asked, ask := io.Pipe()
	answers, answer := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := f.Run(ctx, node, Command{Line: line, Stdin: asked, Stdout: answer})
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		asked.CloseWithError(err)
		answer.CloseWithError(err)
	}()
	defer func() {
		ask.Close()
		answers.Close()
		<-ended
	}()
	lines := bufio.NewReader(answers)
	for i := range clockRounds {
		sent := time.Now()
		if _, err := io.WriteString(ask, "\n"); err != nil {
			return 0, 0, fmt.Errorf("asking the clock: %w", err)
		}
		answer, err := lines.ReadString('\n')
		trip := time.Since(sent)
		if err != nil {
			return 0, 0, fmt.Errorf("asking the clock: %w", err)
		}
		us, err := strconv.ParseInt(strings.Replace(strings.TrimSpace(answer), ".", "", 1), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("asking the clock of %s: %w", node, err)
		}
		if i == 0 || trip < rtt {
			// Wall clocks on both sides: the monotonic one of sent only measures the trip.
			rtt, offset = trip, time.Duration(us*1000-sent.Add(trip/2).UnixNano())
		}
	}
	return offset, rtt, nil
}
