// SPDX-License-Identifier: Apache-2.0

package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// site is the bench on one cluster.
type site struct {
	*Bench
	member  *inventory.Inventory
	kubectl *kubectl.Client // on its control node
}

func (b *Bench) sites() []site {
	var sites []site
	for _, m := range b.Inventory.Clusters() {
		sites = append(sites, site{b, m, &kubectl.Client{Shell: b.Shell, Node: m.Group(inventory.Control)[0].Name}})
	}
	return sites
}

// each does something on all clusters at once; errors name the cluster where there are several.
func (b *Bench) each(fn func(site) error) error {
	sites := b.sites()
	errs := make([]error, len(sites))
	var all sync.WaitGroup
	for i, s := range sites {
		all.Go(func() {
			if errs[i] = fn(s); errs[i] != nil && s.member.Member != "" {
				errs[i] = fmt.Errorf("cluster %s: %w", s.member.Member, errs[i])
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (s site) prepare(ctx context.Context, backend scenario.Backend, systems []System, secret string) error {
	archive, err := manifests(s.Repo, facts{whole: s.Inventory, member: s.member, backend: backend, secret: secret})
	if err != nil {
		return err
	}
	unpack := fmt.Sprintf("rm -rf %[1]s && mkdir -p %[1]s && tar -x -C %[1]s", deployDir)
	if _, err := s.Shell.Shell(ctx, s.kubectl.Node, unpack, bytes.NewReader(archive)); err != nil {
		return fmt.Errorf("copying manifests: %w", err)
	}
	if err := s.cleanUp(ctx); err != nil {
		return err
	}
	if err := s.render(ctx, "backend", path.Join(overlayDir, "backend")); err != nil {
		return err
	}
	for _, sys := range systems {
		if sys.Dir != "" {
			if err := s.render(ctx, sys.Name, sys.Dir); err != nil {
				return err
			}
		}
	}
	workloads, err := s.kubectl.Apply(ctx, path.Join(renderedDir, "backend"))
	if err != nil {
		return err
	}
	return s.kubectl.Await(ctx, rolloutTimeout, workloads...)
}

// render renders a kustomization into one file an object. Namespaces and definitions are
// applied at once and stay: deleting them takes Kubernetes longer than all the rest.
func (s site) render(ctx context.Context, name, dir string) error {
	line := fmt.Sprintf(`set -e
to=%[1]s; stay=%[1]s.stay
rm -rf "$to" "$stay"; mkdir -p "$to" "$stay"
kubectl kustomize %[2]s -o "$to"
find "$to" '(' -name 'v1_namespace_*' -o -name 'apiextensions.k8s.io_v1_customresourcedefinition_*' ')' -exec mv -t "$stay" {} +
if [ -n "$(ls "$stay")" ]; then kubectl apply --server-side -f "$stay" >&2; fi
if ls "$stay"/apiextensions* >/dev/null 2>&1; then kubectl wait --for=condition=Established --timeout=30s $(ls "$stay"/apiextensions* | sed 's/^/-f /') >&2; fi
`, path.Join(renderedDir, name), path.Join(deployDir, dir))
	if _, err := s.Shell.Shell(ctx, s.kubectl.Node, line, nil); err != nil {
		return fmt.Errorf("rendering the manifests of %s: %w", name, err)
	}
	return nil
}

func (s site) deploy(ctx context.Context, sys System) error {
	if sys.plain {
		if _, err := s.kubectl.Run(ctx, append([]string{"annotate", "service", "-n", "bench", "backend"}, noSteering...)...); err != nil {
			return fmt.Errorf("taking the steering off the backend: %w", err)
		}
	}
	if sys.Dir == "" {
		return nil
	}
	workloads, err := s.kubectl.Apply(ctx, path.Join(renderedDir, sys.Name))
	if err != nil {
		return err
	}
	return s.kubectl.Await(ctx, rolloutTimeout, workloads...)
}

// noSteering takes what steers by annotation off the backend's Service.
var noSteering = []string{"dnsingress.dev/promql-", "dnsingress.dev/keep-", "dnsingress.dev/readmit-"}

func (s site) remove(ctx context.Context, sys System) error {
	err := s.kubectl.Delete(ctx, removeTimeout, path.Join(renderedDir, sys.Name), sys.Selector())
	if sys.plain { // as it was before
		_, applied := s.kubectl.Apply(ctx, path.Join(renderedDir, "backend"))
		err = errors.Join(err, applied)
	}
	return err
}

// removeAll removes every system that stands.
func (s site) removeAll(ctx context.Context) error {
	pods, err := s.kubectl.Pods(ctx, SystemLabel)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return nil
	}
	rendered, err := s.Shell.Shell(ctx, s.kubectl.Node, "ls "+renderedDir, nil)
	if err != nil {
		return fmt.Errorf("looking for what stands: %w", err)
	}
	var errs []error
	for _, sys := range All() {
		// Which level of a product stands is not to be seen, so that all that were rendered go.
		if slices.ContainsFunc(pods, func(p kubectl.Pod) bool { return p.Labels[SystemLabel] == sys.Product() }) &&
			slices.Contains(strings.Fields(string(rendered)), sys.Name) {
			errs = append(errs, s.remove(ctx, sys))
		}
	}
	return errors.Join(errs...)
}

func (s site) cleanUp(ctx context.Context) error {
	return errors.Join(s.removeAll(ctx), s.kubectl.Delete(ctx, removeTimeout, path.Join(renderedDir, "backend"), BackendSelector))
}
