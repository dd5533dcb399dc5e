// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// bundlePhase builds everything that the nodes need.
type bundlePhase struct {
	c *cluster.Cluster
	o Options
}

func (p *bundlePhase) Title() string { return "Build what the nodes need" }

func (p *bundlePhase) Plan() []string {
	var lines []string
	for _, src := range p.o.Catalog {
		lines = append(lines, "build "+src.Name()+" unless it is cached")
	}
	return lines
}

func (p *bundlePhase) Run(ctx context.Context) error {
	if err := p.architecture(ctx); err != nil {
		return err
	}
	p.o.Store.Report = func(r bundle.Progress) { ReportBuild(p.o.Out, r) }
	p.o.Store.FindKeys(ctx, p.o.Catalog)
	for _, src := range p.o.Catalog {
		if _, err := p.o.Store.Get(ctx, src); err != nil {
			return err
		}
	}
	return nil
}

// architecture has the bundle built for the boards' processors; virtual nodes have this machine's.
func (p *bundlePhase) architecture(ctx context.Context) error {
	if p.c.Inventory.Substrate == "twin" {
		return nil
	}
	var mu sync.Mutex
	found := map[string][]string{}
	err := p.c.Fleet.Each(ctx, p.c.Work.Of(p.c.Inventory.Nodes), 0, func(ctx context.Context, n inventory.Node) error {
		arch := p.c.Inventory.Boot.Arch()
		if !p.c.Work.Blank(n) {
			r, err := p.c.Fleet.Run(ctx, n.Name, remote.Command{Line: "dpkg --print-architecture"})
			if err != nil {
				return fmt.Errorf("asking for the architecture: %w", err)
			}
			arch = strings.TrimSpace(string(r.Stdout))
		}
		mu.Lock()
		defer mu.Unlock()
		found[arch] = append(found[arch], n.Name)
		return nil
	})
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("the nodes have different architectures: %v (hint: an inventory has boards of one kind)", found)
	}
	for arch := range found { // Debian's amd64 and arm64 are Go's
		if arch != "amd64" && arch != "arm64" {
			return fmt.Errorf("no bundle can be built for architecture %q (hint: a 64-bit system)", arch)
		}
		p.o.Store.Arch = arch
	}
	return nil
}

// ReportBuild prints the progress of a build as lines.
func ReportBuild(out io.Writer, r bundle.Progress) {
	elapsed := r.Elapsed.Round(100 * time.Millisecond)
	switch {
	case r.Err != nil: // whoever asked for it says so
	case r.Done:
		fmt.Fprintf(out, "      built %s in %s\n", r.Source.Name(), elapsed)
	case r.Elapsed == 0:
		fmt.Fprintf(out, "      building %s\n", r.Source.Name())
	default:
		fmt.Fprintf(out, "      building %s: %s so far\n", r.Source.Name(), elapsed.Round(time.Second))
	}
}
