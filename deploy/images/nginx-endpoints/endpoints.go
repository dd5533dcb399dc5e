// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// endpointSlices returns what lists and watches the EndpointSlices of a Service, or for no Service those of its whole
// namespace. A client of this one kind spares the build all the others.
func endpointSlices(config *rest.Config, namespace, service string) (cache.ListerWatcher, error) {
	scheme := runtime.NewScheme()
	if err := discovery.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	config = rest.CopyConfig(config)
	config.APIPath, config.GroupVersion = "/apis", &discovery.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making the API client: %w", err)
	}
	return cache.NewFilteredListWatchFromClient(client, "endpointslices", namespace, func(o *metav1.ListOptions) {
		if service != "" {
			o.LabelSelector = labels.Set{discovery.LabelServiceName: service}.String()
		}
	}), nil
}

// endpoints follows EndpointSlices. When the API server is away it keeps what it knew last.
type endpoints struct {
	port    string
	slices  cache.Store
	changed chan struct{} // a notice that something changed; holds at most one
}

// follow starts the watch, which ends with ctx, and returns when the first list has arrived.
func follow(ctx context.Context, source cache.ListerWatcher, port string) (*endpoints, error) {
	informer := cache.NewSharedIndexInformer(source, &discovery.EndpointSlice{}, 0, nil)
	e := &endpoints{port: port, slices: informer.GetStore(), changed: make(chan struct{}, 1)}
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { e.notify() },
		UpdateFunc: func(any, any) { e.notify() },
		DeleteFunc: func(any) { e.notify() },
	}); err != nil {
		return nil, fmt.Errorf("watching EndpointSlices: %w", err)
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
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

// services returns what is to be served: first the service called first, for every host, then the others by name; each with
// its ready endpoints, sorted, each once.
func (e *endpoints) services(first string) ([]upstream, error) {
	of := map[string][]*discovery.EndpointSlice{first: nil}
	for _, item := range e.slices.List() {
		if slice, ok := item.(*discovery.EndpointSlice); ok {
			name := slice.Labels[discovery.LabelServiceName]
			of[name] = append(of[name], slice)
		}
	}
	var all []upstream
	for _, name := range slices.Sorted(maps.Keys(of)) {
		servers, err := ready(of[name], e.port)
		if err != nil {
			return nil, err
		}
		if name == first {
			all = slices.Insert(all, 0, upstream{Servers: servers})
		} else {
			all = append(all, upstream{name, servers})
		}
	}
	return all, nil
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
