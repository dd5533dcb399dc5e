// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/power"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// statusTimeout bounds what a node may take to answer.
const statusTimeout = 10 * time.Second

// statusScript prints three lines: the image, the temperature in thousandths of a degree, the firmware's flags.
const statusScript = `echo "$(` + cluster.ImageScript + `)"
echo "$(cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null | sort -n | tail -n 1)"
echo "$(vcgencmd get_throttled 2>/dev/null | cut -d= -f2)"`

// lookAround asks all nodes, the control planes and the switches, all at once.
func lookAround(ctx context.Context, c *cluster.Cluster) ([]nodeStatus, error) {
	last, err := c.LastWork()
	if err != nil {
		return nil, err
	}
	var (
		mu    sync.Mutex
		found = make(map[string]nodeStatus)
		ready = make(map[string]string) // kubelets, by node
		asked sync.WaitGroup
	)
	for _, m := range c.Inventory.Clusters() {
		asked.Go(func() {
			states := kubelets(ctx, c, m)
			mu.Lock()
			defer mu.Unlock()
			for name, state := range states {
				ready[name] = state
			}
		})
	}
	err = c.Fleet.Each(ctx, c.Inventory.Nodes, 0, func(ctx context.Context, n inventory.Node) error {
		line, err := ask(ctx, c, n, known(c, n, last))
		mu.Lock()
		defer mu.Unlock()
		found[n.Name] = line
		return err
	})
	asked.Wait()
	if err != nil {
		return nil, err
	}
	nodes := make([]nodeStatus, 0, len(found))
	for _, n := range c.Inventory.Nodes {
		line := found[n.Name]
		line.Kubelet = ready[n.Name]
		nodes = append(nodes, line)
	}
	return nodes, nil
}

// ask fills in what a node and its switch say. A node that does not answer says so in its line.
func ask(ctx context.Context, c *cluster.Cluster, n inventory.Node, line nodeStatus) (nodeStatus, error) {
	line.SSH = "off"
	var err error
	if line.Power, err = c.Power.State(ctx, n.Name); err != nil {
		return line, err
	}
	if line.Power == power.Off {
		return line, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, statusTimeout, fmt.Errorf("no answer within %s", statusTimeout))
	defer cancel()
	r, err := c.Fleet.Run(ctx, n.Name, remote.Command{Line: statusScript})
	if err == nil {
		var offset, rtt time.Duration
		if offset, rtt, err = c.Fleet.ClockOffset(ctx, n.Name); err == nil {
			line.Offset, line.RTT = &offset, &rtt
		}
	}
	if err != nil {
		line.SSH, _, _ = strings.Cut(err.Error(), "\n")
		return line, nil
	}
	line.SSH = "ok"
	facts := strings.Split(string(r.Stdout), "\n")
	if len(facts) < 3 {
		return line, nil
	}
	line.Image, line.Throttled = cmp.Or(facts[0], line.Image), facts[2]
	if milli, err := strconv.ParseFloat(facts[1], 64); err == nil {
		celsius := milli / 1000
		line.Celsius = &celsius
	}
	return line, nil
}

// kubelets returns what one cluster's API server says of its workers; "unknown" of all when it does not answer.
func kubelets(ctx context.Context, c *cluster.Cluster, m *inventory.Inventory) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	states := map[string]string{}
	for _, n := range m.Group(inventory.Worker) {
		states[n.Name] = "unknown"
	}
	r, err := c.Fleet.Run(ctx, m.ControlPlane().Name, remote.Command{
		Line: `kubectl get nodes --no-headers --request-timeout=8s -o 'custom-columns=N:.metadata.name,R:.status.conditions[?(@.type=="Ready")].status'`,
	})
	if err != nil {
		return states // its own line says what is wrong with the control node
	}
	for line := range strings.Lines(string(r.Stdout)) {
		f := strings.Fields(line)
		switch {
		case len(f) != 2 || states[f[0]] == "":
		case f[1] == "True":
			states[f[0]] = "Ready"
		default:
			states[f[0]] = "NotReady"
		}
	}
	return states
}
