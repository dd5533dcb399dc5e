// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"time"
)

// quantile returns the q-quantile of sorted times: the least that a share q of them does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted)) + 0.999999)
	return sorted[min(max(i, 1), len(sorted))-1]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/1e6) }

// writeTable writes all figures as a table in Markdown.
func writeTable(w io.Writer, all []*figures) error {
	fmt.Fprintln(w, "| Services | system | configuration | n (lost) | p50 ms | p99 ms | watch p50 ms | watch p99 ms | p50 / watch | p99 / watch | received → served p50, p99 ms (at most) | ready s | RSS MiB when ready | RSS MiB after the changes | CPU s to ready | CPU s a 100 changes |")
	fmt.Fprintln(w, "|--:|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, f := range all {
		own := ""
		if f.Received != nil {
			own = fmt.Sprintf("%.2f, %.2f", 1000*f.Received.atMost(0.5), 1000*f.Received.atMost(0.99))
		}
		ratio := func(q float64) string {
			floor := quantile(f.Floors, q)
			if floor == 0 {
				return ""
			}
			return fmt.Sprintf("%.2f", float64(quantile(f.Delays, q))/float64(floor))
		}
		lost := ""
		if f.Lost > 0 {
			lost = fmt.Sprintf(" (%d)", f.Lost)
		}
		if _, err := fmt.Fprintf(w, "| %d | %s | %s: %s | %d%s | %s | %s | %s | %s | %s | %s | %s | %.2f | %d | %d | %.2f | %.2f |\n",
			f.Services, f.System, f.World, f.Note, len(f.Delays)+f.Lost, lost, ms(quantile(f.Delays, 0.5)), ms(quantile(f.Delays, 0.99)),
			ms(quantile(f.Floors, 0.5)), ms(quantile(f.Floors, 0.99)), ratio(0.5), ratio(0.99), own,
			f.Ready.Seconds(), f.RSS>>20, f.Settled>>20, f.StartCPU, 100*f.CPU/float64(max(1, len(f.Delays)+f.Lost))); err != nil {
			return err
		}
	}
	return nil
}
