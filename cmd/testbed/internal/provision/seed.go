// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"context"
	"fmt"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

// seedPhase has the container images imported once for all virtual workers, before they are booted.
type seedPhase struct{ o Options }

func (p *seedPhase) Title() string { return "Unpack container images for new workers" }

func (p *seedPhase) Run(ctx context.Context) error {
	seed, err := seedBuild(ctx, p.o)
	if err != nil {
		return err
	}
	return seed.Build(ctx)
}

func (p *seedPhase) Plan() []string {
	return []string{fmt.Sprintf("this machine: %d images, unless they are cached", len(bundle.Images(p.o.Catalog)))}
}

// Seed returns what a virtual node's containerd begins with; nothing on nodes without one.
func Seed(ctx context.Context, o Options, n inventory.Node) (string, error) {
	if !n.In(inventory.Worker) {
		return "", nil
	}
	seed, err := seedBuild(ctx, o)
	return seed.Path(), err
}

func seedBuild(ctx context.Context, o Options) (twin.SeedBuild, error) {
	images, err := images(ctx, o)
	b := twin.SeedBuild{Cache: o.Store.Dir, Base: o.Base, Out: o.Verbose}
	for _, i := range images {
		b.Images = append(b.Images, twin.SeedImage{Ref: i.ref, File: i.file, Label: keyLabel + "=" + i.key})
	}
	return b, err
}
