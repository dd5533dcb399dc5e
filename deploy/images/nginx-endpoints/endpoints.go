// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// endpoints follows the EndpointSlices of one Service. When the API server is away it keeps what it knew last.
type endpoints struct {
	namespace, port string
	lister          listers.EndpointSliceLister
	changed         chan struct{} // a notice that something changed; holds at most one
}

// follow starts the watch, which ends with ctx, and returns when the first list has arrived.
func follow(ctx context.Context, client kubernetes.Interface, namespace, service, port string) (*endpoints, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = labels.Set{discovery.LabelServiceName: service}.String()
		}))
	watched := factory.Discovery().V1().EndpointSlices()
	e := &endpoints{namespace: namespace, port: port, lister: watched.Lister(), changed: make(chan struct{}, 1)}
	if _, err := watched.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { e.notify() },
		UpdateFunc: func(any, any) { e.notify() },
		DeleteFunc: func(any) { e.notify() },
	}); err != nil {
		return nil, fmt.Errorf("watching EndpointSlices of %s/%s: %w", namespace, service, err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), watched.Informer().HasSynced) {
		return nil, ctx.Err()
	}
	return e, nil
}

// notify makes changed readable.
func (e *endpoints) notify() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// ready returns the ready endpoints, sorted, each once.
func (e *endpoints) ready() ([]netip.AddrPort, error) {
	list, err := e.lister.EndpointSlices(e.namespace).List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing EndpointSlices: %w", err)
	}
	return ready(list, e.port)
}

// ready returns the ready endpoints of the slices, sorted, each once. A condition that is not set counts as ready
// (discovery.EndpointConditions). An empty port name means the only port.
func ready(list []*discovery.EndpointSlice, port string) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, slice := range list {
		number, ok, err := portOf(slice, port)
		if err != nil {
			return nil, err
		}
		if !ok || slice.AddressType == discovery.AddressTypeFQDN {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
				continue
			}
			for _, text := range endpoint.Addresses {
				address, err := netip.ParseAddr(text)
				if err != nil {
					return nil, fmt.Errorf("reading EndpointSlice %s/%s: %w", slice.Namespace, slice.Name, err)
				}
				all = append(all, netip.AddrPortFrom(address, number))
			}
		}
	}
	slices.SortFunc(all, func(a, b netip.AddrPort) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Port(), b.Port()))
	})
	return slices.Compact(all), nil
}

// portOf returns the slice's port of that name; a slice without endpoints may have no ports.
func portOf(slice *discovery.EndpointSlice, name string) (number uint16, ok bool, err error) {
	if name == "" && len(slice.Ports) > 1 {
		return 0, false, fmt.Errorf("reading EndpointSlice %s/%s: it has %d ports (hint: choose one with --port)", slice.Namespace, slice.Name, len(slice.Ports))
	}
	for _, p := range slice.Ports {
		if p.Port != nil && (name == "" || p.Name != nil && *p.Name == name) {
			return uint16(*p.Port), true, nil
		}
	}
	return 0, false, nil
}
