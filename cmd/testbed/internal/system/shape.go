// SPDX-License-Identifier: Apache-2.0

package system

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// unused is the taint of workers that carry nothing in a setup.
const unused = "testbed.dnsingress.dev/unused"

// ServiceName is that of the i-th of several services, counted from 1.
func ServiceName(i int) string { return "backend-" + strconv.Itoa(i) }

// shape is how the backend stands, whatever the system.
type shape struct {
	workers, pods, services int
	ttl, drain              time.Duration
	timers                  string // empty: as the cluster stands
	clusterDNS              bool
}

// unknown is a shape that nothing has.
var unknown = shape{workers: -1, pods: -1, services: -1, timers: "unknown"}

// shapeOf is what a setup asks for, and what stands without it.
func (b *Bench) shapeOf(u scenario.Setup) shape {
	return shape{
		workers: u.Workers, pods: cmp.Or(u.Pods, b.backend.Replicas), services: max(u.Services, 1),
		ttl: cmp.Or(u.TTL, scenario.DefaultTTL), drain: u.Drain, timers: u.Timers, clusterDNS: u.ClusterDNS,
	}
}

// reshape brings the backend into the shape of a setup, in all clusters; what is so already costs nothing.
func (b *Bench) reshape(ctx context.Context, u scenario.Setup) error {
	want := b.shapeOf(u)
	if want == b.shape {
		return nil
	}
	if want.workers != b.shape.workers && len(b.sites()) > 1 {
		return errors.New("a number of workers is for one cluster, and here are several (hint: no factor workers)")
	}
	if want.clusterDNS && len(b.sites()) > 1 {
		return errSeveralDNS
	}
	err := b.each(func(s site) error { return s.reshape(ctx, b.shape, want) })
	if err != nil {
		b.shape = unknown
		return err
	}
	b.shape = want
	return nil
}

func (s site) reshape(ctx context.Context, have, want shape) error {
	if want.timers != have.timers {
		if err := s.timers(ctx, want.timers); err != nil {
			return err
		}
	}
	if want.workers != have.workers || want.pods != have.pods || want.drain != have.drain || probePeriod(want.timers) != probePeriod(have.timers) {
		if err := s.place(ctx, want); err != nil {
			return err
		}
	}
	if want.services != have.services {
		if err := s.services(ctx, want); err != nil {
			return err
		}
	}
	if want.services != have.services || want.ttl != have.ttl {
		if err := s.publish(ctx, want); err != nil {
			return err
		}
	}
	if want.clusterDNS != have.clusterDNS || have.workers < 0 {
		return s.clusterDNS(ctx, want.clusterDNS)
	}
	return nil
}

// unshape undoes what reshape does to more than the backend.
func (s site) unshape(ctx context.Context) error {
	line := fmt.Sprintf(`kubectl taint node --all %s- >&2 2>/dev/null || true
kubectl -n bench delete service -l %s --ignore-not-found >&2`, unused, furtherSelector)
	_, err := s.Shell.Shell(ctx, s.kubectl.Node, line, nil)
	if err != nil {
		err = fmt.Errorf("removing what is left of services: %w", err)
	}
	return errors.Join(err, s.timers(ctx, ""), s.clusterDNS(ctx, false))
}

