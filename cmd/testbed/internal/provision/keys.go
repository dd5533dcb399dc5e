// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/pki"
)

// keysPhase makes the cluster's keys and certificates where they are missing or no longer right.
type keysPhase struct {
	c *cluster.Cluster
	o Options
}

func (p *keysPhase) Title() string { return "Make keys and certificates" }

func (p *keysPhase) Plan() []string {
	return []string{"in " + p.dir() + ", where they are missing or end soon"}
}

func (p *keysPhase) dir() string { return filepath.Join(p.c.StateDir, "pki") }

func (p *keysPhase) Run(context.Context) error {
	written, err := pki.Ensure(p.dir(), p.c.Inventory, time.Now())
	if err == nil && len(written) > 0 {
		fmt.Fprintf(p.o.Out, "      wrote %d files\n", len(written))
	}
	return err
}
