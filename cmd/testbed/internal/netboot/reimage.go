// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

// Power restarts nodes that do not listen.
type Power interface {
	// Cycle takes the node's power and gives it back; it does not wait for what the node makes of it.
	Cycle(ctx context.Context, node string) error
}

// Nodes are the nodes as they answer on SSH.
type Nodes interface {
	// ImageID returns the id of the image that the node runs; that it does not answer is an error.
	ImageID(ctx context.Context, node string) (string, error)
	// Reboot tells the node's system to restart, in order.
	Reboot(ctx context.Context, node string) error
}

// Images says what nodes are to run.
type Images interface {
	Wanted(ctx context.Context, node inventory.Node) (id string, err error)
	// Image returns the image of that id for the node, whose file stays until testbed ends.
	Image(ctx context.Context, node inventory.Node) (Image, error)
}

// Patience is how long a node may take for what it says nothing about meanwhile.
type Patience struct {
	Ask     time.Duration // from its restart until its firmware asks for an address
	Load    time.Duration // from there until the agent has its order
	Silence time.Duration // between two reports
	Back    time.Duration // from its restart until it answers on SSH
	Knock   time.Duration // between two tries to reach it there
}

// defaultPatience is for Raspberry Pis with the slowest card that still deserves the name.
var defaultPatience = Patience{Ask: 3 * time.Minute, Load: 3 * time.Minute, Silence: 2 * time.Minute, Back: 10 * time.Minute, Knock: 2 * time.Second}

// Reimager writes nodes anew, one order at a time for each; several nodes at once.
type Reimager struct {
	Service  *Service
	Power    Power
	Nodes    Nodes
	Images   Images
	Disk     string   // to write, see order.Order
	Patience Patience // zero fields are the default's
	Log      *slog.Logger
}

// attempts is how often a node may be restarted until it asks for its order: a cable that was just plugged in, or a
// switch that was slow to forward, is not the end.
const attempts = 2

// Progress hears how far a node is: bytes are zero for steps that move none.
type Progress = func(step string, done, total int64)

// Wanted returns the id of the image that a node is to run.
func (r *Reimager) Wanted(ctx context.Context, n inventory.Node) (string, error) {
	return r.Images.Wanted(ctx, n)
}

// Reimage writes a node anew and returns when it answers with the image that it is to run. If it does not come back
// with that, it is put back to the system that it had, and the error says so.
func (r *Reimager) Reimage(ctx context.Context, n inventory.Node, progress Progress) error {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	progress("preparing the image", 0, 0)
	image, err := r.Images.Image(ctx, n)
	if err != nil {
		return err
	}
	result, err := r.carry(ctx, n, order.Write, image, progress)
	if err != nil {
		return fmt.Errorf("writing image %s: %w", image.ID, err)
	}
	if result.Previous == "" {
		progress("nothing is kept to go back to: "+result.Note, 0, 0)
	}
	progress("booting", 0, 0)
	err = r.await(ctx, n.Name, image.ID)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return r.fallBack(ctx, n, image, result, err, progress)
}

// fallBack puts a node back to the system that it had.
func (r *Reimager) fallBack(ctx context.Context, n inventory.Node, image Image, result order.Report, why error, progress Progress) error {
	why = fmt.Errorf("image %s was written and verified, but the node did not come back with it: %w", image.ID, why)
	if result.Previous == "" {
		return fmt.Errorf("%w\n(there is no previous system to go back to: %s)", why, result.Note)
	}
	progress("going back to "+result.Previous, 0, 0)
	if _, err := r.carry(ctx, n, order.Revert, Image{}, progress); err != nil {
		return fmt.Errorf("%w\n(going back to %s: %w)", why, result.Previous, err)
	}
	if err := r.await(ctx, n.Name, result.Previous); err != nil {
		return fmt.Errorf("%w\n(it was put back to %s, but does not come back with that either: %w)", why, result.Previous, err)
	}
	return fmt.Errorf("%w\n(it runs its previous image %s again)", why, result.Previous)
}