// place puts the backend's pods on the workers that carry anything. They are made anew, so that they are spread as evenly as if
// there had never been others.
func (s site) place(ctx context.Context, want shape) error {
	workers := s.member.Group(inventory.Worker)
	used := len(workers)
	if want.workers > 0 {
		used = min(used, want.workers)
	}
	lines := []string{
		"set -e",
		"kubectl -n bench scale deployment backend --replicas=0 >&2",
		fmt.Sprintf("kubectl -n bench wait pod -l %s --for=delete --timeout=%s >&2", kubectl.Quote(BackendSelector), removeTimeout),
	}
	for i, w := range workers {
		if i < used {
			lines = append(lines, fmt.Sprintf("kubectl taint node %s %s- >&2 2>/dev/null || true", w.Name, unused))
		} else {
			lines = append(lines, fmt.Sprintf("kubectl taint node %s %s=:NoExecute --overwrite >&2", w.Name, unused))
		}
	}
	lines = append(lines,
		"kubectl -n bench patch deployment backend -p "+kubectl.Quote(want.template())+" >&2",
		fmt.Sprintf("kubectl wait --for=condition=Ready --timeout=%s node --all >&2", rolloutTimeout),
		fmt.Sprintf("kubectl -n bench scale deployment backend --replicas=%d >&2", want.pods),
		fmt.Sprintf("kubectl -n bench rollout status deployment/backend --timeout=%s >&2", rolloutTimeout))
	if _, err := s.Shell.Shell(ctx, s.kubectl.Node, strings.Join(lines, "\n"), nil); err != nil {
		return fmt.Errorf("placing %d pods on %d workers: %w", want.pods, used, err)
	}
	return nil
}

// grace is how long a pod that ends at once may take: deploy/backend has it.
const grace = 5 * time.Second

// template is what a shape changes in the backend's pods, as a strategic merge patch: how soon they are seen to be ready, and how long they
// serve on.
func (s shape) template() string {
	container := map[string]any{
		"name":           "backend",
		"readinessProbe": map[string]any{"periodSeconds": probePeriod(s.timers)},
		"lifecycle":      nil, // removes it
	}
	if s.drain > 0 {
		container["lifecycle"] = map[string]any{"preStop": map[string]any{"sleep": map[string]any{"seconds": int(s.drain / time.Second)}}}
	}
	patch, _ := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"terminationGracePeriodSeconds": int((s.drain + grace) / time.Second),
		"containers":                    []any{container},
	}}}}) // maps of numbers and text
	return string(patch)
}

// services makes the further Services, all of the same pods, and removes those that there were more.
func (s site) services(ctx context.Context, want shape) error {
	var list strings.Builder
	if want.services > 1 {
		for i := range want.services {
			fmt.Fprintf(&list, serviceManifest, ServiceName(i+1), strings.TrimSuffix(s.Inventory.Zone, "."), int(want.ttl/time.Second))
		}
	}
	file := path.Join(renderedDir, "services.yaml")
	line := fmt.Sprintf(`set -e
kubectl -n bench delete service -l %[1]s --ignore-not-found >&2
cat >%[2]s
if [ -s %[2]s ]; then kubectl create -f %[2]s >&2; fi`, furtherSelector, file)
	if _, err := s.Shell.Shell(ctx, s.kubectl.Node, line, strings.NewReader(list.String())); err != nil {
		return fmt.Errorf("making %d services: %w", want.services, err)
	}
	return nil
}

// furtherSelector matches the Services beside the first.
const furtherSelector = "testbed.dnsingress.dev/further=true"

// serviceManifest takes a name, the zone and a TTL. Further services are not steered.
const serviceManifest = `---
apiVersion: v1
kind: Service
metadata:
  name: %[1]s
  namespace: bench
  labels: {app: backend, testbed.dnsingress.dev/further: "true"}
  annotations:
    external-dns.kubernetes.io/hostname: %[1]s.%[2]s
    external-dns.kubernetes.io/ttl: "%[3]d"
spec:
  clusterIP: None
  ipFamilies: [IPv6]
  ipFamilyPolicy: SingleStack
  selector: {app: backend}
  ports: [{name: http, port: 80, targetPort: 80}]
`

// publish gives the services' names their TTL.
func (s site) publish(ctx context.Context, want shape) error {
	line := fmt.Sprintf("kubectl -n bench annotate service -l app=backend --overwrite external-dns.kubernetes.io/ttl=%d >&2", int(want.ttl/time.Second))
	if _, err := s.Shell.Shell(ctx, s.kubectl.Node, line, nil); err != nil {
		return fmt.Errorf("setting the TTL of the services to %s: %w", want.ttl, err)
	}
	return nil
}
