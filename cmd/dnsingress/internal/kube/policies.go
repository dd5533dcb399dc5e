// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/policy"
)

// policies reads SteeringPolicies. Each generation of each is read once.
type policies struct {
	mu     sync.Mutex
	synced func() bool // the cache holds all there are
	known  map[types.UID]reading
	had    map[string]map[string]version // by namespace and Service, what each was last given
	away   bool                          // the API server does not have the kind, or does not give it to us
}

// version is one state of a policy's spec.
type version struct {
	id         types.UID
	generation int64
}

// reading is what became of one generation of a policy.
type reading struct {
	namespace  string
	generation int64
	policy     policy.Policy
	err        error
}

// read gives the policy, or all that is wrong with it.
func (p *policies) read(o *v1alpha1.SteeringPolicy) (policy.Policy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.known[o.UID]; ok && r.generation == o.Generation {
		return r.policy, r.err
	}
	r := reading{namespace: o.Namespace, generation: o.Generation}
	data, err := json.Marshal(v1alpha1.SteeringPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: policy.APIVersion, Kind: policy.Kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}, Spec: o.Spec,
	})
	if err == nil {
		r.policy, err = policy.FromObject(data)
	}
	r.err = err
	p.known[o.UID] = r
	return r.policy, r.err
}

// keep forgets the policies of a namespace that are not among all, and reports whether there are or were any.
func (p *policies) keep(namespace string, all []*v1alpha1.SteeringPolicy) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.known, func(id types.UID, r reading) bool {
		return r.namespace == namespace && !slices.ContainsFunc(all, func(o *v1alpha1.SteeringPolicy) bool { return o.UID == id })
	})
	return len(all) > 0 || len(p.had[namespace]) > 0
}

// miss notes that the API server does not give the kind, and reports whether that is news.
func (p *policies) miss() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := !p.away
	p.away = true
	return news
}

func (p *policies) missed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away
}

// missing reports whether an error of a watch says that the kind cannot be had.
func missing(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) }

// policiesIn lists a namespace's policies, the oldest first: it has what two want.
func (s *Source) policiesIn(ctx context.Context, namespace string) ([]*v1alpha1.SteeringPolicy, error) {
	if !s.policies.synced() { // the cache would wait for a kind that may never come
		return nil, nil
	}
	var list v1alpha1.SteeringPolicyList
	if err := s.cache.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	all := make([]*v1alpha1.SteeringPolicy, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	slices.SortFunc(all, func(a, b *v1alpha1.SteeringPolicy) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return all, nil
}

// on reports whether the policy is on a Service that publishes hosts.
func on(o *v1alpha1.SteeringPolicy, service string, hosts []string) bool {
	return slices.ContainsFunc(o.Spec.TargetRefs, func(t v1alpha1.TargetRef) bool { return t.Name == service }) ||
		slices.ContainsFunc(o.Spec.Hostnames, func(h string) bool { return slices.Contains(hosts, dns.CanonicalName(h)) })
}

// retarget adds to dirty the Services of a namespace whose policy is another than before, since then, and has the
// status of all its policies looked at.
func (s *Source) retarget(ctx context.Context, namespace string, since time.Time, dirty map[client.ObjectKey]time.Time) error {
	all, err := s.policiesIn(ctx, namespace)
	if err != nil {
		return err
	}
	if !s.policies.keep(namespace, all) {
		return nil
	}
	var services corev1.ServiceList
	if err := s.cache.List(ctx, &services, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	before, now := s.policies.had[namespace], map[string]version{}
	steering := map[string]client.ObjectKey{}
	for i := range services.Items {
		svc := &services.Items[i]
		if !s.options.Settings.Prefixes.Claimed(svc.Annotations) {
			continue
		}
		hosts, _ := s.options.Settings.Prefixes.Hosts(svc.Annotations)
		if i := slices.IndexFunc(all, func(o *v1alpha1.SteeringPolicy) bool { return on(o, svc.Name, hosts) }); i >= 0 {
			now[svc.Name] = version{all[i].UID, all[i].Generation}
			steering[svc.Name] = client.ObjectKeyFromObject(all[i])
		}
		key := client.ObjectKeyFromObject(svc)
		if _, ok := dirty[key]; !ok && before[svc.Name] != now[svc.Name] {
			dirty[key] = since
		}
	}
	if s.policies.had[namespace] = now; len(now) == 0 {
		delete(s.policies.had, namespace)
	}
	s.statuses.follow(namespace, steering)
	for _, o := range all {
		s.statuses.touch(client.ObjectKeyFromObject(o))
	}
	return nil
}

// steer gives the pool the policy of the oldest object that is on it. It goes before the Service's own annotations.
// While it cannot be read, the last good policy stays in force.
func (s *Source) steer(ctx context.Context, svc *corev1.Service, pool *model.Pool) error {
	all, err := s.policiesIn(ctx, svc.Namespace)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(o *v1alpha1.SteeringPolicy) bool { return on(o, svc.Name, pool.Hosts) })
	if i < 0 {
		return nil
	}
	if pool.Policy != nil || pool.KeepPolicy {
		pool.Problems = slices.DeleteFunc(pool.Problems, func(p model.Problem) bool { return p.Reason == "InvalidPolicy" })
		pool.Problems = append(pool.Problems, model.Problem{Reason: "PolicyShadowed", Message: fmt.Sprintf(
			"the annotations %s* count for nothing, because SteeringPolicy %s is on this Service (hint: remove one of them)", s.options.Settings.Prefixes.Policy, all[i].Name)})
	}
	read, err := s.policies.read(all[i])
	pool.Policy, pool.KeepPolicy = nil, err != nil
	if err == nil {
		pool.Policy = &read.Policy
	}
	return nil
}
