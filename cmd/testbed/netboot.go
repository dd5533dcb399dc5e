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
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func netbootCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "netboot",
		Short: "Write nodes anew over the network",
		Long: `Write nodes anew over the network: their firmware boots a small system from here, which streams the
node's image onto its disk, reads it back and boots from it. What was there before is kept beside it, and
put back if the node does not come back. 'testbed up' does the same for every node whose image differs.`,
	}
	cmd.AddCommand(s.netbootReimage(), s.netbootServe(), s.netbootInitramfs())
	return cmd
}

// toWrite returns the nodes that words name, all of which can be written over the network, and what writes them.
func (s streams) toWrite(c *cluster.Cluster, words []string, log *slog.Logger) ([]inventory.Node, *overNetwork, error) {
	nodes, err := choose(c.Inventory, words)
	if err != nil {
		return nil, nil, err
	}
	imaging, err := s.overNetwork(c, log)
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	for _, n := range nodes {
		errs = append(errs, imaging.can(n))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, cli.Misuse("%w", err)
	}
	return nodes, imaging, nil
}

func (s streams) netbootReimage() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reimage NODE...",
		Short: "Write nodes anew, whatever they run: reboot or power-cycle them, and wait until they are back",
		Args:  cobra.MinimumNArgs(1),
	}
	path := inventoryFlag(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "print what would be done on which host")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, log, err := s.known(cmd, *path)
		if err != nil {
			return err
		}
		defer c.Close()
		nodes, imaging, err := s.toWrite(c, args, log)
		if err != nil {
			return err
		}
		if *dry {
			for i, wave := range c.Budget.Waves(nodes) {
				for _, n := range wave {
					system, _ := c.Inventory.ImageOf(n)
					fmt.Fprintf(s.Out, "%s: %s over the network, wave %d\n", n.Name, system.ID, i+1)
				}
			}
			return nil
		}
		release, err := c.Hold("netboot reimage")
		if err != nil {
			return err
		}
		defer release()
		if err := c.Borrow(); err != nil {
			return err
		}
		return c.Fleet.Each(ctx, nodes, c.Budget.AtOnce(nodes), func(ctx context.Context, n inventory.Node) error {
			start := time.Now()
			entry, err := c.Journal.Begin(journal.Entry{Kind: journal.Flash, What: "an image over the network", Nodes: []string{n.Name}})
			if err != nil {
				return err
			}
			if err := imaging.Reimage(ctx, n, printSteps(s.Out, n.Name)); err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "%s: written and back … %.1fs\n", n.Name, time.Since(start).Seconds())
			return c.Journal.End(entry.ID)
		})
	}
	return cmd
}

func (s streams) netbootServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve NODE...",
		Short: "Write nodes as they are started by hand, each once",
		Long: `Write nodes as they are started by hand, each once: for boards that nothing here switches. It ends when all
are written, or when it is interrupted. With --log debug it says which files firmware asks for.`,
		Args: cobra.MinimumNArgs(1),
	}
	path := inventoryFlag(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "print what would be offered to whom")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, log, err := s.known(cmd, *path)
		if err != nil {
			return err
		}
		defer c.Close()
		nodes, imaging, err := s.toWrite(c, args, log)
		if err != nil {
			return err
		}
		if *dry {
			for _, n := range nodes {
				system, _ := c.Inventory.ImageOf(n)
				address, _ := c.Inventory.BootAddress(n.Name)
				fmt.Fprintf(s.Out, "%s: %s to %s at %s\n", n.Name, system.ID, n.MAC, address)
			}
			return nil
		}
		release, err := c.Hold("netboot serve")
		if err != nil {
			return err
		}
		defer release()
		service, stop, err := imaging.serve(ctx)
		if err != nil {
			return err
		}
		defer stop()
		errs := make([]error, len(nodes))
		var wg sync.WaitGroup
		for i, n := range nodes {
			image, err := imaging.Image(ctx, n)
			if err != nil {
				return err
			}
			offer, err := service.Offer(n.Name, order.Write, image, c.Inventory.Boot.Disk)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "%s: offered image %s to %s\n", n.Name, image.ID, n.MAC)
			wg.Go(func() {
				defer offer.Withdraw()
				if err := watch(ctx, offer, printSteps(s.Out, n.Name)); err != nil {
					errs[i] = fmt.Errorf("%s: %w", n.Name, err)
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	return cmd
}

// watch hears what becomes of an offer, however long it takes.
func watch(ctx context.Context, offer *netboot.Offer, step func(step string, done, total int64)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-offer.Reports:
			step(string(r.Step), r.Done, r.Total)
			if r.Step == order.Failed {
				return errors.New(r.Error)
			}
			if r.Last() {
				return nil
			}
		}
	}
}

func (s streams) netbootInitramfs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "initramfs FILE",
		Short: "Write the initramfs that nodes boot to be written, to be looked at",
		Args:  cobra.ExactArgs(1),
	}
	path := inventoryFlag(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "print what would be built")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		inv, _, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		if *dry {
			fmt.Fprintf(s.Out, "%s: the agent for linux/%s and the drivers of firmware %q\n", args[0], inv.Boot.Arch(), inv.Boot.Firmware)
			return nil
		}
		agent, err := buildAgent(cmd.Context(), inv)
		if err != nil {
			return err
		}
		initramfs, err := netboot.InitramfsFor(inv, agent)
		if err != nil {
			return err
		}
		if err := os.WriteFile(args[0], initramfs, 0o644); err != nil {
			return fmt.Errorf("writing the initramfs: %w", err)
		}
		fmt.Fprintf(s.Out, "%s: %d bytes\n", args[0], len(initramfs))
		return nil
	}
	return cmd
}

// printSteps prints each new step of a node, and each tenth of a long one.
func printSteps(out io.Writer, node string) func(step string, done, total int64) {
	var (
		mu       sync.Mutex
		last     string
		lastPart int64
		began    time.Time
	)
	return func(step string, done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		part := int64(0)
		if total > 0 {
			part = 10 * done / total
		}
		if step == last && part == lastPart {
			return
		}
		if step != last {
			began = time.Now()
		}
		last, lastPart = step, part
		if total == 0 {
			fmt.Fprintf(out, "%s: %s\n", node, step)
			return
		}
		speed := ""
		if s := time.Since(began).Seconds(); s > 1 {
			speed = fmt.Sprintf(", %.1f MB/s", float64(done)/1e6/s)
		}
		fmt.Fprintf(out, "%s: %s %d %% of %d MB%s\n", node, step, 10*part, total/1e6, speed)
	}
}
