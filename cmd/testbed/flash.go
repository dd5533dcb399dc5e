// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/flash"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/internal/cli"
)

func flashCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "flash --node NODE --device /dev/sdX [--node NODE --device /dev/sdY]...",
		Short: "Write nodes' images to cards, and read them back",
		Long: `Write nodes' images to cards in readers of this machine, several at once, and read them back.

A disk that is in use is refused, whatever is said; one larger than cards are expected to be, unless
forced. A card is tried before it is trusted: one that keeps less than it says is found before anything
is written to it. Until all of an image has been read back, its card has no partition table and a mark
that says so: a write that was cut is seen by the next one, which does it again.`,
		Args: cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	nodes := cmd.Flags().StringSlice("node", nil, "whose image; once for each --device")
	devices := cmd.Flags().StringSlice("device", nil, "the card, as a whole disk: /dev/sdX, /dev/mmcblkN")
	expect := cmd.Flags().String("card", "128GB", "what cards are expected to hold, as printed on them; larger disks are refused")
	force := cmd.Flags().Bool("force", false, "write to a disk that is larger than --card")
	dry := cmd.Flags().Bool("dry-run", false, "check the devices and say what would be written, write nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		limits := flash.Limits{Force: *force}
		if limits.Expect, err = parseSize(*expect); err != nil {
			return err
		}
		jobs, err := flashJobs(inv, *nodes, *devices)
		if err != nil {
			return err
		}
		c, err := cluster.New(inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := inspectCards(jobs, limits); err != nil {
			return err
		}
		if *dry {
			for _, j := range jobs {
				fmt.Fprintf(s.Out, "%s: write %s to %s (%s, %s)\n", j.node.Name, j.node.Image, j.disk.Path, j.disk.Describe(), flash.Bytes(j.disk.Size))
			}
			return nil
		}
		recipe, err := newRecipe(c, s.Err)
		if err != nil {
			return err
		}
		defer recipe.Close()
		// All images before the first write: what is wrong with one is found before harm.
		for i := range jobs {
			if jobs[i].image, err = recipe.Image(cmd.Context(), jobs[i].node); err != nil {
				return err
			}
			limits.Image = max(limits.Image, jobs[i].image.Size())
		}
		if err := inspectCards(jobs, limits); err != nil {
			return err
		}
		return s.flash(cmd.Context(), c.Journal, jobs)
	}
	return cmd
}

// flashJob is one card.
type flashJob struct {
	node  inventory.Node
	disk  flash.Disk
	image *image.Image
}

// flashJobs pairs nodes and devices.
func flashJobs(inv *inventory.Inventory, nodes, devices []string) ([]flashJob, error) {
	if len(nodes) == 0 || len(nodes) != len(devices) {
		return nil, cli.Misuse("%d nodes and %d devices (hint: --node NODE --device /dev/sdX, as often as there are cards)", len(nodes), len(devices))
	}
	var (
		jobs  []flashJob
		errs  []error
		taken = map[string]string{}
	)
	for i, name := range nodes {
		n, ok := inv.Node(name)
		if !ok {
			errs = append(errs, fmt.Errorf("unknown node %q (hint: the nodes are in %s)", name, inv.Path))
			continue
		}
		whole := devices[i]
		if path, err := filepath.EvalSymlinks(whole); err == nil {
			whole, _ = filepath.Abs(path)
		}
		if other := taken[whole]; other != "" {
			errs = append(errs, fmt.Errorf("%s is to have the cards of %s and %s", devices[i], other, n.Name))
		}
		if slices.Contains(nodes[:i], n.Name) {
			errs = append(errs, fmt.Errorf("%s is to have two cards", n.Name))
		}
		if _, ok := inv.ImageOf(n); !ok {
			errs = append(errs, fmt.Errorf("%s has no image (hint: images: and image: in %s)", n.Name, inv.Path))
		}
		taken[whole] = n.Name
		jobs = append(jobs, flashJob{node: n, disk: flash.Disk{Path: devices[i]}})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, cli.Misuse("%w", err)
	}
	return jobs, nil
}

