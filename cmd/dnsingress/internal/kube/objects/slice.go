// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// keptSlice is what is kept of an EndpointSlice. Of all objects these are the most, and their endpoints the most of their
// octets: they are kept in the form that pools have, so that a pool of one slice shares them.
type keptSlice struct {
	metav1.TypeMeta
	metav1.ObjectMeta

	service   string // the Service's name
	family    discoveryv1.AddressType
	ports     []discoveryv1.EndpointPort
	triggered time.Time // when the change that the slice tells of happened; zero: it does not say
	// members are the endpoints with an address that can be used, in the order of these, with the ports as the slice has them.
	members  []model.Member
	distinct bool     // no two members have the same address
	hosts    []string // of the members that have a host name of their own, parallel to members; nil: none has
	unsaid   []bool   // parallel to members: whether they serve is not said; nil: of none that is not ready
	wrong    []error  // addresses that cannot be used
}

// DeepCopyObject implements runtime.Object. What is kept is never changed.
func (k *keptSlice) DeepCopyObject() runtime.Object {
	out := *k
	k.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

// keepSlice keeps what is read of an EndpointSlice; what has been kept already stays.
func keepSlice(o client.Object, s *Settings) client.Object {
	slice, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return o
	}
	k := &keptSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Shared.string(slice.Namespace), Name: slice.Name, UID: slice.UID, ResourceVersion: slice.ResourceVersion},
		service:    slice.Labels[discoveryv1.LabelServiceName], family: slice.AddressType, ports: slice.Ports, triggered: triggerTime(slice),
	}
	if k.family == discoveryv1.AddressTypeFQDN {
		return k
	}
	k.members = make([]model.Member, 0, len(slice.Endpoints))
	own := ownNumbers(slice.Ports)
	pods := podNames(slice)
	order := make([]*discoveryv1.Endpoint, 0, len(slice.Endpoints)) // parallel to members
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		m, err := memberOf(slice.AddressType, e)
		if err != nil {
			k.wrong = append(k.wrong, err)
		}
		if !m.Address.IsValid() {
			continue
		}
		m.Pod, m.Node, m.Zone, m.Ports = pods[i], s.Shared.string(m.Node), s.Shared.string(m.Zone), own
		k.members, order = append(k.members, m), append(order, e)
	}
	if !slices.IsSortedFunc(k.members, byAddress) {
		at := make([]int, len(order))
		for i := range at {
			at[i] = i
		}
		slices.SortStableFunc(at, func(a, b int) int { return byAddress(k.members[a], k.members[b]) })
		k.members, order = permuted(k.members, at), permuted(order, at)
	}
	k.distinct = true
	for i, e := range order {
		if i > 0 && k.members[i-1].Address == k.members[i].Address {
			k.distinct = false
		}
		if h := orZero(e.Hostname); h != "" {
			if k.hosts == nil {
				k.hosts = make([]string, len(order))
			}
			k.hosts[i] = h
		}
		if e.Conditions.Serving == nil && !k.members[i].Ready {
			if k.unsaid == nil {
				k.unsaid = make([]bool, len(order))
			}
			k.unsaid[i] = true
		}
	}
	return k
}

func byAddress(a, b model.Member) int { return a.Address.Compare(b.Address) }

func permuted[T any](list []T, order []int) []T {
	out := make([]T, len(order))
	for i, at := range order {
		out[i] = list[at]
	}
	return out
}

// podNames are those of the endpoints, parts of one string.
func podNames(slice *discoveryv1.EndpointSlice) []string {
	var all strings.Builder
	names := make([]string, len(slice.Endpoints))
	for i := range slice.Endpoints {
		if ref := slice.Endpoints[i].TargetRef; ref != nil && ref.Kind == "Pod" {
			names[i] = ref.Name
			all.WriteString(ref.Name)
		}
	}
	one := all.String()
	for i := range names {
		names[i], one = one[:len(names[i])], one[len(names[i]):]
	}
	return names
}

