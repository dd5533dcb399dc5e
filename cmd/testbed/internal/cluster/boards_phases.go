// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

func (b *boards) phases(r Raising, before []phase.Phase) []phase.Phase {
	taking := &taking{boards: b, lock: claimPath}
	phases := []phase.Phase{
		phase.Func("Check this machine", func(context.Context) error { return programs() }),
		&meet{taking: taking, Raising: r},
	}
	phases = append(phases, before...)
	return append(phases, &reimage{taking: taking, Raising: r})
}

// taking has the boards for one orchestrator: two may stand beside one rack, each with a state directory of its own.
type taking struct {
	*boards
	lock    string // on the control node
	release func() // nil: not taken
}

// take claims the boards, unless the node that the claim is on has no system yet: then when it has.
func (t *taking) take(ctx context.Context) error {
	if t.release != nil || t.Work.Blank(t.Inventory.ControlPlane()) {
		return nil
	}
	release, err := t.claimAt(ctx, "up", t.lock)
	if err != nil {
		return err
	}
	t.release = release
	if err := os.WriteFile(t.takenPath(), nil, 0o644); err != nil {
		return fmt.Errorf("marking the boards as taken: %w", err)
	}
	return nil
}

// leave gives the claim back, or up where the node that it was on is gone.
func (t *taking) leave() {
	if t.release != nil {
		t.release()
		t.release = nil
	}
}

// meet is the phase that takes the boards: it readies the keys and looks what each board is.
type meet struct {
	*taking
	Raising
}

func (p *meet) Title() string {
	return fmt.Sprintf("Meet %d boards", len(p.Work.Of(p.Inventory.Nodes)))
}

func (p *meet) Plan() []string {
	var lines []string
	for _, n := range p.Work.Of(p.Inventory.Nodes) {
		lines = append(lines, fmt.Sprintf("%s: %s, %s@%s, by a pinned key", n.Name, strings.Join(n.Groups, " "), p.Inventory.SSH.User, n.Address))
	}
	return lines
}

func (p *meet) Run(ctx context.Context) error {
	if err := p.alone(); err != nil {
		return err
	}
	if p.Imaging != nil { // a board that was never written may be written now
		if err := p.MakeKeys(); err != nil {
			return err
		}
	}
	if err := p.Borrow(); err != nil {
		return err
	}
	if err := p.Each(ctx, "meet", p.Inventory.Nodes, 0, p.look); err != nil {
		return err
	}
	return p.take(ctx)
}

func (p *meet) CleanUp(context.Context) error {
	p.leave()
	return nil
}

// look checks that a board is one that the roles can make a node of. One that does not answer may be blank: if something
// here can write its card, that is tried.
func (p *meet) look(ctx context.Context, n inventory.Node) (string, error) {
	system, err := p.system(ctx, n)
	if refused := (*remote.HostKeyError)(nil); errors.As(err, &refused) {
		return "", err
	}
	if err != nil && p.Imaging != nil && ctx.Err() == nil {
		if want, wantErr := p.Imaging.Wanted(ctx, n); wantErr == nil && want != "" {
			p.Work.found(n, blank)
			return fmt.Sprintf("does not answer: its card is to be written (%s)", firstLine(err)), nil
		}
	}
	return system, err
}

// system returns what a board that answers runs.
func (b *boards) system(ctx context.Context, n inventory.Node) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, meetTimeout, fmt.Errorf("no answer within %s", meetTimeout))
	defer cancel()
	r, err := b.Fleet.Run(ctx, n.Name, remote.Command{Line: "cat /etc/os-release && echo UID=$(id -u)"})
	if err != nil {
		return "", err
	}
	facts := map[string]string{}
	for line := range strings.Lines(string(r.Stdout)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		facts[name] = strings.Trim(value, `"'`)
	}
	system := facts["ID"] + " " + facts["VERSION_ID"]
	switch {
	case !slices.Contains([]string{"debian 12", "raspbian 12", "debian 13", "raspbian 13"}, system):
		return "", fmt.Errorf("it runs %q, not Debian 12 or 13 (hint: Raspberry Pi OS of these)", system)
	case facts["UID"] != "0":
		return "", fmt.Errorf("we are user %s on it, not root (hint: a key in /root/.ssh/authorized_keys)", facts["UID"])
	}
	return system, nil
}

const (
	// meetTimeout bounds what a board that is up may take to say what it is.
	meetTimeout = 20 * time.Second
	// fewBoards are written at once where no budget says how many.
	fewBoards = 4
)

// Imaging writes the cards of boards over the network.
type Imaging interface {
	// Wanted returns the id of the image that a node is to run; empty where the inventory names none.
	Wanted(ctx context.Context, n inventory.Node) (string, error)
	// Reimage has the node write that image to its card and returns when it answers on SSH and runs it. If the node does
	// not come back with it, the node gets back what it ran before, and the error says so.
	Reimage(ctx context.Context, n inventory.Node, report func(step string, done, total int64)) error
}

