// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/internal/cli"
)

// nodeStatus is one line of `status`, and one object of its JSON. What is not known is missing.
type nodeStatus struct {
	Name    string         `json:"name"`
	Cluster string         `json:"cluster,omitempty"` // of several in one inventory
	Groups  []string       `json:"groups"`
	Roles   []string       `json:"roles,omitempty"` // what a control node runs
	Address netip.Addr     `json:"address"`
	MAC     inventory.MAC  `json:"mac,omitzero"`
	Port    string         `json:"port,omitempty"` // of which switch
	Power   power.State    `json:"power"`
	Image   string         `json:"image,omitempty"`   // id; offline: the one that the inventory wants
	SSH     string         `json:"ssh"`               // "ok", "off" or the error; offline "not asked"
	Kubelet string         `json:"kubelet,omitempty"` // "Ready", "NotReady" or "unknown"; workers only
	RTT     *time.Duration `json:"rtt_ns,omitempty"`
	Offset  *time.Duration `json:"clock_offset_ns,omitempty"` // of the node's clock to ours
	Celsius *float64       `json:"celsius,omitempty"`
	// Throttled holds the firmware's flags, "0x0" if there never was cause.
	Throttled string            `json:"throttled,omitempty"`
	Up        *cluster.Progress `json:"up,omitempty"` // how far the last `up` came with it
}

func statusCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes: power, image, reachability, kubelets, clocks, temperature",
		Long: `Show the nodes: power, image, SSH, kubelet, clock, temperature, throttling, role. With --watch the table is drawn
anew until interrupted. With --offline no node and no switch is asked: what the inventory and the cluster's state say is shown.`,
		Args: cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	output := outputFlag(cmd)
	offline := cmd.Flags().Bool("offline", false, "ask nobody: show what the inventory and the state file say")
	watch := cmd.Flags().DurationP("watch", "w", 0, "draw the table anew each time after so long")
	cmd.Flags().Lookup("watch").NoOptDefVal = "2s"
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		if *offline && *watch > 0 {
			return cli.Misuse("--offline and --watch contradict each other (hint: what nobody is asked for does not change)")
		}
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		look := lookOffline
		var c *cluster.Cluster
		if *offline {
			c, err = s.unopened(inv, log)
		} else {
			look = lookAround
			c, err = s.open(cmd.Context(), inv, log)
		}
		if err != nil {
			return err
		}
		defer c.Close()
		show := func(nodes []nodeStatus) error { return statusTable(s.Out, nodes) }
		switch {
		case *output == "json":
			show = func(nodes []nodeStatus) error {
				return s.json(nodes)
			}
		case *offline:
			show = func(nodes []nodeStatus) error { return offlineTable(s.Out, nodes) }
		case *watch > 0:
			show = func(nodes []nodeStatus) error { return s.redraw(nodes) }
		}
		for {
			nodes, err := look(cmd.Context(), c)
			if err != nil {
				return err
			}
			if err := show(nodes); err != nil || *watch <= 0 {
				return err
			}
			next := time.NewTimer(*watch)
			select {
			case <-next.C:
			case <-cmd.Context().Done():
				next.Stop()
				return nil // the way to end it
			}
		}
	}
	return cmd
}

// redraw puts the table in the place of the last one, on a terminal; elsewhere below it.
func (s streams) redraw(nodes []nodeStatus) error {
	var text strings.Builder
	if out, ok := s.Out.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		text.WriteString("\x1b[H\x1b[J") // home, and clear what is below
	}
	fmt.Fprintln(&text, time.Now().Format(time.DateTime))
	if err := statusTable(&text, nodes); err != nil {
		return err
	}
	_, err := io.WriteString(s.Out, text.String())
	return err
}

// statusTable has a column of clusters where there are several.
func statusTable(out io.Writer, nodes []nodeStatus) error {
	column := clusterColumn(nodes)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NODE\t%sROLE\tADDRESS\tPOWER\tIMAGE\tSSH\tKUBELET\tRTT\tCLOCK\tTEMP\tTHROTTLED\n", column("CLUSTER"))
	for _, n := range nodes {
		temperature := "-"
		if n.Celsius != nil {
			temperature = fmt.Sprintf("%.1f", *n.Celsius)
		}
		fmt.Fprintf(w, "%s\t%s%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, column(n.Cluster), n.role(), n.Address, n.Power,
			cmp.Or(n.Image, "-"), n.SSH, cmp.Or(n.Kubelet, "-"), shown(n.RTT), shown(n.Offset), temperature, cmp.Or(n.Throttled, "-"))
	}
	return w.Flush()
}

// offlineTable shows what can be known without asking.
func offlineTable(out io.Writer, nodes []nodeStatus) error {
	column := clusterColumn(nodes)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NODE\t%sROLE\tADDRESS\tMAC\tPORT\tIMAGE\tLAST UP\tAT\tERROR\n", column("CLUSTER"))
	for _, n := range nodes {
		mac, phase, at, failure := "-", "-", "-", "-"
		if !n.MAC.IsZero() {
			mac = n.MAC.String()
		}
		if p := n.Up; p != nil {
			if len(p.Done) > 0 {
				phase = p.Done[len(p.Done)-1]
			}
			if !p.At.IsZero() {
				at = p.At.Local().Format(time.DateTime)
			}
			if p.GaveUp != "" {
				phase = "gave up: " + p.GaveUp
				failure, _, _ = strings.Cut(p.Error, "\n")
			}
		}
		fmt.Fprintf(w, "%s\t%s%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, column(n.Cluster), n.role(), n.Address, mac,
			cmp.Or(n.Port, "-"), cmp.Or(n.Image, "-"), phase, at, failure)
	}
	return w.Flush()
}

func clusterColumn(nodes []nodeStatus) func(string) string {
	several := slices.ContainsFunc(nodes, func(n nodeStatus) bool { return n.Cluster != "" })
	return func(text string) string {
		if !several {
			return ""
		}
		return cmp.Or(text, "-") + "\t"
	}
}

// role says what a node is for: its roles where it is a control node, else its groups.
func (n nodeStatus) role() string {
	words := slices.DeleteFunc(slices.Clone(n.Groups), func(g string) bool { return g == inventory.Control && len(n.Roles) > 0 })
	return strings.Join(append(slices.Clone(n.Roles), words...), ",")
}

func shown(d *time.Duration) string {
	if d == nil {
		return "-"
	}
	return d.Round(time.Microsecond).String()
}

// known is what the inventory says of a node.
func known(c *cluster.Cluster, n inventory.Node, last *cluster.Record) nodeStatus {
	line := nodeStatus{
		Name: n.Name, Cluster: n.Cluster, Groups: n.Groups, Roles: n.Roles, Address: n.Address, MAC: n.MAC, Image: c.Recorded(n.Name),
	}
	if !n.Port.IsZero() {
		line.Port = n.Port.String()
	}
	if last != nil {
		if p, ok := last.Nodes[n.Name]; ok {
			line.Up = &p
		}
	}
	return line
}

// lookOffline asks nobody.
func lookOffline(_ context.Context, c *cluster.Cluster) ([]nodeStatus, error) {
	last, err := c.LastWork()
	if err != nil {
		return nil, err
	}
	nodes := []nodeStatus{}
	for _, n := range c.Inventory.Nodes {
		line := known(c, n, last)
		line.SSH = "not asked"
		if image, ok := c.Inventory.ImageOf(n); ok {
			line.Image = image.ID
		}
		nodes = append(nodes, line)
	}
	return nodes, nil
}
