// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/kuadrant"
)

// View is how a translation sees other objects. Whatever it asks for it depends on: the object is translated again
// when the answer to one of these questions may be another, also where the answer was that there is no such object.
// What is given is not to be changed.
type View interface {
	// Get gives an object; nil: there is none. namespace is empty for kinds that are in none.
	Get(kind Name, namespace, name string) client.Object
	// Find gives the objects of the index's kind that have the key, by namespace and then by name.
	Find(index Index, key string) []client.Object
}

// get is View.Get for a type; nil: there is none.
func get[T client.Object](v View, kind Name, namespace, name string) T {
	o, _ := v.Get(kind, namespace, name).(T)
	return o
}

// find is View.Find for a type.
func find[T client.Object](v View, index Index, key string) []T {
	all := v.Find(index, key)
	out := make([]T, 0, len(all))
	for _, o := range all {
		if o, ok := o.(T); ok {
			out = append(out, o)
		}
	}
	return out
}

// Index finds objects of one kind by what they name.
type Index string

// The indexes. The key is "NAMESPACE/NAME" where nothing else is said.
const (
	SlicesByService        Index = "EndpointSlices by Service"
	AllNodes               Index = "Nodes"                        // key: empty
	GrantsByNamespace      Index = "ReferenceGrants by namespace" // key: the namespace
	GatewaysByClass        Index = "Gateways by class"            // key: the class's name
	HTTPRoutesByGateway    Index = "HTTPRoutes by Gateway"
	GRPCRoutesByGateway    Index = "GRPCRoutes by Gateway"
	TLSRoutesByGateway     Index = "TLSRoutes by Gateway"
	DNSPoliciesByGateway   Index = "DNSPolicies by Gateway"
	DNSRecordsByRoot       Index = "DNSRecords by root host"       // key: the host without "*.", fully qualified, lower case
	DNSZonesByOrigin       Index = "DNSZones by origin"            // key: the origin, fully qualified, lower case
	GatewaysByHost         Index = "Gateways by listener host"     // key: likewise
	SteeringPoliciesTarget Index = "SteeringPolicies by target"    // key: KIND/NAMESPACE/NAME
	SteeringPoliciesHost   Index = "SteeringPolicies by host name" // key: NAMESPACE/HOST, fully qualified, lower case
)

// Indexed is an index with how objects of its kind are found by it.
type Indexed struct {
	Index Index
	Kind  Name
	Keys  func(client.Object) []string // distinct
}

// Indexes are all that there are.
func Indexes() []Indexed {
	return []Indexed{
		{SlicesByService, EndpointSlice, keys(func(o *keptSlice) []string { return []string{Key(o.Namespace, o.service)} })},
		{AllNodes, Node, func(client.Object) []string { return []string{""} }},
		{GrantsByNamespace, ReferenceGrant, keys(func(o *gatewayv1beta1.ReferenceGrant) []string { return []string{o.Namespace} })},
		{GatewaysByClass, Gateway, keys(func(o *gatewayv1.Gateway) []string { return []string{string(o.Spec.GatewayClassName)} })},
		{HTTPRoutesByGateway, HTTPRoute, keys(func(o *gatewayv1.HTTPRoute) []string { return parents(o.Namespace, o.Spec.ParentRefs) })},
		{GRPCRoutesByGateway, GRPCRoute, keys(func(o *gatewayv1.GRPCRoute) []string { return parents(o.Namespace, o.Spec.ParentRefs) })},
		{TLSRoutesByGateway, TLSRoute, keys(func(o *gatewayv1.TLSRoute) []string { return parents(o.Namespace, o.Spec.ParentRefs) })},
		{DNSPoliciesByGateway, DNSPolicy, keys(func(o *kuadrant.DNSPolicy) []string { return []string{Key(o.Namespace, o.Spec.TargetRef.Name)} })},
		{DNSRecordsByRoot, DNSRecord, keys(func(o *kuadrant.DNSRecord) []string { return appendNew(nil, baseOfRecord(o)) })},
		{DNSZonesByOrigin, DNSZone, keys(func(o *v1alpha1.DNSZone) []string { return []string{canonicalOr(o.Spec.Origin)} })},
		{GatewaysByHost, Gateway, keys(listenerBases)},
		{SteeringPoliciesTarget, SteeringPolicy, keys(policyTargets)},
		{SteeringPoliciesHost, SteeringPolicy, keys(func(o *v1alpha1.SteeringPolicy) []string { return distinct(PolicyHosts(o)) })},
	}
}

func keys[T client.Object](f func(T) []string) func(client.Object) []string {
	return func(o client.Object) []string { return f(o.(T)) }
}

// Key joins a namespace and a name.
func Key(namespace, name string) string { return namespace + "/" + name }

// parents are the Gateways that a route names.
func parents(namespace string, refs []gatewayv1.ParentReference) []string {
	var out []string
	for _, r := range refs {
		if r.Kind != nil && *r.Kind != gatewayv1.Kind(Gateway) || r.Group != nil && *r.Group != gatewayv1.GroupName {
			continue
		}
		of := namespace
		if r.Namespace != nil {
			of = string(*r.Namespace)
		}
		if key := Key(of, string(r.Name)); !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return out
}

// keepNamespace keeps the labels, which Gateways and filters select by.
func keepNamespace(o *corev1.Namespace, _ *Settings) *corev1.Namespace {
	out := &corev1.Namespace{}
	out.Name, out.UID, out.ResourceVersion, out.Labels = o.Name, o.UID, o.ResourceVersion, o.Labels
	return out
}
