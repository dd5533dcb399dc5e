// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zonefile"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/spf13/cobra"
)

func checkZoneCommand(s streams) *cobra.Command {
	var zones zoneFlags
	var keys signingFlags
	c := &cobra.Command{
		Use:   "check-zone FILE...",
		Short: "Say whether zone files can be served, or everything that is wrong with them",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			signing, err := keys.load(slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			wrong := 0
			var origins []string
			for _, path := range files {
				z, _, err := zones.load(path)
				if many := zonefile.Errors(nil); errors.As(err, &many) {
					fmt.Fprintln(s.out, many)
					wrong += len(many)
					continue
				}
				if err != nil {
					return cli.Misuse("%w", err)
				}
				origins = append(origins, z.Origin())
				if _, err := signing.sign(z); err != nil {
					fmt.Fprintf(s.out, "%s: %v\n", path, err)
					wrong++
					continue
				}
				fmt.Fprintf(s.out, "%s: ok: zone %s, serial %d, %d names\n", path, z.Origin(), z.Serial(), z.Len())
			}
			if wrong > 0 {
				return fmt.Errorf("%d errors in zone files", wrong)
			}
			return signing.unused(origins)
		},
	}
	zones.add(c.Flags())
	keys.add(c)
	return c
}
