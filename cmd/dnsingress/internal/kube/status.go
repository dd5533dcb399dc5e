// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Replicas all come to the same conditions. Each waits for a time of its own before it writes, and then writes only what
// nobody else has written meanwhile. On pods they may differ for as long as they like, as when one does not reach them:
// each writes once what has changed for it, and leaves what others write later. Pods are written of at most every
// statusEvery.
const (
	statusEvery   = 5 * time.Second
	statusWait    = 500 * time.Millisecond
	statusTimeout = 10 * time.Second
	statusMessage = 4096 // bytes of a condition's message
)

// statuses writes the status of policies.
type statuses struct {
	source *Source
	client client.Client
	log    *slog.Logger
	queue  workqueue.TypedRateLimitingInterface[client.ObjectKey]

	mu       sync.Mutex
	steering map[string]map[string]client.ObjectKey // by namespace and Service

	seen map[client.ObjectKey]seen // only run's
}

// seen is what this replica knows of a policy's status.
type seen struct {
	version string                  // of the object
	since   time.Time               // when it was first seen
	settled map[string]model.Status // by target: what was last written, by this replica or another that had come to the same
}

func newStatuses(s *Source, c client.Client, log *slog.Logger) *statuses {
	return &statuses{source: s, client: c, log: log, steering: map[string]map[string]client.ObjectKey{}, seen: map[client.ObjectKey]seen{}, queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[client.ObjectKey](time.Second, time.Minute),
	)}
}

// follow says which policy steers each Service of a namespace.
func (w *statuses) follow(namespace string, steering map[string]client.ObjectKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.steering[namespace] = steering; len(steering) == 0 {
		delete(w.steering, namespace)
	}
}

// decided has the status of the Service's policy looked at.
func (w *statuses) decided(ref model.Ref) {
	w.mu.Lock()
	key, ok := w.steering[ref.Namespace][ref.Name]
	w.mu.Unlock()
	if ok {
		w.touch(key)
	}
}

// touch has the policy's status looked at.
func (w *statuses) touch(key client.ObjectKey) { w.queue.AddAfter(key, rand.N(statusWait)) }

// run writes until ctx ends.
func (w *statuses) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, w.queue.ShutDown)
	defer stop()
	for {
		key, ending := w.queue.Get()
		if ending {
			return
		}
		err := w.write(ctx, key)
		switch {
		case err == nil:
			w.queue.Forget(key)
		case apierrors.IsConflict(err): // somebody wrote; the news of it come by the watch
			w.queue.AddRateLimited(key)
		case ctx.Err() == nil:
			w.log.Warn("writing a policy's status", "policy", key.String(), "error", err)
			w.queue.AddRateLimited(key)
		}
		w.queue.Done(key)
	}
}

// write brings a policy's status up to date, if it is not.
func (w *statuses) write(ctx context.Context, key client.ObjectKey) error {
	all, err := w.source.policiesIn(ctx, key.Namespace)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(o *v1alpha1.SteeringPolicy) bool { return o.Name == key.Name })
	if i < 0 {
		delete(w.seen, key)
		return nil
	}
	var services corev1.ServiceList
	if err := w.source.cache.List(ctx, &services, client.InNamespace(key.Namespace)); err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	known := w.seen[key]
	if known.version != all[i].ResourceVersion {
		known.version, known.since = all[i].ResourceVersion, time.Now()
	}
	w.seen[key] = known
	status, settled := w.source.status(all, i, services.Items, known.settled)
	if equality.Semantic.DeepEqual(*status, all[i].Status) {
		known.settled = settled
		w.seen[key] = known
		return nil
	}
	if wait := time.Until(known.since.Add(statusEvery)); wait > 0 && onlyPools(status, &all[i].Status) {
		w.queue.AddAfter(key, wait)
		return nil
	}
	o := all[i].DeepCopy()
	o.Status = *status
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	// The cached object's version goes with it: what somebody wrote since is not overwritten.
	if err := w.client.Status().Update(ctx, o); err != nil {
		return client.IgnoreNotFound(err)
	}
	known.settled = settled
	w.seen[key] = known
	return nil
}

// status is what became of the i-th policy of a namespace, of which older ones come first. What has not changed at a
// target since it was settled stays as the object has it; the new state of that is returned, too.
func (s *Source) status(all []*v1alpha1.SteeringPolicy, i int, services []corev1.Service, settled map[string]model.Status) (*v1alpha1.SteeringPolicyStatus, map[string]model.Status) {
	o := all[i]
	status := o.Status.DeepCopy()
	before, now := status.Targets, map[string]model.Status{}
	status.ObservedGeneration = o.Generation
	status.Targets = nil
	accepted := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted, Message: "the policy is in order"}
	_, err := s.policies.read(o)
	if err != nil {
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, v1alpha1.ReasonInvalid, short(err.Error())
	}
	conflicts, absent, useless := 0, 0, 0
	for _, svc := range s.targets(o, services) {
		t := v1alpha1.TargetStatus{Kind: "Service", Name: svc.name}
		rival := slices.IndexFunc(all[:i], func(older *v1alpha1.SteeringPolicy) bool { return on(older, svc.name, svc.hosts) })
		switch {
		case svc.missing != "":
			t.Message = svc.missing
			absent++
		case rival >= 0:
			t.Message = fmt.Sprintf("SteeringPolicy %s, which is older or comes first, is on it", all[rival].Name)
			conflicts++
		case err != nil:
			t.Message = "the last good policy, or readiness alone, is in force"
		default:
			t.Applied = true
		}
		if svc.host {
			t.Kind = "Hostname"
		} else if svc.missing == "" && rival < 0 {
			t.Pool = s.poolStatus(refOf(o.Namespace, svc.name), before, settled, now)
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

// target is what a policy is on.
type target struct {
	name    string
	hosts   []string
	host    bool   // it is a host name that no Service publishes
	missing string // why it cannot be steered; empty: it can
}

// targets lists what a policy is on: the Services that it names, and those that publish its host names.
func (s *Source) targets(o *v1alpha1.SteeringPolicy, services []corev1.Service) []target {
	var targets []target
	published := map[string]target{}
	for i := range services {
		svc := &services[i]
		if !s.options.Settings.Prefixes.Claimed(svc.Annotations) {
			published[svc.Name] = target{name: svc.Name, missing: "the Service has no hostname annotation"}
			continue
		}
		hosts, _ := s.options.Settings.Prefixes.Hosts(svc.Annotations)
		published[svc.Name] = target{name: svc.Name, hosts: hosts}
	}
	for _, ref := range o.Spec.TargetRefs {
		t, ok := published[ref.Name]
		if !ok {
			t = target{name: ref.Name, missing: "there is no such Service"}
		}
		targets = append(targets, t)
	}
	for _, h := range o.Spec.Hostnames {
		found := false
		for _, t := range published {
			if len(t.hosts) == 0 || !on(&v1alpha1.SteeringPolicy{Spec: v1alpha1.SteeringPolicySpec{Hostnames: []string{h}}}, "", t.hosts) {
				continue
			}
			found = true
			if !slices.ContainsFunc(targets, func(o target) bool { return o.name == t.name && !o.host }) {
				targets = append(targets, t)
			}
		}
		if !found {
			targets = append(targets, target{name: h, host: true, missing: "no Service of this namespace publishes it"})
		}
	}
	slices.SortFunc(targets, func(a, b target) int { return strings.Compare(a.name, b.name) })
	return targets
}

// short cuts a message to what a condition should hold.
func short(message string) string {
	if len(message) <= statusMessage {
		return message
	}
	return strings.ToValidUTF8(message[:statusMessage-3], "") + "..."
}
