// SPDX-License-Identifier: Apache-2.0

package system

import (
	"bytes"
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

// Bench puts systems on a cluster, one at a time, in front of the backend.
type Bench struct {
	Repo      string // repository root
	Inventory *inventory.Inventory
	Shell     kubectl.Shell
}

// Kubectl runs on the first control node.
func (b *Bench) Kubectl() *kubectl.Client {
	return &kubectl.Client{Shell: b.Shell, Node: b.Inventory.Group(inventory.Control)[0].Name}
}

// Prepare copies the manifests to the control node, renders those of the backend and of the systems,
// removes what an earlier run left standing, applies what stays for the whole run (namespaces,
// definitions of custom resources) and deploys the backend.
func (b *Bench) Prepare(ctx context.Context, backend scenario.Backend, systems []System) error {
	archive, err := manifests(b.Repo, b.Inventory, backend)
	if err != nil {
		return err
	}
	k := b.Kubectl()
	unpack := fmt.Sprintf("rm -rf %[1]s && mkdir -p %[1]s && tar -x -C %[1]s", deployDir)
	if _, err := b.Shell.Shell(ctx, k.Node, unpack, bytes.NewReader(archive)); err != nil {
		return fmt.Errorf("copying manifests: %w", err)
	}
	if err := b.CleanUp(ctx); err != nil {
		return err
	}
	if err := b.renderOne(ctx, "backend", path.Join(overlayDir, "backend")); err != nil {
		return err
	}
	for _, s := range systems {
		if s.Dir != "" {
			if err := b.renderOne(ctx, s.Name, s.Dir); err != nil {
				return err
			}
		}
	}
	workloads, err := k.Apply(ctx, path.Join(renderedDir, "backend"))
	if err != nil {
		return err
	}
	return k.Await(ctx, rolloutTimeout, workloads...)
}

// renderOne renders a kustomization into one file an object. Namespaces and definitions are
// applied at once and stay: deleting them takes Kubernetes longer than all the rest.
func (b *Bench) renderOne(ctx context.Context, name, dir string) error {
	line := fmt.Sprintf(`set -e
to=%[1]s; stay=%[1]s.stay
rm -rf "$to" "$stay"; mkdir -p "$to" "$stay"
kubectl kustomize %[2]s -o "$to"
find "$to" '(' -name 'v1_namespace_*' -o -name 'apiextensions.k8s.io_v1_customresourcedefinition_*' ')' -exec mv -t "$stay" {} +
if [ -n "$(ls "$stay")" ]; then kubectl apply --server-side -f "$stay" >&2; fi
if ls "$stay"/apiextensions* >/dev/null 2>&1; then kubectl wait --for=condition=Established --timeout=30s $(ls "$stay"/apiextensions* | sed 's/^/-f /') >&2; fi
`, path.Join(renderedDir, name), path.Join(deployDir, dir))
	if _, err := b.Shell.Shell(ctx, b.Kubectl().Node, line, nil); err != nil {
		return fmt.Errorf("rendering the manifests of %s: %w", name, err)
	}
	return nil
}

// Deploy puts s on the cluster and returns when a request from every client has come through every
// address that s offers.
func (b *Bench) Deploy(ctx context.Context, s System) error {
	k := b.Kubectl()
	if s.plain {
		if _, err := k.Run(ctx, append([]string{"annotate", "service", "-n", "bench", "backend"}, noSteering...)...); err != nil {
			return fmt.Errorf("taking the steering off the backend: %w", err)
		}
	}
	if s.Dir != "" {
		workloads, err := k.Apply(ctx, path.Join(renderedDir, s.Name))
		if err != nil {
			return err
		}
		if err := k.Await(ctx, rolloutTimeout, workloads...); err != nil {
			return err
		}
	}
	return b.probe(ctx, s)
}

// noSteering takes what steers by annotation off the backend's Service.
var noSteering = []string{"dnsingress.dev/promql-", "dnsingress.dev/keep-", "dnsingress.dev/readmit-"}

// Remove deletes s and returns when none of its pods is left.
func (b *Bench) Remove(ctx context.Context, s System) error {
	if s.Dir == "" {
		return nil
	}
	err := b.Kubectl().Delete(ctx, removeTimeout, path.Join(renderedDir, s.Name), s.Selector())
	if s.plain { // as it was before
		_, applied := b.Kubectl().Apply(ctx, path.Join(renderedDir, "backend"))
		err = errors.Join(err, applied)
	}
	return err
}

// RemoveAll removes every system that stands.
func (b *Bench) RemoveAll(ctx context.Context) error {
	pods, err := b.Kubectl().Pods(ctx, SystemLabel)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return nil
	}
	rendered, err := b.Shell.Shell(ctx, b.Kubectl().Node, "ls "+renderedDir, nil)
	if err != nil {
		return fmt.Errorf("looking for what stands: %w", err)
	}
	var errs []error
	for _, s := range All() {
		// Which level of a product stands is not to be seen, so that all that were rendered go.
		if slices.ContainsFunc(pods, func(p kubectl.Pod) bool { return p.Labels[SystemLabel] == s.Product() }) &&
			slices.Contains(strings.Fields(string(rendered)), s.Name) {
			errs = append(errs, b.Remove(ctx, s))
		}
	}
	return errors.Join(errs...)
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
	pods, err := b.Kubectl().Pods(ctx, BackendSelector)
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

// CleanUp removes every system and the backend.
func (b *Bench) CleanUp(ctx context.Context) error {
	return errors.Join(b.RemoveAll(ctx), b.Kubectl().Delete(ctx, removeTimeout, path.Join(renderedDir, "backend"), BackendSelector))
}
