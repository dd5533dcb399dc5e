// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/live"
)

const watchLong = `watch shows several generators as one while they run. ADDR is where each serves its --metrics.
Counts and histograms are added exactly: a percentile is that of all their requests. It ends when every
generator has ended.`

func watchCommand(stderr io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "watch ADDR...",
		Short:   "Show several generators as one while they run",
		Long:    watchLong,
		Example: "  loadgen watch client-1:9464 client-2:9464",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return watch(cmd.Context(), args, stderr)
		},
	}
}

// askEvery is how often generators are asked.
const askEvery = 500 * time.Millisecond

func watch(ctx context.Context, peers []string, stderr io.Writer) error {
	w := live.NewWatch(peers)
	if _, err := w.Ask(ctx); err != nil {
		return err
	}
	stop := live.Show(stderr, w.Frame)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		ended, err := w.Ask(ctx)
		if err == nil && ended < len(peers) {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		stop()
		fmt.Fprintln(stderr, live.Line(w.Frame()))
		return err
	}
}