// carry has one order carried out and returns the last report.
func (r *Reimager) carry(ctx context.Context, n inventory.Node, action order.Action, image Image, progress Progress) (order.Report, error) {
	offer, err := r.Service.Offer(n.Name, action, image, r.Disk)
	if err != nil {
		return order.Report{}, err
	}
	// From its last report on the node is to boot from its disk: silence makes its firmware do so.
	defer offer.Withdraw()
	patience := r.patience()
	for attempt := 1; ; attempt++ {
		progress("restarting", 0, 0)
		// Only a system that still runs can be told; one that is reverted is not worth asking.
		if err := r.restart(ctx, n.Name, action == order.Write && attempt == 1); err != nil {
			return order.Report{}, err
		}
		last, err := follow(ctx, offer.Reports, patience, progress)
		var silent *silence
		if attempt < attempts && errors.As(err, &silent) && ctx.Err() == nil {
			r.log().Warn("node is silent, its power is cycled", "node", n.Name, "last", silent.step)
			continue
		}
		return last, err
	}
}

// restart makes the node boot: in order where it listens, so that what it leaves on its disk is whole.
func (r *Reimager) restart(ctx context.Context, node string, ask bool) error {
	if ask && r.Nodes.Reboot(ctx, node) == nil {
		return nil
	}
	return r.Power.Cycle(ctx, node)
}

// silence tells that a node said nothing for too long.
type silence struct {
	step order.Step // the last that it said
	hint string
	long time.Duration
}

func (s *silence) Error() string {
	return fmt.Sprintf("nothing was heard of it for %s after %q (hint: %s)", s.long, s.step, s.hint)
}

// follow passes on reports until the last. A node that begins again and again gets no further for it: only what it has
// not said before, or bytes, count as life.
func follow(ctx context.Context, reports <-chan order.Report, p Patience, progress Progress) (order.Report, error) {
	quiet := &silence{"restart", "its EEPROM's BOOT_ORDER, the inventory's mac, the cable; 'testbed netboot serve --log debug' shows who asks", p.Ask}
	timer := time.NewTimer(quiet.long)
	defer timer.Stop()
	seen := map[order.Step]int{}
	for {
		select {
		case <-ctx.Done():
			return order.Report{}, ctx.Err()
		case <-timer.C:
			if len(reports) > 0 { // it has spoken, and this machine was slow to listen
				timer.Reset(quiet.long)
				continue
			}
			return order.Report{}, quiet
		case r := <-reports:
			progress(string(r.Step), r.Done, r.Total)
			seen[r.Step]++
			switch r.Step {
			case order.Finished:
				return r, nil
			case order.Failed:
				return r, errors.New(r.Error)
			case order.Asked, order.Loading:
				if seen[r.Step] > 1 {
					continue
				}
				quiet = &silence{r.Step, "its console; the image's boot partition, or the kernel's drivers", p.Load}
			case order.Started:
				if seen[r.Step] > attempts {
					return r, fmt.Errorf("it began %d times and never ended (hint: its power supply; its console)", seen[r.Step])
				}
				fallthrough
			default:
				quiet = &silence{r.Step, "its console; a card that takes nothing any more", p.Silence}
			}
			timer.Reset(quiet.long)
		}
	}
}

// await waits until the node answers with an image. One that answers with another is no use waiting for, unless it
// has not restarted yet.
func (r *Reimager) await(ctx context.Context, node, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.patience().Back, errLate)
	defer cancel()
	tick := time.NewTicker(r.patience().Knock)
	defer tick.Stop()
	for {
		got, err := r.Nodes.ImageID(ctx, node)
		if err == nil && got == id {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it runs image %q", got)
		}
		select {
		case <-ctx.Done():
			if context.Cause(ctx) == errLate {
				return fmt.Errorf("%s after its restart: %w", r.patience().Back, err)
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

var errLate = errors.New("the node is late")

func (r *Reimager) patience() Patience {
	p := r.Patience
	for _, f := range []struct{ p, d *time.Duration }{
		{&p.Ask, &defaultPatience.Ask}, {&p.Load, &defaultPatience.Load}, {&p.Silence, &defaultPatience.Silence}, {&p.Back, &defaultPatience.Back}, {&p.Knock, &defaultPatience.Knock},
	} {
		if *f.p == 0 {
			*f.p = *f.d
		}
	}
	return p
}

func (r *Reimager) log() *slog.Logger {
	if r.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return r.Log
}
