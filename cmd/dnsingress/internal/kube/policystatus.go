// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// seen is what this replica knows of a policy's status.
type seen struct {
	version string                  // of the object
	since   time.Time               // when it was first seen
	settled map[string]model.Status // by target: what was last written, by this replica or another that had come to the same
}

// policy gives a policy with the status that it should have; nil: it is too early to write that.
func (w *statuses) policy(ref model.Ref, o *v1alpha1.SteeringPolicy) (*v1alpha1.SteeringPolicy, func()) {
	known := w.seen[ref]
	if known.version != o.ResourceVersion {
		known.version, known.since = o.ResourceVersion, time.Now()
	}
	w.seen[ref] = known
	status, settled := w.source.policyStatus(o, known.settled)
	if wait := time.Until(known.since.Add(statusEvery)); wait > 0 && onlyPools(status, &o.Status) {
		w.queue.AddAfter(ref, wait)
		return nil, nil
	}
	now := o.DeepCopy()
	now.Status = *status
	return now, func() {
		known.settled = settled
		w.seen[ref] = known
	}
}

// policyStatus is what became of a policy. What has not changed at a target since it was settled stays as the object
// has it; the new state of that is returned, too.
func (s *Source) policyStatus(o *v1alpha1.SteeringPolicy, settled map[string]model.Status) (*v1alpha1.SteeringPolicyStatus, map[string]model.Status) {
	status := o.Status.DeepCopy()
	before, now := status.Targets, map[string]model.Status{}
	status.ObservedGeneration = o.Generation
	status.Targets = nil
	accepted := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted, Message: "the policy is in order"}
	_, err := s.options.Settings.Policies.Read(o)
	if err != nil {
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, v1alpha1.ReasonInvalid, short(err.Error())
	}
	conflicts, absent, useless := 0, 0, 0
	for _, x := range s.graph.targets(o) {
		t := v1alpha1.TargetStatus{Kind: x.kind, Name: x.name}
		var rival *v1alpha1.SteeringPolicy
		for _, p := range x.pools {
			if p.by.UID != o.UID {
				rival = p.by
			}
		}
		switch {
		case x.missing != "":
			t.Message = x.missing
			absent++
		case rival != nil:
			t.Message = fmt.Sprintf("SteeringPolicy %s, which is older, comes first or is on less, is on it", rival.Name)
			conflicts++
		case err != nil:
			t.Message = "the last good policy, or readiness alone, is in force"
		default:
			t.Applied = true
		}
		if rival == nil && len(x.pools) == 1 {
			t.Pool = s.poolStatus(t, x.pools[0].ref, before, settled, now)
		}
		if t.Applied && t.Pool != nil && t.Pool.Problem != "" {
			t.Applied, t.Message = false, "see pool.problem"
			useless++
		}
		status.Targets = append(status.Targets, t)
	}
	applied := metav1.Condition{Type: v1alpha1.ConditionApplied, Status: metav1.ConditionFalse}
	switch {
	case err != nil:
		applied.Reason, applied.Message = v1alpha1.ReasonInvalid, "the last good policy, or readiness alone, is in force"
	case conflicts > 0:
		applied.Reason, applied.Message = v1alpha1.ReasonConflicted, "an older policy is on a target: see status.targets"
	case absent > 0:
		applied.Reason, applied.Message = v1alpha1.ReasonTargetNotFound, "a target is not there or publishes no name: see status.targets"
	case useless > 0:
		applied.Reason, applied.Message = v1alpha1.ReasonUselessMetric, "no series of a query is of a target's pods: see status.targets"
	default:
		applied.Status, applied.Reason, applied.Message = metav1.ConditionTrue, v1alpha1.ReasonApplied, "every target is steered by this policy"
	}
	for _, c := range []metav1.Condition{accepted, applied} {
		c.ObservedGeneration = o.Generation
		meta.SetStatusCondition(&status.Conditions, c)
	}
	return status, now
}

// short cuts a message to what a condition should hold.
func short(message string) string {
	if len(message) <= statusMessage {
		return message
	}
	return strings.ToValidUTF8(message[:statusMessage-3], "") + "..."
}
