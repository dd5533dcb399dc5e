// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/forward"
)

func forwardsCommand(s streams) *cobra.Command {
	return listCommand(s, &cobra.Command{
		Use:   "forwards",
		Short: "Say of each zone that is forwarded how its servers do",
		Long: `Say of each zone that is forwarded how its servers do: up, down or a loop, why and since
when, and what the zone's questions were answered from: memory, a server, an answer that
was stale, or nothing.`,
		Example: `  dnsingress forwards --admin http://[fd6e:7369:0:1::11]:9153
  dnsingress forwards -o json`,
	}, "forwards", printForwards)
}

func printForwards(w io.Writer, zones []forward.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ZONE\tSERVER\tSTATE\tREASON\tROUND TRIP\tASKED\tFAILED\tLOOPS\tFOR")
	for _, z := range zones {
		for _, u := range z.Servers {
			trip := "-"
			if u.RoundTrip > 0 {
				trip = time.Duration(u.RoundTrip * float64(time.Second)).Round(time.Microsecond).String()
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", z.Zone, u.Address, u.State, orDash(u.Reason), trip, u.Asked, u.Failed, u.Loops, now.Sub(u.Since).Round(time.Second))
		}
	}
	fmt.Fprintln(t, "\nZONE\tPOLICY\tCACHED\tASKED\tSTALE\tFAILED\tLOOP\tREMEMBERED\tOCTETS")
	for _, z := range zones {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", z.Zone, z.Policy, z.Answers["cached"], z.Answers["asked"], z.Answers["stale"],
			z.Answers["failed"], z.Answers["loop"], z.Cache.Entries, z.Cache.Octets)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}
