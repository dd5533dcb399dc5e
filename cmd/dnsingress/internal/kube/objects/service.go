// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// translateService publishes the addresses of a Service's endpoints under the names that its annotations give.
func translateService(svc *corev1.Service, v View, s *Settings) Result {
	p := s.Prefixes
	if !p.Claimed(svc.Annotations) {
		return Result{}
	}
	var triggered time.Time
	pool := &model.Pool{Ref: Ref(svc, Service, ""), Created: svc.CreationTimestamp.Time}
	pool.Hosts, pool.Problems = p.Hosts(svc.Annotations)
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		pool.Hosts = nil
		pool.Problems = append(pool.Problems, model.Problem{
			Reason: "Unsupported", Message: "a Service of type ExternalName has no pods to publish (hint: publish a CNAME in the parent zone instead)",
		})
		return Result{Pools: []model.Pool{*pool}}
	}
	var problems []model.Problem
	pool.TTL, problems = p.ttl(svc.Annotations)
	pool.Problems = append(pool.Problems, problems...)
	pool.MaxAnswers, problems = p.maxAnswers(svc.Annotations)
	pool.Problems = append(pool.Problems, problems...)
	var err error
	if pool.Policy, err = p.policy(svc.Annotations, s.Check); err != nil {
		pool.KeepPolicy = true
		message := strings.ReplaceAll(err.Error(), "\n", "; ")
		pool.Problems = append(pool.Problems, model.Problem{Reason: "InvalidPolicy", Message: message + "; the last good policy, or readiness alone, stays in force"})
	}
	// They come in an order: where two differ on an address all replicas must see the same.
	members := map[netip.Addr]model.Member{}
	for _, slice := range find[*discoveryv1.EndpointSlice](v, SlicesByService, Key(svc.Namespace, svc.Name)) {
		addMembers(members, slice, svc.Spec.PublishNotReadyAddresses, &pool.Problems)
		if at := triggerTime(slice); at.After(triggered) {
			triggered = at
		}
	}
	for _, m := range members {
		pool.Members = append(pool.Members, m)
	}
	slices.SortFunc(pool.Members, func(a, b model.Member) int { return a.Address.Compare(b.Address) })
	return Result{Pools: []model.Pool{*pool}, Triggered: triggered}
}

func addMembers(members map[netip.Addr]model.Member, slice *discoveryv1.EndpointSlice, publishNotReady bool, problems *[]model.Problem) {
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		return
	}
	for _, e := range slice.Endpoints {
		// The addresses of one endpoint are fungible: consumers use the first (EndpointSlice API).
		if len(e.Addresses) == 0 {
			continue
		}
		address, err := netip.ParseAddr(e.Addresses[0])
		if err != nil || address.Is6() != (slice.AddressType == discoveryv1.AddressTypeIPv6) {
			*problems = append(*problems, model.Problem{Reason: "InvalidAddress", Message: fmt.Sprintf(
				"EndpointSlice %s: %q is no %s address", slice.Name, e.Addresses[0], slice.AddressType)})
			continue
		}
		m := model.Member{
			Address:     address,
			Ready:       orTrue(e.Conditions.Ready) || publishNotReady,
			Terminating: e.Conditions.Terminating != nil && *e.Conditions.Terminating,
		}
		m.Serving = m.Ready
		if e.Conditions.Serving != nil {
			m.Serving = *e.Conditions.Serving
		}
		if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
			m.Pod = e.TargetRef.Name
		}
		if e.NodeName != nil {
			m.Node = *e.NodeName
		}
		if e.Zone != nil {
			m.Zone = *e.Zone
		}
		// An address may be in two slices while the controller moves it: the one in which it is usable counts.
		if old, ok := members[address]; !ok || !old.Ready || old.Terminating {
			members[address] = m
		}
	}
}

// orTrue reads a condition for which the API says that unknown means true.
func orTrue(b *bool) bool { return b == nil || *b }

// triggerTime is when the change that the slice tells of happened, as the endpoint slice controller notes it.
func triggerTime(slice *discoveryv1.EndpointSlice) time.Time {
	at, err := time.Parse(time.RFC3339Nano, slice.Annotations[corev1.EndpointsLastChangeTriggerTime])
	if err != nil {
		return time.Time{}
	}
	return at
}

// keepService keeps what is read of a Service; of one that claims nothing what a route that names it as a backend needs.
func keepService(svc *corev1.Service, s *Settings) *corev1.Service {
	out := &corev1.Service{}
	out.Namespace, out.Name, out.UID, out.ResourceVersion, out.Generation = svc.Namespace, svc.Name, svc.UID, svc.ResourceVersion, svc.Generation
	if s.Prefixes.Claimed(svc.Annotations) {
		out.CreationTimestamp = svc.CreationTimestamp
		out.Annotations = maps.Clone(svc.Annotations)
		maps.DeleteFunc(out.Annotations, func(k, _ string) bool { return !s.Prefixes.ours(k) })
	}
	out.Spec.Type, out.Spec.PublishNotReadyAddresses = svc.Spec.Type, svc.Spec.PublishNotReadyAddresses
	return out
}

// keepSlice keeps what is read of an EndpointSlice.
func keepSlice(slice *discoveryv1.EndpointSlice, _ *Settings) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: slice.Namespace, Name: slice.Name, UID: slice.UID, ResourceVersion: slice.ResourceVersion,
			Labels: map[string]string{discoveryv1.LabelServiceName: slice.Labels[discoveryv1.LabelServiceName]},
		},
		AddressType: slice.AddressType,
		Endpoints:   make([]discoveryv1.Endpoint, len(slice.Endpoints)),
	}
	if at, ok := slice.Annotations[corev1.EndpointsLastChangeTriggerTime]; ok {
		out.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: at}
	}
	for i, e := range slice.Endpoints {
		out.Endpoints[i] = discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions, NodeName: e.NodeName, Zone: e.Zone}
		if e.TargetRef != nil {
			out.Endpoints[i].TargetRef = &corev1.ObjectReference{Kind: e.TargetRef.Kind, Name: e.TargetRef.Name}
		}
	}
	return out
}
