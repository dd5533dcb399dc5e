// SPDX-License-Identifier: Apache-2.0

package system

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// Bounds of waiting.
const (
	rolloutTimeout = 90 * time.Second
	removeTimeout  = 60 * time.Second
	probeTimeout   = 30 * time.Second
)

// Bench puts systems on the inventory's clusters, one at a time and on all of them, in front of the backend of each.
type Bench struct {
	Repo      string // repository root
	Inventory *inventory.Inventory
	Shell     kubectl.Shell
}

// Kubectl runs on the control node of the first cluster.
func (b *Bench) Kubectl() *kubectl.Client { return b.sites()[0].kubectl }

// Pods lists the pods of all clusters that selector matches.
func (b *Bench) Pods(ctx context.Context, selector string) ([]kubectl.Pod, error) {
	var (
		mu   sync.Mutex
		pods []kubectl.Pod
	)
	err := b.each(func(s site) error {
		own, err := s.kubectl.Pods(ctx, selector)
		mu.Lock()
		defer mu.Unlock()
		pods = append(pods, own...)
		return err
	})
	// Which cluster answers first shall decide nothing, least of all a fault's target.
	slices.SortFunc(pods, func(a, b kubectl.Pod) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.FullName(), b.FullName()))
	})
	return pods, err
}

// Replicas is how many pods a backend has in all clusters together.
func (b *Bench) Replicas(backend scenario.Backend) int { return backend.Replicas * len(b.sites()) }

// Prepare copies the manifests to the control nodes, renders those of the backend and of the systems,
// removes what an earlier run left standing, applies what stays for the whole run (namespaces,
// definitions of custom resources) and deploys the backend.
func (b *Bench) Prepare(ctx context.Context, backend scenario.Backend, systems []System) error {
	for _, s := range systems {
		if s.peers && b.Inventory.Clusters()[0].Member == "" {
			return fmt.Errorf("system %s needs an inventory with several clusters (hint: -i pi-cluster/inventory.clusters.yaml)", s.Name)
		}
	}
	secret, err := newSecret()
	if err != nil {
		return err
	}
	return b.each(func(s site) error { return s.prepare(ctx, backend, systems, secret) })
}

// Deploy puts s on the clusters and returns when a request from every client has come through every
// address that s offers.
func (b *Bench) Deploy(ctx context.Context, s System) error {
	if err := b.each(func(at site) error { return at.deploy(ctx, s) }); err != nil {
		return err
	}
	return b.probe(ctx, s)
}

// AwaitBackend waits until all of the backend's pods are ready.
func (b *Bench) AwaitBackend(ctx context.Context, timeout time.Duration) error {
	return b.each(func(s site) error {
		return s.kubectl.Await(ctx, timeout, kubectl.Workload{Kind: "Deployment", Namespace: "bench", Name: "backend"})
	})
}

// Remove deletes s and returns when none of its pods is left.
func (b *Bench) Remove(ctx context.Context, s System) error {
	if s.Dir == "" {
		return nil
	}
	return b.each(func(at site) error { return at.remove(ctx, s) })
}

// RemoveAll removes every system that stands.
func (b *Bench) RemoveAll(ctx context.Context) error {
	return b.each(func(s site) error { return s.removeAll(ctx) })
}

// CleanUp removes every system and the backend.
func (b *Bench) CleanUp(ctx context.Context) error {
	return b.each(func(s site) error { return s.cleanUp(ctx) })
}

// Target is what the load generators are told, given the backend's pods.
func (b *Bench) Target(s System, backends []kubectl.Pod) Target {
	t := Target{URL: "http://" + s.Host(b.Inventory) + "/"}
	if s.reach == byAddress {
		for _, p := range backends {
			if p.Ready {
				t.Addresses = append(t.Addresses, p.Address)
			}
		}
	}
	return t
}

//go:embed probe.py
var probeProgram string

// question is what probe.py is asked.
type question struct {
	Host      string   `json:"host"`
	Servers   []string `json:"servers"`   // authoritative servers that must know the host
	Resolve   bool     `json:"resolve"`   // ask the client's own resolver for the addresses
	Addresses []string `json:"addresses"` // else these
	Expect    int      `json:"expect"`    // number of addresses in each answer
	Seconds   float64  `json:"seconds"`
}

// zoneAnswers is how many addresses dnsingress gives at once unless it is told otherwise.
const zoneAnswers = 8

// probe asks, from every client, for one answer through every address, until it comes. What the
// client's resolver remembers of the system before is dropped first.
func (b *Bench) probe(ctx context.Context, s System) error {
	pods, err := b.Pods(ctx, BackendSelector)
	if err != nil {
		return err
	}
	q := question{Host: s.Host(b.Inventory), Resolve: s.reach != byAddress, Seconds: probeTimeout.Seconds()}
	workers := b.Inventory.Group(inventory.Worker)
	switch s.reach {
	case byAddress:
		q.Addresses = b.Target(s, pods).Addresses
	case byZone:
		q.Expect = min(len(pods), cmp.Or(s.answers, zoneAnswers))
		if s.apart {
			q.Expect = len(pods) / len(b.Inventory.Clusters())
		}
		for _, w := range workers {
			q.Servers = append(q.Servers, w.Address.String())
		}
	case byProxy:
		q.Expect = len(workers)
	}
	asked, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encoding probe: %w", err)
	}
	line := fmt.Sprintf("unbound-control -q flush_zone %s; unbound-control -q flush_infra all; python3 - %s",
		kubectl.Quote(strings.TrimSuffix(b.Inventory.Zone, ".")), kubectl.Quote(string(asked)))
	clients := b.Inventory.Group(inventory.Client)
	errs := make([]error, len(clients))
	var wait sync.WaitGroup
	for i, c := range clients {
		wait.Go(func() {
			if _, err := b.Shell.Shell(ctx, c.Name, line, strings.NewReader(probeProgram)); err != nil {
				errs[i] = fmt.Errorf("probing %s from %s: %w", s.Name, c.Name, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
