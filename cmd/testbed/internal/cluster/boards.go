// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/phase"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/twin"
)

// boards is the substrate of real machines that run Debian already and answer on SSH with keys that
// the operator has pinned. It boots nothing and switches no power.
type boards struct{ *Cluster }

func (b *boards) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// takenPath marks that `up` has taken the boards.
func (b *boards) takenPath() string { return filepath.Join(b.StateDir, "taken") }

func (b *boards) standing() (bool, error) {
	_, err := os.Stat(b.takenPath())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (b *boards) leftovers() ([]string, error) {
	if _, err := os.Stat(b.StateDir); err != nil {
		return nil, nil
	}
	return []string{"state directory " + b.StateDir}, nil
}

// alone makes sure that the state is not that of a twin of the same name, whose nodes would lose their files.
func (b *boards) alone() error {
	_, stands, err := twin.New(b.Inventory, b.StateDir, b.log).Standing()
	if stands {
		err = fmt.Errorf("a twin %q stands under this name (hint: 'testbed down' with its inventory, or another name)", b.Inventory.Cluster)
	}
	return err
}

// down forgets the boards; what was installed on them stays.
func (b *boards) down(context.Context) error {
	if err := b.alone(); err != nil {
		return err
	}
	if err := os.RemoveAll(b.StateDir); err != nil {
		return fmt.Errorf("removing the state directory: %w", err)
	}
	return nil
}

// errNoSwitch tells that nobody here can switch boards.
var errNoSwitch = errors.New("nothing switches the power of boards yet (hint: pull the plug, or use the twin)")

func (b *boards) Off(_ context.Context, node string) error {
	return fmt.Errorf("cutting the power of %s: %w", node, errNoSwitch)
}

func (b *boards) On(_ context.Context, node string) error {
	return fmt.Errorf("giving power to %s: %w", node, errNoSwitch)
}

// State says that a board that answers is on; of one that does not, nothing is known.
func (b *boards) State(ctx context.Context, node string) (power.State, error) {
	if err := b.knock(ctx, node); err != nil {
		return power.Unknown, ctx.Err()
	}
	return power.On, nil
}

func (b *boards) phases(_ Raising, before []phase.Phase) []phase.Phase {
	phases := []phase.Phase{
		phase.Func("Check this machine", func(context.Context) error { return programs() }),
		&meet{b},
	}
	return append(phases, before...)
}

// meet is the phase that takes the boards: it readies the operator's keys and looks what each board is.
type meet struct{ *boards }

func (p *meet) Title() string { return fmt.Sprintf("Meet %d boards", len(p.Inventory.Nodes)) }

func (p *meet) Plan() []string {
	var lines []string
	for _, n := range p.Inventory.Nodes {
		lines = append(lines, fmt.Sprintf("%s: %s, %s@%s, by a key pinned in %s", n.Name, strings.Join(n.Groups, " "), p.Inventory.SSH.User, n.Address, p.Inventory.SSH.KnownHosts))
	}
	return lines
}

func (p *meet) Run(ctx context.Context) error {
	if err := p.alone(); err != nil {
		return err
	}
	if err := p.keys.borrow(p.Inventory); err != nil {
		return err
	}
	if err := p.Connect(); err != nil {
		return err
	}
	if err := p.Fleet.Each(ctx, p.Inventory.Nodes, 0, p.look); err != nil {
		return err
	}
	if err := os.WriteFile(p.takenPath(), nil, 0o644); err != nil {
		return fmt.Errorf("marking the boards as taken: %w", err)
	}
	return nil
}

// look checks that a board is one that the roles can make a node of.
func (p *meet) look(ctx context.Context, n inventory.Node) error {
	r, err := p.Fleet.Run(ctx, n.Name, remote.Command{Line: `. /etc/os-release && echo "$ID $VERSION_ID $(id -u)"`})
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(r.Stdout)); got != "debian 12 0" && got != "raspbian 12 0" {
		return fmt.Errorf("it is %q, not Debian 12 with us as root (hint: Raspberry Pi OS of 2023 to 2025, a key in /root/.ssh/authorized_keys)", got)
	}
	return nil
}
