// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
)

// nodeStatus is one line of `status`, and one object of its JSON.
type nodeStatus struct {
	Name    string         `json:"name"`
	Cluster string         `json:"cluster,omitempty"` // of several in one inventory
	Groups  []string       `json:"groups"`
	Address netip.Addr     `json:"address"`
	Power   power.State    `json:"power"`
	SSH     string         `json:"ssh"` // "ok", "off" or the error
	RTT     *time.Duration `json:"rtt_ns,omitempty"`
	Offset  *time.Duration `json:"clock_offset_ns,omitempty"` // of the node's clock to ours
}

// statusTimeout bounds what a node may take to answer.
const statusTimeout = 5 * time.Second

func statusCommand(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the nodes: power, reachability, clocks",
		Args:  cobra.NoArgs,
	}
	path := inventoryFlag(cmd)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		inv, log, err := s.load(cmd, *path)
		if err != nil {
			return err
		}
		c, err := cluster.Open(cmd.Context(), inv, log)
		if err != nil {
			return err
		}
		defer c.Close()
		nodes, err := status(cmd.Context(), c)
		if err != nil {
			return err
		}
		if *output == "json" {
			enc := json.NewEncoder(s.Out)
			enc.SetIndent("", "  ")
			return enc.Encode(nodes)
		}
		return statusTable(s.Out, nodes)
	}
	return cmd
}

// statusTable has a column of clusters where there are several.
func statusTable(out io.Writer, nodes []nodeStatus) error {
	several := slices.ContainsFunc(nodes, func(n nodeStatus) bool { return n.Cluster != "" })
	column := func(text string) string {
		if !several {
			return ""
		}
		return cmp.Or(text, "-") + "\t"
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NODE\t%sGROUPS\tADDRESS\tPOWER\tSSH\tRTT\tCLOCK\n", column("CLUSTER"))
	for _, n := range nodes {
		fmt.Fprintf(w, "%s\t%s%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, column(n.Cluster), strings.Join(n.Groups, ","), n.Address, n.Power, n.SSH, shown(n.RTT), shown(n.Offset))
	}
	return w.Flush()
}

func shown(d *time.Duration) string {
	if d == nil {
		return "-"
	}
	return d.Round(time.Microsecond).String()
}

func status(ctx context.Context, c *cluster.Cluster) ([]nodeStatus, error) {
	var (
		mu    sync.Mutex
		lines = make(map[string]nodeStatus)
	)
	err := c.Fleet.Each(ctx, c.Inventory.Nodes, 0, func(ctx context.Context, n inventory.Node) error {
		line := nodeStatus{Name: n.Name, Cluster: n.Cluster, Groups: n.Groups, Address: n.Address, SSH: "off"}
		var err error
		if line.Power, err = c.Power.State(ctx, n.Name); err != nil {
			return err
		}
		if line.Power != power.Off {
			ctx, cancel := context.WithTimeoutCause(ctx, statusTimeout, fmt.Errorf("no answer within %s", statusTimeout))
			defer cancel()
			offset, rtt, err := c.Fleet.ClockOffset(ctx, n.Name)
			if err != nil {
				line.SSH = err.Error()
			} else {
				line.SSH, line.RTT, line.Offset = "ok", &rtt, &offset
			}
		}
		mu.Lock()
		defer mu.Unlock()
		lines[n.Name] = line
		return nil
	})
	if err != nil {
		return nil, err
	}
	nodes := make([]nodeStatus, 0, len(lines))
	for _, n := range c.Inventory.Nodes {
		nodes = append(nodes, lines[n.Name])
	}
	return nodes, nil
}
