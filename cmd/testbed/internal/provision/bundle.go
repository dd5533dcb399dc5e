// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
)

// bundlePhase builds everything that the nodes need.
type bundlePhase struct{ o Options }

func (p *bundlePhase) Title() string { return "Build what the nodes need" }

func (p *bundlePhase) Plan() []string {
	var lines []string
	for _, src := range p.o.Catalog {
		lines = append(lines, "build "+src.Name()+" unless it is cached")
	}
	return lines
}

func (p *bundlePhase) Run(ctx context.Context) error {
	p.o.Store.Report = func(r bundle.Progress) { ReportBuild(p.o.Out, r) }
	p.o.Store.FindKeys(ctx, p.o.Catalog)
	for _, src := range p.o.Catalog {
		if _, err := p.o.Store.Get(ctx, src); err != nil {
			return err
		}
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
