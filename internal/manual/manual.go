// SPDX-License-Identifier: Apache-2.0

// Package manual writes the manual pages of a command tree.
package manual

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/dnsingress/dnsingress/internal/cli"
)

// Command returns the command "man DIR", which writes a page of section 1 for root and each command below it.
func Command(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages into a directory",
		Example: fmt.Sprintf("  %[1]s man /usr/local/share/man/man1 && man %[1]s", root.Name()),
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("making the directory of manual pages: %w", err)
			}
			root.DisableAutoGenTag = true // pages of one version are the same whenever they are made
			header := &doc.GenManHeader{Title: strings.ToUpper(root.Name()), Section: "1", Source: "dnsingress " + cli.Version(), Manual: "dnsingress"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("writing the manual pages into %s: %w", args[0], err)
			}
			return nil
		},
	}
}
