// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// healthPhase applies what each cluster needs once, and waits until its Kubernetes has all workers ready and its Prometheus
// reaches all that it shall.
type healthPhase struct {
	c *cluster.Cluster
	o Options
}

// How long the last parts of a cluster may take to come up after all has been started.
const (
	nodesTimeout   = 2 * time.Minute
	targetsTimeout = time.Minute
)

func (p *healthPhase) Title() string { return "Wait until the cluster is well" }

func (p *healthPhase) Plan() []string {
	var lines []string
	for _, m := range p.members() {
		lines = append(lines, m.control().Name+": etcd, API server and Prometheus answer")
		for _, n := range m.c.Work.Of(m.inv.Group(inventory.Worker)) {
			lines = append(lines, n.Name+": is Ready, and its kubelet is scraped")
		}
	}
	return lines
}

func (p *healthPhase) Run(ctx context.Context) error {
	members := p.members()
	errs := make([]error, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { errs[i] = m.run(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (p *healthPhase) members() []*member {
	var members []*member
	for _, inv := range p.c.Inventory.Clusters() {
		members = append(members, &member{p, inv})
	}
	return members
}

// member is one cluster of the inventory's.
type member struct {
	*healthPhase
	inv *inventory.Inventory
}

func (p *member) control() inventory.Node    { return p.inv.ControlPlane() }
func (p *member) prometheus() inventory.Node { return p.inv.Prometheus() }

func (p *member) run(ctx context.Context) error {
	if err := p.manifests(ctx); err != nil {
		return err
	}
	if err := p.nodes(ctx); err != nil {
		return err
	}
	return p.targets(ctx)
}

// say prints a line of progress, with the cluster's name where there are several.
func (p *member) say(format string, a ...any) {
	of := ""
	if p.inv.Member != "" {
		of = p.inv.Member + ": "
	}
	fmt.Fprintf(p.o.Out, "      %s%s\n", of, fmt.Sprintf(format, a...))
}

// manifests applies what the catalog has of it: definitions that controllers of the baselines need.
func (p *member) manifests(ctx context.Context) error {
	for _, m := range bundle.Manifests(p.o.Catalog) {
		item, err := p.o.Store.Look(ctx, m)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(item.Path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", m.Name(), err)
		}
		_, err = p.c.Fleet.Run(ctx, p.control().Name, remote.Command{
			Line:  "kubectl apply --server-side --force-conflicts -f -",
			Stdin: bytes.NewReader(text),
		})
		if err != nil {
			return fmt.Errorf("applying %s: %w", m.Name(), err)
		}
	}
	return nil
}

// nodes waits for every worker to be known and Ready.
func (p *member) nodes(ctx context.Context) error {
	workers := p.c.Work.Of(p.inv.Group(inventory.Worker))
	if len(workers) == 0 {
		return nil
	}
	var names []string
	for _, n := range workers {
		names = append(names, "node/"+n.Name)
	}
	all := strings.Join(names, " ")
	line := fmt.Sprintf("kubectl wait --for=create --timeout=%[1]s %[2]s >/dev/null && kubectl wait --for=condition=Ready --timeout=%[1]s %[2]s >/dev/null", nodesTimeout, all)
	if _, err := p.c.Fleet.Run(ctx, p.control().Name, remote.Command{Line: line}); err != nil {
		return fmt.Errorf("waiting for the workers to be Ready: %w (hint: testbed ssh WORKER -- journalctl -u kubelet -n 50)", err)
	}
	p.say("%d of %d workers are Ready", len(workers), len(workers))
	return nil
}

// target is something that Prometheus scrapes.
type target struct {
	ScrapePool string
	ScrapeURL  string
	Health     string
	LastError  string
	Labels     map[string]string
}

// targets waits until Prometheus scrapes itself and every worker's kubelet without error.
func (p *member) targets(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, targetsTimeout)
	defer cancel()
	want := 1 + 2*len(p.c.Work.Of(p.inv.Group(inventory.Worker))) // each kubelet has two kinds of metrics
	poll := time.NewTicker(500 * time.Millisecond)
	defer poll.Stop()
	for {
		up, down, err := p.scraped(limit)
		if err == nil && up >= want && len(down) == 0 {
			p.say("%d of %d Prometheus targets are up", up, up)
			return nil
		}
		select {
		case <-limit.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("asking Prometheus: %w (hint: testbed ssh %s -- journalctl -u prometheus -n 50)", err, p.control().Name)
			}
			return fmt.Errorf("%d of %d Prometheus targets are up after %s%s", up, want, targetsTimeout, strings.Join(append([]string{""}, down...), "\n  "))
		case <-poll.C:
		}
	}
}

// scraped returns how many targets of the cluster itself are up, and a line for each one that is not. Pods' targets are
// the business of whoever runs the pods.
func (p *member) scraped(ctx context.Context) (up int, down []string, err error) {
	targets := fmt.Sprintf("http://[%s]:9090/api/v1/targets?state=active", p.prometheus().Address)
	out, err := p.c.Fleet.Run(ctx, p.prometheus().Name, remote.Command{Line: "curl --silent --show-error --fail --globoff --max-time 5 '" + targets + "'"})
	if err != nil {
		return 0, nil, err
	}
	given := p.givenUp()
	return parseTargets(out.Stdout, func(host string) bool { return slices.Contains(given, host) })
}

// givenUp returns the addresses of the nodes that `up` does without.
func (p *member) givenUp() []string {
	on := p.c.Work.Of(p.inv.Nodes)
	var addresses []string
	for _, n := range p.inv.Nodes {
		if !slices.ContainsFunc(on, func(o inventory.Node) bool { return o.Name == n.Name }) {
			addresses = append(addresses, n.Address.String())
		}
	}
	return addresses
}

// parseTargets counts the targets in Prometheus's answer, without those of hosts that are left out.
func parseTargets(answer []byte, without func(host string) bool) (up int, down []string, err error) {
	var a struct {
		Status string
		Data   struct{ ActiveTargets []target }
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return 0, nil, fmt.Errorf("reading Prometheus's targets: %w", err)
	}
	if a.Status != "success" {
		return 0, nil, errors.New("reading Prometheus's targets: it answers " + a.Status)
	}
	for _, t := range a.Data.ActiveTargets {
		switch {
		case t.ScrapePool == "pods":
		case t.Health != "up" && without(hostOf(t.ScrapeURL)):
		case t.Health == "up":
			up++
		default:
			down = append(down, fmt.Sprintf("%s: %s %s", t.ScrapeURL, t.Health, t.LastError))
		}
	}
	return up, down, nil
}

// hostOf returns the host of a URL without brackets; empty where it has none.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
