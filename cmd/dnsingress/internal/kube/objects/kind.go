// SPDX-License-Identifier: Apache-2.0

package objects

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/kuadrant"
)

// Name is that of a kind, as in model.Ref and in the configuration.
type Name string

// The kinds that are known.
const (
	Service        Name = "Service"
	EndpointSlice  Name = "EndpointSlice"
	Namespace      Name = "Namespace"
	Node           Name = "Node"
	Ingress        Name = "Ingress"
	IngressClass   Name = "IngressClass"
	GatewayClass   Name = "GatewayClass"
	Gateway        Name = "Gateway"
	HTTPRoute      Name = "HTTPRoute"
	GRPCRoute      Name = "GRPCRoute"
	TLSRoute       Name = "TLSRoute"
	ReferenceGrant Name = "ReferenceGrant"
	DNSEndpoint    Name = "DNSEndpoint"
	DNSRecord      Name = "DNSRecord" // of kuadrant.io
	DNSPolicy      Name = "DNSPolicy"
	SteeringPolicy Name = "SteeringPolicy"
	DNSZone        Name = "DNSZone"
	DNSDelegation  Name = "DNSDelegation"
)

// Kind says how the objects of one kind are kept, translated and told of.
type Kind struct {
	Name     Name
	Version  schema.GroupVersion
	Also     []string // other versions of the same form
	Resource string   // the plural in the API's paths
	Cluster  bool     // its objects are in no namespace
	Backend  bool     // its objects are read for others also where they themselves do not count
	Custom   bool     // a CustomResourceDefinition makes it: the cluster may not have it, or not yet
	Install  func(*runtime.Scheme) error
	New      func() client.Object
	// Keep leaves of an object what is read of it. It may change o and give it back. A kind with a Status keeps that.
	Keep func(o client.Object, s *Settings) client.Object
	// Translate says what an object publishes; nil: the kind publishes nothing, it is read for others alone.
	Translate func(o client.Object, v View, s *Settings) Result
	// Status gives the object with the status that it should have; nil, or one that equals o: nothing is to be
	// written. It changes a copy. nil: the kind has no status of ours.
	Status func(o client.Object, x Standing) client.Object
	// Plain reports that an object has no status of ours, and that it needs none while nothing is wrong; nil: every one
	// has one.
	Plain func(o client.Object) bool
}