// reimage is the phase that writes the cards of the boards whose image is not the wanted one.
type reimage struct {
	*taking
	Raising
}

func (p *reimage) Title() string { return "Flash what differs" }

func (p *reimage) Plan() []string {
	var lines []string
	for _, n := range p.Work.Of(p.Inventory.Nodes) {
		switch image, named := p.Inventory.ImageOf(n); {
		case !named:
			lines = append(lines, n.Name+": no image is named in the inventory: what is on its card stays")
		case p.Imaging == nil:
			lines = append(lines, n.Name+": nothing here writes cards over the network: what is on its card stays")
		default:
			lines = append(lines, fmt.Sprintf("%s: %s over the network, if its card has another; its power is cycled if it does not reboot", n.Name, image.ID))
		}
	}
	return lines
}

func (p *reimage) Run(ctx context.Context) error {
	if p.Imaging == nil {
		return nil
	}
	atOnce := fewBoards
	if p.AtOnce != nil {
		atOnce = p.AtOnce(p.Work.Of(p.Inventory.Nodes))
	}
	if err := p.Each(ctx, "flash", p.Inventory.Nodes, atOnce, p.flash); err != nil {
		return err
	}
	if p.Work.Written(p.Inventory.ControlPlane()) { // what was claimed there is gone with its system
		p.leave()
	}
	return p.take(ctx)
}

// flash makes one board run its image.
func (p *reimage) flash(ctx context.Context, n inventory.Node) (string, error) {
	want, err := p.Imaging.Wanted(ctx, n)
	if err != nil || want == "" {
		return "", err
	}
	have, err := p.ImageID(ctx, n.Name)
	switch {
	case err != nil && ctx.Err() != nil:
		return "", err
	case err != nil:
		have = "nothing that answers"
	case have == want:
		return "", nil
	}
	// A board that is cut off in the middle stands with half a card: the next command is to know.
	if _, err := p.Journal.Begin(journal.Entry{Kind: journal.Flash, What: "image " + want, Nodes: []string{n.Name}}); err != nil {
		return "", err
	}
	err = p.Imaging.Reimage(ctx, n, p.reporter(n.Name))
	p.Fleet.Drop(n.Name) // the connection to the system before
	if err != nil {
		return "", fmt.Errorf("writing image %s: %w", want, err)
	}
	if _, err := p.system(ctx, n); err != nil {
		return "", err
	}
	p.Work.found(n, written)
	return fmt.Sprintf("runs image %s (before: %s)", want, have), p.written(n.Name)
}

// written strikes out that the card of a node is being written, also by whoever was killed doing so.
func (p *reimage) written(node string) error {
	entries, err := p.Journal.Standing()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Kind == journal.Flash && slices.Contains(e.Nodes, node) {
			err = errors.Join(err, p.Journal.End(e.ID))
		}
	}
	return err
}

// reporter prints the progress of one board: each new step, and each tenth of a long one.
func (p *reimage) reporter(node string) func(step string, done, total int64) {
	var (
		mu       sync.Mutex
		last     string
		lastPart int64
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
		last, lastPart = step, part
		if total > 0 {
			p.Work.say("%s: %s %d %% of %d MB", node, step, 10*part, total/1e6)
			return
		}
		p.Work.say("%s: %s", node, step)
	}
}

// ImageID returns the id of the image that a node says it was written with; empty where it says none.
func (c *Cluster) ImageID(ctx context.Context, node string) (string, error) {
	r, err := c.Fleet.Run(ctx, node, remote.Command{Line: ImageScript})
	if err != nil {
		return "", fmt.Errorf("asking %s for its image: %w", node, err)
	}
	return strings.TrimSpace(string(r.Stdout)), nil
}

// Recorded returns what the state knows of what a node was booted with: the key of a virtual node's base system; empty
// where it knows nothing.
func (c *Cluster) Recorded(node string) string {
	v, ok := c.nodes.(*virtual)
	if !ok {
		return ""
	}
	m, err := v.twin.Machine(node)
	if err != nil {
		return "" // it was never booted
	}
	return filepath.Base(m.Base)
}

// ImageScript prints the id of the image that a node was written with.
const ImageScript = `cat /etc/testbed/image 2>/dev/null || sed -n 's/^instance-id: *//p' /boot/firmware/meta-data 2>/dev/null; :`

// Reboot has a node reboot in good order, and returns when it has begun to.
func (c *Cluster) Reboot(ctx context.Context, node string) error {
	// Later: the answer is to reach us.
	_, err := c.Fleet.Run(ctx, node, remote.Command{Line: "systemd-run --quiet --on-active=1 systemctl reboot"})
	if err != nil {
		return fmt.Errorf("rebooting %s: %w", node, err)
	}
	c.Fleet.Drop(node)
	return nil
}
