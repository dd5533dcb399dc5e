// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/pki"
)

// keysPhase makes the keys and certificates of each cluster where they are missing or no longer right.
type keysPhase struct {
	c *cluster.Cluster
	o Options
}

func (p *keysPhase) Title() string { return "Make keys and certificates" }

func (p *keysPhase) Plan() []string {
	var lines []string
	for _, m := range p.c.Inventory.Clusters() {
		lines = append(lines, "in "+pkiDir(p.c.StateDir, m)+", where they are missing or end soon")
	}
	return lines
}

// pkiDir is where the keys of a cluster are: several in one inventory have an authority each.
func pkiDir(stateDir string, member *inventory.Inventory) string {
	return filepath.Join(stateDir, "pki", member.Member)
}

func (p *keysPhase) Run(context.Context) error {
	count := 0
	for _, m := range p.c.Inventory.Clusters() {
		written, err := pki.Ensure(pkiDir(p.c.StateDir, m), m, time.Now())
		if err != nil {
			return err
		}
		count += len(written)
	}
	if count > 0 {
		fmt.Fprintf(p.o.Out, "      wrote %d files\n", count)
	}
	return nil
}
