// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// imagesPhase gives the workers the container images that they have not, or have otherwise.
type imagesPhase struct {
	c *cluster.Cluster
	o Options
}

// keyLabel is the label by which an imported image says what it was built from.
const keyLabel = "dnsingress.dev/bundle-key"

func (p *imagesPhase) Title() string { return "Import container images" }

func (p *imagesPhase) Plan() []string {
	var lines []string
	for _, n := range p.c.Work.Of(p.c.Inventory.Group(inventory.Worker)) {
		for _, i := range bundle.Images(p.o.Catalog) {
			lines = append(lines, n.Name+": "+i.Ref())
		}
	}
	return lines
}

// image is one that a worker must have.
type image struct{ ref, key, file string }

// images returns what every worker must have.
func images(ctx context.Context, o Options) ([]image, error) {
	var images []image
	for _, i := range bundle.Images(o.Catalog) {
		item, err := o.Store.Look(ctx, i)
		if err != nil {
			return nil, err
		}
		images = append(images, image{i.Ref(), item.Key, item.Path})
	}
	return images, nil
}

func (p *imagesPhase) Run(ctx context.Context) error {
	images, err := images(ctx, p.o)
	if err != nil {
		return err
	}
	return p.c.Each(ctx, "images", p.c.Inventory.Group(inventory.Worker), 0, func(ctx context.Context, n inventory.Node) (string, error) {
		have, err := p.c.Fleet.Run(ctx, n.Name, remote.Command{Line: "ctr -n k8s.io images ls"})
		if err != nil {
			return "", fmt.Errorf("listing images: %w", err)
		}
		missing := missingImages(images, string(have.Stdout))
		for _, i := range missing {
			if err := p.put(ctx, n, i); err != nil {
				return "", fmt.Errorf("importing %s: %w", i.ref, err)
			}
		}
		if len(missing) == 0 {
			return "", nil
		}
		return fmt.Sprintf("imported %d of %d images", len(missing), len(images)), nil
	})
}

// missingImages returns the images that a worker's list, as ctr prints it, does not have with the right key.
func missingImages(images []image, list string) []image {
	var missing []image
	for _, i := range images {
		found := false
		for line := range strings.Lines(list) {
			fields := strings.Fields(line)
			found = found || len(fields) > 0 && fields[0] == i.ref && strings.Contains(line, keyLabel+"="+i.key)
		}
		if !found {
			missing = append(missing, i)
		}
	}
	return missing
}

func (p *imagesPhase) put(ctx context.Context, n inventory.Node, i image) error {
	file := path.Join(imagesTarget, filepath.Base(i.file))
	if p.c.Inventory.Substrate != "twin" { // whose nodes have the directory bound
		f, err := os.Open(i.file)
		if err != nil {
			return err
		}
		err = p.c.Fleet.Put(ctx, n.Name, f, file, fs.FileMode(0o644))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	line := fmt.Sprintf("ctr -n k8s.io images import %s && ctr -n k8s.io images label %s %s=%s", file, i.ref, keyLabel, i.key)
	_, err := p.c.Fleet.Run(ctx, n.Name, remote.Command{Line: line})
	return err
}
