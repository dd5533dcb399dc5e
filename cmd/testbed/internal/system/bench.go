// SPDX-License-Identifier: Apache-2.0

package system

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"path"
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

	// Of a run, since Prepare:
	backend     scenario.Backend
	secret      string
	certificate certificate
	shape       shape             // in which the backend stands
	standing    map[string]string // the form of each system that was deployed
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
// definitions of custom resources) and deploys the backend. Clients get the certificate to trust.
func (b *Bench) Prepare(ctx context.Context, backend scenario.Backend, systems []System) error {
	for _, s := range systems {
		if s.peers && b.Inventory.Clusters()[0].Member == "" {
			return fmt.Errorf("system %s needs an inventory with several clusters (hint: -i pi-cluster/inventory.clusters.yaml)", s.Name)
		}
	}
	var err error
	if b.secret, err = newSecret(); err != nil {
		return err
	}
	if b.certificate, err = newCertificate(b.Inventory, time.Now()); err != nil {
		return err
	}
	b.backend, b.standing = backend, map[string]string{}
	b.shape = b.shapeOf(scenario.Setup{})
	trust := fmt.Sprintf("mkdir -p %s && cat >%s", path.Dir(caPath), caPath)
	return errors.Join(
		b.onClients(ctx, trust, string(b.certificate.Cert), "giving %s the certificate to trust"),
		b.each(func(s site) error { return s.prepare(ctx, systems) }))
}

// onClients runs a line on all client nodes at once.
func (b *Bench) onClients(ctx context.Context, line, stdin, what string) error {
	return b.onNodes(ctx, b.Inventory.Group(inventory.Client), line, stdin, what)
}

// onNodes runs a line on nodes at once; what says so of one.
func (b *Bench) onNodes(ctx context.Context, nodes []inventory.Node, line, stdin, what string) error {
	errs := make([]error, len(nodes))
	var wait sync.WaitGroup
	for i, c := range nodes {
		wait.Go(func() {
			if _, err := b.Shell.Shell(ctx, c.Name, line, strings.NewReader(stdin)); err != nil {
				errs[i] = fmt.Errorf(what+": %w", c.Name, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Present finds out whether the workers have the images of the systems, whose manifests Prepare has rendered.
func (b *Bench) Present(ctx context.Context, systems []System) error {
	return b.each(func(at site) error {
		for _, s := range systems {
			if s.Dir == "" {
				continue
			}
			if err := at.present(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// Deploy brings the backend into the setup's shape, puts s on the clusters, and returns when a request from every client has
// come through every address that s offers.
func (b *Bench) Deploy(ctx context.Context, s System, u scenario.Setup) error {
	if err := b.reshape(ctx, u); err != nil {
		return err
	}
	b.standing[s.Name] = s.Form(u)
	if err := b.each(func(at site) error { return at.deploy(ctx, s, u) }); err != nil {
		return err
	}
	if err := b.resolve(ctx, s, u); err != nil {
		return err
	}
	return b.probe(ctx, s, u)
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
	if s.plain {
		b.shape.ttl = 0 // removing it resets the backend's Service
	}
	form := cmp.Or(b.standing[s.Name], s.Name)
	return b.each(func(at site) error { return at.remove(ctx, s, form) })
}

// RemoveAll removes every system that stands.
func (b *Bench) RemoveAll(ctx context.Context) error {
	return b.each(func(s site) error { return s.removeAll(ctx) })
}

// CleanUp removes every system and the backend.
func (b *Bench) CleanUp(ctx context.Context) error {
	return b.each(func(s site) error { return s.cleanUp(ctx) })
}

// Target is what load generators are told.
type Target struct {
	URL       string
	Hosts     []string // of several services; URL has the first
	Addresses []string // of pods, when clients resolve nothing
	Args      []string // further flags of "loadgen http": whom to trust, and how often to try
}

// Target is what the load generators are told about s in a setup, given the backend's pods.
func (b *Bench) Target(s System, u scenario.Setup, backends []kubectl.Pod) Target {
	t := Target{Args: retryFlags(u.Retry)}
	host, scheme := s.Host(b.Inventory), "http"
	if u.TLS {
		scheme = "https"
		t.Args = append(t.Args, "--ca", caPath)
	}
	if u.Services > 1 {
		parent := strings.TrimSuffix(b.Inventory.Zone, ".")
		if s.reach == byProxy {
			parent = host
		}
		for i := range u.Services {
			t.Hosts = append(t.Hosts, ServiceName(i+1)+"."+parent)
		}
		host = t.Hosts[0]
	}
	t.URL = scheme + "://" + host + "/"
	if u.ResponseBytes > 0 && u.ResponseBytes != b.backend.ResponseBytes {
		t.URL += fmt.Sprintf("?size=%d", u.ResponseBytes)
	}
	if s.reach == byAddress {
		for _, p := range backends {
			if p.Ready && !p.Terminating {
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
	CA        string   `json:"ca"`        // file with the certificate to trust; empty: no TLS
	Seconds   float64  `json:"seconds"`
}

// zoneAnswers is how many addresses dnsingress gives at once unless it is told otherwise.
const zoneAnswers = 8

// given is how many of the pods an answer holds: dnsingress draws them, the others give all that they know.
func (s System) given(pods, clusters int) int {
	switch {
	case s.Product() == "dnsingress":
		return min(pods, cmp.Or(s.answers, zoneAnswers))
	case s.apart:
		return pods / clusters
	}
	return pods
}

// probe asks, from every client, for one answer through every address, until it comes. What the
// client's resolver remembers of the system before is dropped first.
func (b *Bench) probe(ctx context.Context, s System, u scenario.Setup) error {
	pods, err := b.Pods(ctx, BackendSelector)
	if err != nil {
		return err
	}
	q := question{Host: s.Host(b.Inventory), Resolve: s.reach != byAddress, Seconds: probeTimeout.Seconds()}
	if u.TLS {
		q.CA = caPath
	}
	if u.Services > 1 { // the last that was made
		hosts := b.Target(s, u, nil).Hosts
		q.Host = hosts[len(hosts)-1]
	}
	switch s.reach {
	case byAddress:
		q.Addresses = b.Target(s, u, pods).Addresses
	case byZone:
		q.Expect = s.given(len(pods), len(b.Inventory.Clusters()))
		for _, w := range b.Servers(s, u) {
			q.Servers = append(q.Servers, w.Addr().String())
		}
	case byProxy:
		q.Expect = len(b.front(u))
	}
	asked, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("encoding probe: %w", err)
	}
	line := fmt.Sprintf("unbound-control -q flush_zone %s; unbound-control -q flush_infra all; python3 - %s",
		kubectl.Quote(strings.TrimSuffix(b.Inventory.Zone, ".")), kubectl.Quote(string(asked)))
	return b.onClients(ctx, line, probeProgram, "probing "+s.Form(u)+" from %s")
}
