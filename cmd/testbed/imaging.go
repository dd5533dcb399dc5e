// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// imaging returns what writes the cards of a cluster's boards; nil where nothing does. The service runs where testbed runs:
// on the node with that role, or on a machine that is none of the nodes and has the interface that the inventory names.
func (s streams) imaging(c *cluster.Cluster, log *slog.Logger) (cluster.Imaging, error) {
	inv := c.Inventory
	if inv.Substrate == "twin" || len(inv.Images) == 0 || inv.Netboot().Name == "" && inv.Boot.Interface == "" {
		return nil, nil
	}
	return &overNetwork{cluster: c, out: s.Err, log: log}, nil
}

// overNetwork is imaging for commands that are about nothing else.
func (s streams) overNetwork(c *cluster.Cluster, log *slog.Logger) (*overNetwork, error) {
	imaging, err := s.imaging(c, log)
	if err != nil {
		return nil, err
	}
	if o, ok := imaging.(*overNetwork); ok {
		return o, nil
	}
	return nil, cli.Misuse("nothing writes the nodes of %s over the network (hint: substrate pi, images:, and a node with the role netboot or boot.interface)", c.Inventory.Path)
}

// can says whether a node can be written over the network.
func (o *overNetwork) can(n inventory.Node) error {
	inv := o.cluster.Inventory
	_, named := inv.ImageOf(n)
	switch {
	case !named:
		return fmt.Errorf("the inventory names no image for %s (hint: images: and image: in %s)", n.Name, inv.Path)
	case n.MAC.IsZero():
		return fmt.Errorf("%s has no MAC address (hint: mac in %s)", n.Name, inv.Path)
	case n.Runs(inventory.RoleNetboot) || n.Runs(inventory.RoleOrchestrator):
		return fmt.Errorf("%s serves the images and cannot be written itself (hint: testbed flash)", n.Name)
	}
	return nil
}

// overNetwork writes cards of boards that it makes boot from the network. The netboot service runs while any board is
// written, and no longer: all others are to boot from their cards.
type overNetwork struct {
	cluster *cluster.Cluster
	out     io.Writer // progress of what is made on this machine
	log     *slog.Logger

	mu      sync.Mutex
	recipe  *image.Recipe
	agent   []byte
	users   int
	service *netboot.Service
}

// Wanted returns the id of a node's image. What is on the machine that serves the images is nobody's to write over.
func (o *overNetwork) Wanted(ctx context.Context, n inventory.Node) (string, error) {
	if o.can(n) != nil {
		return "", nil
	}
	recipe, err := o.recipes()
	if err != nil {
		return "", err
	}
	return recipe.ID(ctx, n)
}

// Image makes a node's image.
func (o *overNetwork) Image(ctx context.Context, n inventory.Node) (netboot.Image, error) {
	recipe, err := o.recipes()
	if err != nil {
		return netboot.Image{}, err
	}
	i, err := recipe.Image(ctx, n)
	if err != nil {
		return netboot.Image{}, err
	}
	sum, err := i.Sum(ctx)
	if err != nil {
		return netboot.Image{}, err
	}
	made := netboot.Image{Image: order.Image{ID: i.ID, Size: i.Size(), SHA256: fmt.Sprintf("%x", sum)}, Disk: i}
	if o.cluster.Inventory.Boot.Firmware == inventory.FirmwarePi {
		made.Boot, err = i.Boot()
	}
	return made, err
}

// Reimage writes one board anew, within the power budget.
func (o *overNetwork) Reimage(ctx context.Context, n inventory.Node, report func(step string, done, total int64)) error {
	cycler, ok := o.cluster.Power.(power.Cycler)
	if !ok {
		return errors.New("nothing here switches the power of nodes")
	}
	service, release, err := o.serve(ctx)
	if err != nil {
		return err
	}
	defer release()
	started, err := o.cluster.Budget.Start(ctx, n.Name)
	if err != nil {
		return err
	}
	defer started()
	r := &netboot.Reimager{Service: service, Power: cycler, Nodes: o.cluster, Images: o, Disk: o.cluster.Inventory.Boot.Disk, Log: o.log}
	return r.Reimage(ctx, n, report)
}

// recipes returns what images are made from.
func (o *overNetwork) recipes() (*image.Recipe, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.recipe != nil {
		return o.recipe, nil
	}
	recipe, err := newRecipe(o.cluster, o.out)
	if err == nil {
		o.recipe = recipe
	}
	return recipe, err
}

// serve returns the running service; the first starts it, the last to release it ends it.
func (o *overNetwork) serve(ctx context.Context) (*netboot.Service, func(), error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users == 0 {
		service, err := o.newService(ctx)
		if err == nil {
			err = service.Start(ctx)
		}
		if err != nil {
			return nil, nil, err
		}
		o.service = service
	}
	o.users++
	return o.service, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.users--; o.users == 0 {
			if err := o.service.Close(); err != nil {
				o.log.Warn("ending the netboot service", "error", err)
			}
		}
	}, nil
}

func (o *overNetwork) newService(ctx context.Context) (*netboot.Service, error) {
	if o.agent == nil {
		agent, err := buildAgent(ctx, o.cluster.Inventory)
		if err != nil {
			return nil, err
		}
		o.agent = agent
	}
	config, err := netboot.Configure(o.cluster.Inventory, o.agent, o.log)
	if err != nil {
		return nil, err
	}
	return netboot.New(config)
}

// buildAgent builds the program that nodes of an inventory are written by, or finds it in the cache.
func buildAgent(ctx context.Context, inv *inventory.Inventory) ([]byte, error) {
	root, err := repository("")
	if err != nil {
		return nil, err
	}
	cache, err := cluster.CacheDir()
	if err != nil {
		return nil, err
	}
	store, err := bundle.Open(cache, root)
	if err != nil {
		return nil, err
	}
	store.Arch = inv.Boot.Arch()
	item, err := store.Get(ctx, &bundle.GoProgram{Module: ".", Package: "./cmd/testbed/internal/netboot/agent/testbed-agent"})
	if err != nil {
		return nil, fmt.Errorf("building the agent: %w", err)
	}
	agent, err := os.ReadFile(item.Path)
	if err != nil {
		return nil, fmt.Errorf("reading the agent: %w", err)
	}
	return agent, nil
}
