// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// listCommand makes c the command that asks a running dnsingress for a list of its admin address, and prints it: as a table, or
// the JSON as it came.
func listCommand[T any](s streams, c *cobra.Command, list string, print func(io.Writer, T, time.Time) error) *cobra.Command {
	var base, output string
	c.Args = cobra.NoArgs
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(output); err != nil {
			return err
		}
		u, err := adminURL(base)
		if err != nil {
			return err
		}
		body, err := askAdmin(cmd.Context(), u.JoinPath(list))
		if err != nil {
			return err
		}
		if output == "json" {
			_, err := s.out.Write(body)
			return err
		}
		var told T
		if err := json.Unmarshal(body, &told); err != nil {
			return fmt.Errorf("reading what %s says: %w (hint: is that dnsingress's admin address?)", u, err)
		}
		return print(s.out, told, time.Now())
	}
	c.Flags().StringVar(&base, "admin", "http://localhost:9153", "`URL` of the admin address of a running dnsingress")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}
