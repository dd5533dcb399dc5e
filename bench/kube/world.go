// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

const (
	endpoints = 10
	domain    = "apps.test."
	// together is how many Services share a namespace. external-dns goes through all pods of one for each of its Services.
	together = 100
)

// world is what is in the cluster, and how it is changed.
type world interface {
	// create makes Service i and what belongs to it.
	create(ctx context.Context, c *kubernetes.Clientset, i int) error
	// change writes something new about Service i and returns what makes an answer the new one, and the change's version.
	change(ctx context.Context, c *kubernetes.Clientset, i int) (shows func([]netip.Addr) bool, version string, err error)
	// watch begins to follow what change writes from now on.
	watch(ctx context.Context, c *kubernetes.Clientset) (watch.Interface, error)
}

func namespace(i int) string { return fmt.Sprintf("bench-%d", i/together) }

func serviceName(i int) string { return fmt.Sprintf("s%d", i) }

func hostName(i int) string { return serviceName(i) + "." + domain }

func address(i, j int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fd6e:7369:1::%x:%x", i+1, j+1))
}

// populate makes all Services, several at a time.
func populate(ctx context.Context, c *kubernetes.Clientset, w world, services int, say func(done int)) error {
	for i := 0; i < services; i += together {
		n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace(i)}}
		if _, err := c.CoreV1().Namespaces().Create(ctx, n, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making a namespace: %w", err)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for i := range next {
				if err := w.create(ctx, c, i); err != nil {
					cancel(fmt.Errorf("making Service %d: %w", i, err))
					return
				}
			}
		})
	}
	for i := range services {
		select {
		case next <- i:
		case <-ctx.Done():
		}
		if i%1000 == 999 {
			say(i + 1)
		}
	}
	close(next)
	wait.Wait()
	return context.Cause(ctx)
}

// pods is a world of headless Services, whose pods come and go.
type pods struct {
	// withPods makes the pods too: external-dns publishes no endpoint whose pod it does not find.
	withPods bool
	mu       sync.Mutex
	slices   map[int]*discoveryv1.EndpointSlice
}

func (p *pods) create(ctx context.Context, c *kubernetes.Clientset, i int) error {
	name := serviceName(i)
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{hostnameKey: strings.TrimSuffix(hostName(i), ".")}},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	if _, err := c.CoreV1().Services(namespace(i)).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return err
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv6,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr(""), Port: ptr(int32(80)), Protocol: ptr(corev1.ProtocolTCP)}},
	}
	for j := range endpoints {
		pod := fmt.Sprintf("%s-%d", name, j)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{address(i, j).String()},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr(true), Serving: ptr(true), Terminating: ptr(false)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: namespace(i), Name: pod},
			NodeName:   ptr("worker-1"),
		})
		if !p.withPods {
			continue
		}
		if _, err := c.CoreV1().Pods(namespace(i)).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: pod, Labels: map[string]string{"app": name}},
			Spec: corev1.PodSpec{
				NodeName: "worker-1", TerminationGracePeriodSeconds: ptr(int64(0)), AutomountServiceAccountToken: ptr(false),
				Containers: []corev1.Container{{Name: "web", Image: "web"}},
			},
		}, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	slice, err := c.DiscoveryV1().EndpointSlices(namespace(i)).Create(ctx, slice, metav1.CreateOptions{})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slices == nil {
		p.slices = map[int]*discoveryv1.EndpointSlice{}
	}
	p.slices[i] = slice
	return err
}

func (p *pods) change(ctx context.Context, c *kubernetes.Clientset, i int) (func([]netip.Addr) bool, string, error) {
	p.mu.Lock()
	slice := p.slices[i].DeepCopy()
	p.mu.Unlock()
	first := &slice.Endpoints[0].Conditions
	ready := !*first.Ready
	first.Ready, first.Serving = ptr(ready), ptr(ready)
	slice.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().UTC().Format(time.RFC3339Nano)}
	slice, err := c.DiscoveryV1().EndpointSlices(namespace(i)).Update(ctx, slice, metav1.UpdateOptions{})
	if err != nil {
		return nil, "", err
	}
	p.mu.Lock()
	p.slices[i] = slice
	p.mu.Unlock()
	return shows(address(i, 0), ready), slice.ResourceVersion, nil
}

func (p *pods) watch(ctx context.Context, c *kubernetes.Clientset) (watch.Interface, error) {
	list, err := c.DiscoveryV1().EndpointSlices("").List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	return c.DiscoveryV1().EndpointSlices("").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
}

// status is a world of load balancers, whose address moves.
type status struct {
	mu       sync.Mutex
	services map[int]*corev1.Service
	moves    map[int]int
}

func (s *status) create(ctx context.Context, c *kubernetes.Clientset, i int) error {
	service, err := c.CoreV1().Services(namespace(i)).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: serviceName(i), Annotations: map[string]string{hostnameKey: strings.TrimSuffix(hostName(i), ".")}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: ptr(false), Ports: []corev1.ServicePort{{Port: 80}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.services == nil {
		s.services, s.moves = map[int]*corev1.Service{}, map[int]int{}
	}
	s.services[i] = service
	s.mu.Unlock()
	_, _, err = s.change(ctx, c, i)
	return err
}

func (s *status) change(ctx context.Context, c *kubernetes.Clientset, i int) (func([]netip.Addr) bool, string, error) {
	s.mu.Lock()
	service, to := s.services[i].DeepCopy(), address(i, s.moves[i]%60000)
	s.moves[i]++
	s.mu.Unlock()
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: to.String()}}
	service, err := c.CoreV1().Services(namespace(i)).UpdateStatus(ctx, service, metav1.UpdateOptions{})
	if err != nil {
		return nil, "", err
	}
	s.mu.Lock()
	s.services[i] = service
	s.mu.Unlock()
	return shows(to, true), service.ResourceVersion, nil
}

func (s *status) watch(ctx context.Context, c *kubernetes.Clientset) (watch.Interface, error) {
	list, err := c.CoreV1().Services("").List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	return c.CoreV1().Services("").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
}

// shows is satisfied by answers that have the address, or that do not.
func shows(want netip.Addr, present bool) func([]netip.Addr) bool {
	return func(answer []netip.Addr) bool {
		for _, a := range answer {
			if a == want {
				return present
			}
		}
		return !present
	}
}

func ptr[T any](v T) *T { return &v }