// Kinds are all that are known.
func Kinds() []Kind {
	return []Kind{
		{
			Name: Service, Version: corev1.SchemeGroupVersion, Backend: true, Resource: "services", Install: corev1.AddToScheme,
			New: create[corev1.Service], Keep: keep(keepService), Translate: translation(translateService), Status: standing(standService), Plain: plainService,
		},
		{
			Name: EndpointSlice, Version: discoveryv1.SchemeGroupVersion, Resource: "endpointslices", Install: discoveryv1.AddToScheme,
			New: create[discoveryv1.EndpointSlice], Keep: keepSlice,
		},
		{
			Name: Namespace, Version: corev1.SchemeGroupVersion, Resource: "namespaces", Cluster: true, Install: corev1.AddToScheme,
			New: create[corev1.Namespace], Keep: keep(keepNamespace),
		},
		{
			Name: Node, Version: corev1.SchemeGroupVersion, Resource: "nodes", Cluster: true, Install: corev1.AddToScheme,
			New: create[corev1.Node], Keep: keep(keepNode),
		},
		{
			Name: Ingress, Version: networkingv1.SchemeGroupVersion, Resource: "ingresses", Install: networkingv1.AddToScheme,
			New: create[networkingv1.Ingress], Keep: keepWhole, Translate: translation(translateIngress),
		},
		{
			Name: IngressClass, Version: networkingv1.SchemeGroupVersion, Resource: "ingressclasses", Cluster: true, Install: networkingv1.AddToScheme,
			New: create[networkingv1.IngressClass], Keep: keepWhole,
		},
		{
			Name: GatewayClass, Version: schema.GroupVersion(gatewayv1.GroupVersion), Also: []string{"v1beta1"}, Resource: "gatewayclasses", Cluster: true, Custom: true, Install: gatewayv1.Install,
			New: create[gatewayv1.GatewayClass], Keep: keepWhole, Translate: translation(translateGatewayClass), Status: standing(statusGatewayClass),
		},
		{
			Name: Gateway, Version: schema.GroupVersion(gatewayv1.GroupVersion), Also: []string{"v1beta1"}, Resource: "gateways", Custom: true, Install: gatewayv1.Install,
			New: create[gatewayv1.Gateway], Keep: keepWhole, Translate: translation(translateGateway), Status: standing(statusGateway),
		},
		{
			Name: HTTPRoute, Version: schema.GroupVersion(gatewayv1.GroupVersion), Also: []string{"v1beta1"}, Resource: "httproutes", Custom: true, Install: gatewayv1.Install,
			New: create[gatewayv1.HTTPRoute], Keep: keepWhole, Translate: translation(translateHTTPRoute), Status: standing(statusHTTPRoute),
		},
		{
			Name: GRPCRoute, Version: schema.GroupVersion(gatewayv1.GroupVersion), Also: []string{"v1alpha2"}, Resource: "grpcroutes", Custom: true, Install: gatewayv1.Install,
			New: create[gatewayv1.GRPCRoute], Keep: keepWhole, Translate: translation(translateGRPCRoute), Status: standing(statusGRPCRoute),
		},
		{
			Name: TLSRoute, Version: schema.GroupVersion(gatewayv1.GroupVersion), Also: []string{"v1alpha3", "v1alpha2"}, Resource: "tlsroutes", Custom: true, Install: gatewayv1.Install,
			New: create[gatewayv1.TLSRoute], Keep: keepWhole, Translate: translation(translateTLSRoute), Status: standing(statusTLSRoute),
		},
		{
			Name: ReferenceGrant, Version: schema.GroupVersion(gatewayv1beta1.GroupVersion), Also: []string{"v1"}, Resource: "referencegrants", Custom: true, Install: gatewayv1beta1.Install,
			New: create[gatewayv1beta1.ReferenceGrant], Keep: keepWhole,
		},
		{
			Name: DNSEndpoint, Version: externaldns.GroupVersion(), Resource: "dnsendpoints", Custom: true, Install: externaldns.AddToScheme,
			New: create[externaldns.DNSEndpoint], Keep: keepWhole, Translate: translation(translateDNSEndpoint), Status: standing(statusDNSEndpoint),
		},
		{
			Name: DNSRecord, Version: kuadrant.RecordVersion(), Resource: "dnsrecords", Custom: true, Install: kuadrant.AddRecordToScheme,
			New: create[kuadrant.DNSRecord], Keep: keepWhole, Translate: translation(translateDNSRecord), Status: standing(statusDNSRecord),
		},
		{
			Name: DNSPolicy, Version: kuadrant.PolicyVersion(), Resource: "dnspolicies", Custom: true, Install: kuadrant.AddPolicyToScheme,
			New: create[kuadrant.DNSPolicy], Keep: keepWhole, Translate: translation(translateDNSPolicy), Status: standing(statusDNSPolicy),
		},
		{
			Name: SteeringPolicy, Version: v1alpha1.GroupVersion(), Resource: "steeringpolicies", Custom: true, Install: v1alpha1.AddToScheme,
			New: create[v1alpha1.SteeringPolicy], Keep: keep(keepPolicy),
		},
		{
			Name: DNSZone, Version: v1alpha1.GroupVersion(), Resource: "dnszones", Cluster: true, Custom: true, Install: v1alpha1.AddToScheme,
			New: create[v1alpha1.DNSZone], Keep: keepWhole, Translate: translation(translateDNSZone), Status: standing(statusDNSZone),
		},
		{
			Name: DNSDelegation, Version: v1alpha1.GroupVersion(), Resource: "dnsdelegations", Custom: true, Install: v1alpha1.AddToScheme,
			New: create[v1alpha1.DNSDelegation], Keep: keepWhole, Translate: translation(translateDNSDelegation), Status: standing(statusDNSDelegation),
		},
	}
}

// KindOf gives the row of a kind.
func KindOf(name Name) (Kind, bool) {
	for _, k := range Kinds() {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}

// GVK is the kind as the API knows it.
func (k Kind) GVK() schema.GroupVersionKind { return k.Version.WithKind(string(k.Name)) }

func create[T any, P interface {
	*T
	client.Object
}]() client.Object {
	return P(new(T))
}

func keep[T client.Object](f func(T, *Settings) T) func(client.Object, *Settings) client.Object {
	return func(o client.Object, s *Settings) client.Object { return f(o.(T), s) }
}

func translation[T client.Object](f func(T, View, *Settings) Result) func(client.Object, View, *Settings) Result {
	return func(o client.Object, v View, s *Settings) Result { return f(o.(T), v, s) }
}

// standing is for a kind's Status, as translation is for its Translate.
func standing[T client.Object](f func(T, Standing) T) func(client.Object, Standing) client.Object {
	return func(o client.Object, x Standing) client.Object {
		if now := f(o.(T), x); any(now) != any(*new(T)) {
			return now
		}
		return nil
	}
}

// keepWhole leaves out only what the API server keeps for itself.
func keepWhole(o client.Object, _ *Settings) client.Object {
	o.SetManagedFields(nil)
	if a := o.GetAnnotations(); a[corev1.LastAppliedConfigAnnotation] != "" {
		delete(a, corev1.LastAppliedConfigAnnotation)
	}
	return o
}
