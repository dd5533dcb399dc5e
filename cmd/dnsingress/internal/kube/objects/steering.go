// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/policy"
)

// Steered says which policies are on a pool.
type Steered struct {
	Part     string
	Policies []*v1alpha1.SteeringPolicy // the one that steers first
}

// Equal reports whether the policies are the same, in the same state.
func (s Steered) Equal(o Steered) bool {
	return s.Part == o.Part && slices.EqualFunc(s.Policies, o.Policies, func(a, b *v1alpha1.SteeringPolicy) bool {
		return a.UID == b.UID && a.Generation == b.Generation
	})
}

// Steer gives each pool of an object's translation the SteeringPolicy that is on it: on the object or on one of the
// pool's names, else on what the object is attached to (a route's Gateway); of several the oldest, then the one whose
// name comes first. It goes before the object's own annotations. While it cannot be read, the last good one stays.
func Steer(o client.Object, kind Name, r *Result, v View, s *Settings) []Steered {
	var all []Steered
	for i := range r.Pools {
		pool := &r.Pools[i]
		if len(pool.Hosts) == 0 {
			continue
		}
		policies := find[*v1alpha1.SteeringPolicy](v, SteeringPoliciesTarget, string(kind)+"/"+Key(o.GetNamespace(), o.GetName()))
		for _, h := range pool.Hosts {
			policies = append(policies, find[*v1alpha1.SteeringPolicy](v, SteeringPoliciesHost, Key(o.GetNamespace(), h))...)
		}
		slices.SortFunc(policies, older)
		var wider []*v1alpha1.SteeringPolicy
		for _, t := range r.Targets[pool.Ref.Part] {
			wider = append(wider, find[*v1alpha1.SteeringPolicy](v, SteeringPoliciesTarget, t.Kind+"/"+Key(t.Namespace, t.Name))...)
		}
		slices.SortFunc(wider, older)
		var distinct []*v1alpha1.SteeringPolicy
		for _, p := range append(policies, wider...) {
			if !slices.Contains(distinct, p) {
				distinct = append(distinct, p)
			}
		}
		if policies = distinct; len(policies) == 0 {
			continue
		}
		all = append(all, Steered{pool.Ref.Part, policies})
		steerPool(pool, kind, policies[0], s)
	}
	return all
}

// older orders policies: of two the first has what both want.
func older(a, b *v1alpha1.SteeringPolicy) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name), strings.Compare(a.Namespace, b.Namespace))
}

func steerPool(pool *model.Pool, kind Name, by *v1alpha1.SteeringPolicy, s *Settings) {
	if pool.Policy != nil || pool.KeepPolicy {
		pool.Problems = slices.DeleteFunc(pool.Problems, func(p model.Problem) bool { return p.Reason == "InvalidPolicy" })
		pool.Problems = append(pool.Problems, model.Problem{Reason: "PolicyShadowed", Message: fmt.Sprintf(
			"the annotations %s* count for nothing, because SteeringPolicy %s is on this %s (hint: remove one of them)", s.Prefixes.Policy, by.Name, kind)})
	}
	read, err := s.Policies.Read(by)
	pool.Policy, pool.KeepPolicy = nil, err != nil
	if err == nil {
		pool.Policy = &read.Policy
	}
}

// Policies reads SteeringPolicies and remembers what it has read. Each generation of each is read once. Nil reads
// them each time.
type Policies struct {
	mu    sync.Mutex
	known map[types.UID]reading
}

// reading is what became of one generation of a policy.
type reading struct {
	generation int64
	policy     policy.Policy
	err        error
}

// Read gives the policy, or all that is wrong with it.
func (p *Policies) Read(o *v1alpha1.SteeringPolicy) (policy.Policy, error) {
	if p == nil {
		return read(o)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.known[o.UID]
	if !ok || r.generation != o.Generation {
		r.generation = o.Generation
		r.policy, r.err = read(o)
		if p.known == nil {
			p.known = map[types.UID]reading{}
		}
		p.known[o.UID] = r
	}
	return r.policy, r.err
}

// Forget drops what was read of a policy that is gone.
func (p *Policies) Forget(id types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, id)
}

func read(o *v1alpha1.SteeringPolicy) (policy.Policy, error) {
	data, err := json.Marshal(v1alpha1.SteeringPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: policy.APIVersion, Kind: policy.Kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}, Spec: o.Spec,
	})
	if err != nil {
		return policy.Policy{}, err
	}
	return policy.FromObject(data)
}

// keepPolicy leaves out what the API server keeps for itself.
func keepPolicy(o *v1alpha1.SteeringPolicy, _ *Settings) *v1alpha1.SteeringPolicy {
	o.ManagedFields, o.Annotations = nil, nil
	return o
}

// policyTargets are the objects that a SteeringPolicy names.
func policyTargets(o *v1alpha1.SteeringPolicy) []string {
	var out []string
	for _, t := range o.Spec.TargetRefs {
		out = append(out, t.Kind+"/"+Key(o.Namespace, t.Name))
	}
	return distinct(out)
}

// PolicyHosts are the host names that a SteeringPolicy names, as keys of SteeringPoliciesHost.
func PolicyHosts(o *v1alpha1.SteeringPolicy) []string {
	var out []string
	for _, h := range o.Spec.Hostnames {
		out = append(out, Key(o.Namespace, dns.CanonicalName(h)))
	}
	return out
}

// distinct are all, each once, in their order.
func distinct(all []string) []string {
	out := all[:0]
	for _, s := range all {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
