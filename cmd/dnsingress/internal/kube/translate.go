// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// refOf names a Service.
func refOf(namespace, name string) model.Ref {
	return model.Ref{Kind: "Service", Namespace: namespace, Name: name}
}

// translate turns a Service and its EndpointSlices into a pool; nil: the Service asks for none. triggered is
// when the newest of the changes in the slices happened in the cluster, zero where they do not say.
func translate(svc *corev1.Service, slicesOf []discoveryv1.EndpointSlice, p Prefixes, check func(expr string) error) (pool *model.Pool, triggered time.Time) {
	if !p.claimed(svc.Annotations) {
		return nil, time.Time{}
	}
	pool = &model.Pool{Ref: refOf(svc.Namespace, svc.Name), Created: svc.CreationTimestamp.Time}
	pool.Hosts, pool.Problems = p.hosts(svc.Annotations)
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		pool.Hosts = nil
		pool.Problems = append(pool.Problems, model.Problem{
			Reason: "Unsupported", Message: "a Service of type ExternalName has no pods to publish (hint: publish a CNAME in the parent zone instead)",
		})
		return pool, time.Time{}
	}
	var problems []model.Problem
	pool.TTL, problems = p.ttl(svc.Annotations)
	pool.Problems = append(pool.Problems, problems...)
	pool.MaxAnswers, problems = p.maxAnswers(svc.Annotations)
	pool.Problems = append(pool.Problems, problems...)
	var err error
	if pool.Policy, err = p.policy(svc.Annotations, check); err != nil {
		pool.KeepPolicy = true
		message := strings.ReplaceAll(err.Error(), "\n", "; ")
		pool.Problems = append(pool.Problems, model.Problem{Reason: "InvalidPolicy", Message: message + "; the last good policy, or readiness alone, stays in force"})
	}
	// The cache gives them in no order, and where two differ on an address all replicas must see the same.
	slices.SortFunc(slicesOf, func(a, b discoveryv1.EndpointSlice) int { return strings.Compare(a.Name, b.Name) })
	members := map[netip.Addr]model.Member{}
	for i := range slicesOf {
		addMembers(members, &slicesOf[i], svc.Spec.PublishNotReadyAddresses, &pool.Problems)
		if at := triggerTime(&slicesOf[i]); at.After(triggered) {
			triggered = at
		}
	}
	for _, m := range members {
		pool.Members = append(pool.Members, m)
	}
	slices.SortFunc(pool.Members, func(a, b model.Member) int { return a.Address.Compare(b.Address) })
	return pool, triggered
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