// inspectCards finds out what is at the devices, and says everything that speaks against writing there.
func inspectCards(jobs []flashJob, limits flash.Limits) error {
	var errs []error
	for i := range jobs {
		disk, err := flash.Host{}.Inspect(jobs[i].disk.Path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		jobs[i].disk = disk
		errs = append(errs, disk.Check(limits))
	}
	return errors.Join(errs...)
}

// parseSize reads a size as it is printed on cards: powers of ten, or of two with an i.
func parseSize(text string) (int64, error) {
	for _, unit := range []struct {
		suffix string
		bytes  float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}} {
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseFloat(strings.TrimSpace(number), 64); err == nil && n > 0 && n < 1e6 {
			return int64(n * unit.bytes), nil
		}
	}
	return 0, cli.Misuse("%q is no size of a card (hint: as 64GB)", text)
}

// flash writes all cards at once.
func (s streams) flash(ctx context.Context, j *journal.Journal, jobs []flashJob) error {
	var (
		wg   sync.WaitGroup
		out  sync.Mutex
		errs = make([]error, len(jobs))
	)
	say := func(format string, a ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Fprintf(s.Out, format, a...)
	}
	for i, job := range jobs {
		wg.Go(func() {
			if err := writeCard(ctx, j, job, say); err != nil {
				errs[i] = fmt.Errorf("%s: %w", job.node.Name, err)
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		fmt.Fprintln(s.Err, "testbed: cards that are not done have no partition table (hint: the same command writes them again)")
		return err
	}
	return errors.Join(errs...)
}

// cardDetail is what the journal keeps of a write.
type cardDetail struct {
	Device string `json:"device"`
	Serial string `json:"serial,omitempty"`
	Image  string `json:"image"`
}

// writeCard writes one card, with an entry in the journal for as long as the card cannot be booted from.
func writeCard(ctx context.Context, j *journal.Journal, job flashJob, say func(string, ...any)) error {
	torn, err := tornWrites(j, job.node.Name)
	if err != nil {
		return err
	}
	detail, err := json.Marshal(cardDetail{job.disk.Path, job.disk.Serial, job.image.ID})
	if err != nil {
		return err
	}
	entry, err := j.Begin(journal.Entry{
		Kind: journal.Flash, What: fmt.Sprintf("image %s of %s to %s", job.image.ID, job.node.Name, job.disk.Path), Nodes: []string{job.node.Name}, Detail: detail,
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s %s", job.node.Name, job.disk.Path)
	for _, e := range torn {
		say("%s: the write of its card that began at %s did not end: it is written again\n", job.node.Name, e.Since.Local().Format(time.DateTime))
	}
	result, err := flash.Write(ctx, job.disk, job.image, flash.Options{Node: job.node.Name, Image: job.image.ID, Report: reportCard(name, say)})
	if err != nil {
		if lie := (*flash.LyingError)(nil); errors.As(err, &lie) {
			return errors.Join(err, j.End(entry.ID)) // the card is as it was
		}
		return err
	}
	if m := result.Torn; m != nil {
		say("%s: the card had a write of image %s for %s that ended in the middle, begun at %s\n", name, m.Image, m.Node, m.Began.Local().Format(time.DateTime))
	}
	say("%s: image %s, %s written in %.1fs (%s/s), read back in %.1fs (%s/s)\n", name, job.image.ID, flash.Bytes(result.Bytes),
		result.Writing.Seconds(), flash.Rate(result.Bytes, result.Writing), result.Verifying.Seconds(), flash.Rate(result.Bytes, result.Verifying))
	for _, e := range append(torn, entry) {
		if err := j.End(e.ID); err != nil {
			return err
		}
	}
	return nil
}

// tornWrites returns the journal's entries of writes of a node's card.
func tornWrites(j *journal.Journal, node string) ([]journal.Entry, error) {
	standing, err := j.Standing()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(standing, func(e journal.Entry) bool {
		return e.Kind != journal.Flash || !slices.Contains(e.Nodes, node)
	}), nil
}

// reportCard says how a write goes on: each step's beginning, then every five seconds.
func reportCard(name string, say func(string, ...any)) func(flash.Progress) {
	var last time.Time
	step := ""
	return func(p flash.Progress) {
		switch {
		case p.Step != step:
			step, last = p.Step, time.Now()
			say("%s: %s %s\n", name, p.Step, flash.Bytes(p.Total))
		case time.Since(last) >= 5*time.Second:
			last = time.Now()
			left := time.Duration(float64(p.Elapsed) * float64(p.Total-p.Done) / float64(max(p.Done, 1)))
			say("%s: %s %d %%, %s of %s, %s/s, %s left\n", name, p.Step, 100*p.Done/max(p.Total, 1), flash.Bytes(p.Done), flash.Bytes(p.Total), flash.Rate(p.Done, p.Elapsed), left.Round(time.Second))
		}
	}
}