// memberOf is an endpoint, but for its pod and its ports. Without an address it is none.
func memberOf(family discoveryv1.AddressType, e *discoveryv1.Endpoint) (model.Member, error) {
	// The addresses of one endpoint are fungible: consumers use the first (EndpointSlice API).
	if len(e.Addresses) == 0 {
		return model.Member{}, nil
	}
	address, err := netip.ParseAddr(e.Addresses[0])
	if err != nil || address.Is6() != (family == discoveryv1.AddressTypeIPv6) || address.Zone() != "" {
		return model.Member{}, fmt.Errorf("%q is no %s address", e.Addresses[0], family)
	}
	m := model.Member{
		Address: address, Node: orZero(e.NodeName), Zone: zoneOf(e),
		Ready: orTrue(e.Conditions.Ready), Terminating: orZero(e.Conditions.Terminating),
	}
	m.Serving = m.Ready
	if e.Conditions.Serving != nil {
		m.Serving = *e.Conditions.Serving
	}
	return m, nil
}

// zoneOf is the zone whose clients an endpoint is for: that of its node, or where hints give it to others, the first of these.
func zoneOf(e *discoveryv1.Endpoint) string {
	zone := orZero(e.Zone)
	if e.Hints == nil || len(e.Hints.ForZones) == 0 ||
		slices.ContainsFunc(e.Hints.ForZones, func(h discoveryv1.ForZone) bool { return h.Name == zone }) {
		return zone
	}
	return e.Hints.ForZones[0].Name
}

// orTrue reads a condition for which the API says that unknown means true.
func orTrue(b *bool) bool { return b == nil || *b }

// triggerTime is when the change that the slice tells of happened, as the endpoint slice controller notes it.
func triggerTime(slice *discoveryv1.EndpointSlice) time.Time {
	text, ok := slice.Annotations[corev1.EndpointsLastChangeTriggerTime]
	if !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// ownNumbers are the numbers that a slice's ports have, in its order; 0: it is not said, or is none.
func ownNumbers(ports []discoveryv1.EndpointPort) []uint16 {
	if len(ports) == 0 {
		return nil
	}
	numbers := make([]uint16, len(ports))
	for i := range ports {
		numbers[i] = number(&ports[i])
	}
	return numbers
}

func number(p *discoveryv1.EndpointPort) uint16 {
	if p.Port != nil && *p.Port > 0 && *p.Port <= 65535 {
		return uint16(*p.Port)
	}
	return 0
}

// with are the slice's members with the numbers that a Service's ports have there. What differs from what is kept is a
// copy.
func (k *keptSlice) with(ports []endpointPort, publishNotReady bool) []model.Member {
	numbers := k.numbers(ports)
	notReady := publishNotReady && slices.ContainsFunc(k.members, func(m model.Member) bool { return !m.Ready })
	if len(k.members) == 0 || !notReady && slices.Equal(numbers, k.members[0].Ports) {
		return k.members
	}
	out := slices.Clone(k.members)
	for i := range out {
		out[i].Ports = numbers
		if notReady {
			out[i].Ready = true
			out[i].Serving = out[i].Serving || k.unsaid != nil && k.unsaid[i]
		}
	}
	return out
}

// numbers are the numbers that ports have in the slice, which are the endpoints' own; 0: there is none.
func (k *keptSlice) numbers(ports []endpointPort) []uint16 {
	if len(ports) == 0 {
		return nil
	}
	numbers := make([]uint16, len(ports))
	for i, port := range ports {
		for j := range k.ports {
			if p := &k.ports[j]; port.is(orZero(p.Name), orZero(p.Protocol)) {
				numbers[i] = cmp.Or(number(p), numbers[i])
			}
		}
	}
	return numbers
}

// merged are the members of all slices, in the order of their addresses. An address may be in two slices while the
// controller moves it: the one in which it is usable counts.
func merged(all []*keptSlice, ports []endpointPort, publishNotReady bool) []model.Member {
	var only *keptSlice
	several, size := false, 0
	for _, k := range all {
		if len(k.members) > 0 {
			several = several || only != nil
			only = k
			size += len(k.members)
		}
	}
	switch {
	case only == nil:
		return nil
	case !several && only.distinct:
		return only.with(ports, publishNotReady)
	}
	members := make([]model.Member, 0, size)
	for _, k := range all {
		members = append(members, k.with(ports, publishNotReady)...)
	}
	slices.SortStableFunc(members, byAddress)
	kept := 0
	for i, m := range members {
		switch last := &members[max(kept-1, 0)]; {
		case i == 0 || last.Address != m.Address:
			members[kept] = m
			kept++
		case !last.Ready || last.Terminating:
			*last = m
		}
	}
	return slices.Clip(members[:kept])
}
