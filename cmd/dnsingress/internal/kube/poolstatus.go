// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// poolStatus is what a policy's status says of the pool at a target, and notes in now what that was made of. before are
// the targets as the object has them, settled what was last written.
func (s *Source) poolStatus(t v1alpha1.TargetStatus, ref model.Ref, before []v1alpha1.TargetStatus, settled, now map[string]model.Status) *v1alpha1.PoolStatus {
	var old *v1alpha1.PoolStatus
	if i := slices.IndexFunc(before, func(o v1alpha1.TargetStatus) bool { return o.Kind == t.Kind && o.Name == t.Name }); i >= 0 {
		old = before[i].Pool
	}
	key := t.Kind + "/" + t.Name
	last, written := settled[key]
	have, ok := s.options.Pools(ref)
	if !ok { // nothing is known as yet: what another or an earlier process wrote stays
		if written {
			now[key] = last
		}
		return old
	}
	if old != nil && written && !differs(render(last), render(have)) {
		now[key] = last
		return old
	}
	now[key] = have
	out := render(have)
	if old == nil {
		return out
	}
	if !differs(old, out) {
		return old
	}
	for i := range out.Members { // replicas see the same at times of their own
		m := &out.Members[i]
		j := slices.IndexFunc(old.Members, func(o v1alpha1.MemberStatus) bool { return o.Address == m.Address })
		if j >= 0 && old.Members[j].State == m.State && old.Members[j].Reason == m.Reason {
			m.Since = old.Members[j].Since
		}
	}
	return out
}

// render is x as the API has it.
func render(x model.Status) *v1alpha1.PoolStatus {
	out := &v1alpha1.PoolStatus{
		Ready: int32(x.Ready), In: int32(x.In), FailOpen: x.FailOpen, TTLSeconds: int32(x.TTL), TTLRule: x.TTLRule, Selection: x.Selection, Problem: short(x.Problem),
	}
	for _, m := range x.Members {
		state := "out"
		if m.In {
			state = "in"
		}
		out.Members = append(out.Members, v1alpha1.MemberStatus{
			Address: m.Address.String(), Pod: m.Pod, State: state, Reason: m.Reason, Rule: m.Rule, Since: metav1.NewTime(m.Since.Truncate(1e9)),
		})
	}
	return out
}

// differs reports whether the new status is worth a write: that a value moves about its limit, or the TTL with it, is not.
func differs(old, now *v1alpha1.PoolStatus) bool {
	a, b := old.DeepCopy(), now.DeepCopy()
	if less, more := min(a.TTLSeconds, b.TTLSeconds), max(a.TTLSeconds, b.TTLSeconds); less > 0 && more < 2*less {
		a.TTLSeconds = b.TTLSeconds
	}
	for _, s := range []*v1alpha1.PoolStatus{a, b} {
		for i := range s.Members {
			m := &s.Members[i]
			m.Since = metav1.Time{}
			if reason := steady(m.Reason); reason != "" {
				m.Reason, m.Rule = reason, ""
			}
		}
	}
	return !equality.Semantic.DeepEqual(a, b)
}

// steady is one word for all the reasons between which a member changes while the rules keep it or put it out; empty: the
// reason is none of these.
func steady(reason string) string {
	switch steer.Reason(reason) {
	case steer.Within, steer.NoValue, steer.Held, steer.Unconfirmed, steer.Limited, steer.Beyond, steer.Waiting, steer.Outranked, steer.Shedding:
		return "ruled"
	}
	return ""
}

// onlyPools reports whether two statuses differ in nothing but in what they say of pools.
func onlyPools(a, b *v1alpha1.SteeringPolicyStatus) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, s := range []*v1alpha1.SteeringPolicyStatus{a, b} {
		for i := range s.Targets {
			s.Targets[i].Pool = nil
		}
	}
	return equality.Semantic.DeepEqual(a, b)
}
