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
		sites = append(sites, site{b, m, &kubectl.Client{Shell: b.Shell, Node: m.ControlPlane().Name}})
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

func (s site) prepare(ctx context.Context, systems []System) error {
	packed, err := manifests(s.Repo, s.facts())
	if err != nil {
		return err
	}
	unpack := fmt.Sprintf("rm -rf %[1]s && mkdir -p %[1]s && tar -x -C %[1]s", deployDir)
	if _, err := s.Shell.Shell(ctx, s.kubectl.Node, unpack, bytes.NewReader(packed)); err != nil {
		return fmt.Errorf("copying manifests: %w", err)
	}
	if err := s.cleanUp(ctx); err != nil {
		return err
	}
	if err := s.render(ctx, "backend", path.Join(overlayDir, "backend")); err != nil {
		return err
	}
	for _, sys := range systems {
		if err := s.form(ctx, sys, scenario.Setup{}); err != nil {
			return err
		}
	}
	workloads, err := s.kubectl.Apply(ctx, path.Join(renderedDir, "backend"))
	if err != nil {
		return err
	}
	return s.kubectl.Await(ctx, rolloutTimeout, workloads...)
}

// facts is what the manifests of the site's cluster are rendered from.
func (s site) facts() facts {
	return facts{whole: s.Inventory, member: s.member, backend: s.backend, secret: s.secret, certificate: s.certificate}
}

// staying ends the name of the directory beside a form's that has what is not removed with it.
const staying = ".stay"

// form renders the manifests of a system in a setup, unless they are.
func (s site) form(ctx context.Context, sys System, u scenario.Setup) error {
	if sys.Dir == "" {
		return nil
	}
	name := sys.Form(u)
	files, err := sys.overlay(s.facts(), u)
	if err != nil {
		return err
	}
	packed, err := archive(files)
	if err != nil {
		return err
	}
	dir := path.Join(deployDir, formDir(name))
	unpack := fmt.Sprintf("rm -rf %[1]s && mkdir -p %[1]s && tar -x -C %[1]s", dir)
	if _, err := s.Shell.Shell(ctx, s.kubectl.Node, unpack, bytes.NewReader(packed)); err != nil {
		return fmt.Errorf("copying the manifests of %s: %w", name, err)
	}
	return s.render(ctx, name, formDir(name))
}

// render renders a kustomization into one file an object. Namespaces and definitions are
// applied at once and stay: deleting them takes Kubernetes longer than all the rest.
func (s site) render(ctx context.Context, name, dir string) error {
	line := fmt.Sprintf(`set -e
to=%[1]s; stay=%[1]s`+staying+`
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

func (s site) deploy(ctx context.Context, sys System, u scenario.Setup) error {
	if sys.plain {
		if _, err := s.kubectl.Run(ctx, append([]string{"annotate", "service", "-n", "bench", "backend"}, noSteering...)...); err != nil {
			return fmt.Errorf("taking the steering off the backend: %w", err)
		}
	}
	if sys.Dir == "" {
		return nil
	}
	if err := s.form(ctx, sys, u); err != nil {
		return err
	}
	workloads, err := s.kubectl.Apply(ctx, renderedPath(sys.Form(u)))
	if err != nil {
		return err
	}
	return s.kubectl.Await(ctx, rolloutTimeout, workloads...)
}

// present names the images that a worker of the cluster lacks.
func (s site) present(ctx context.Context, sys System) error {
	return s.images(ctx, "system "+sys.Name, "cat "+renderedPath(sys.Name)+"/*", sys.Name)
}

// images names the images in the manifests that a line prints, which are of what is said, and that a worker lacks.
func (s site) images(ctx context.Context, of, line, extra string) error {
	out, err := s.Shell.Shell(ctx, s.kubectl.Node, line, nil)
	if err != nil {
		return fmt.Errorf("reading the manifests of %s: %w", of, err)
	}
	for _, w := range s.member.Group(inventory.Worker) {
		have, err := s.Shell.Shell(ctx, w.Name, "ctr -n k8s.io images ls -q", nil)
		if err != nil {
			return fmt.Errorf("listing the images of %s: %w", w.Name, err)
		}
		for _, ref := range Images(out) {
			if !slices.Contains(strings.Fields(string(have)), ref) {
				return fmt.Errorf("%s: %s has no image %s (hint: testbed up --with %s)", of, w.Name, ref, extra)
			}
		}
	}
	return nil
}

// noSteering takes what steers by annotation off the backend's Service.
var noSteering = []string{"dnsingress.dev/promql-", "dnsingress.dev/keep-", "dnsingress.dev/readmit-"}

func (s site) remove(ctx context.Context, sys System, forms ...string) error {
	var errs []error
	for _, form := range forms {
		errs = append(errs, s.kubectl.Delete(ctx, removeTimeout, renderedPath(form), sys.Selector()))
	}
	if sys.plain { // steered as before
		_, err := s.kubectl.Apply(ctx, path.Join(renderedDir, "backend", "v1_service_backend.yaml"))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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
		if !slices.ContainsFunc(pods, func(p kubectl.Pod) bool { return p.Labels[SystemLabel] == sys.Product() }) {
			continue
		}
		// Which form of a product stands is not to be seen, so that all that were rendered go.
		var forms []string
		for _, form := range strings.Fields(string(rendered)) {
			if name, _, _ := strings.Cut(form, between); name == sys.Name && !strings.HasSuffix(form, staying) {
				forms = append(forms, form)
			}
		}
		if len(forms) > 0 {
			errs = append(errs, s.remove(ctx, sys, forms...))
		}
	}
	return errors.Join(errs...)
}

func (s site) cleanUp(ctx context.Context) error {
	return errors.Join(s.removeAll(ctx), s.unshape(ctx), s.kubectl.Delete(ctx, removeTimeout, path.Join(renderedDir, "backend"), BackendSelector))
}
