// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// listener is one of a Gateway, with what can be made of it. The verdicts are about a Gateway of ours.
type listener struct {
	*gatewayv1.Listener
	path       string // where in the Gateway
	host       string // in lower case, fully qualified; empty: every name
	kinds      []gatewayv1.RouteGroupKind
	accepted   verdict
	conflicted verdict
	resolved   verdict // of spec.listeners[].tls.certificateRefs
	routeKinds verdict // of spec.listeners[].allowedRoutes.kinds
}

// usable reports whether names are published for the routes of a listener.
func (l *listener) usable() bool { return l.accepted.ok() && l.conflicted.ok() && l.resolved.ok() }

// why says why a listener is not usable.
func (l *listener) why() string {
	for _, v := range []verdict{l.accepted, l.conflicted, l.resolved} {
		if !v.ok() {
			return v.reason + ": " + v.message
		}
	}
	return ""
}

// listenersOf reads the listeners of a Gateway.
func listenersOf(gw *gatewayv1.Gateway, v View) []*listener {
	all := make([]*listener, len(gw.Spec.Listeners))
	for i := range gw.Spec.Listeners {
		l := &listener{Listener: &gw.Spec.Listeners[i], path: fmt.Sprintf("spec.listeners[%d]", i)}
		if l.Hostname != nil {
			l.host = canonicalHost(string(*l.Hostname))
		}
		l.readKinds()
		l.readTLS(gw, v)
		all[i] = l
	}
	for i, l := range all {
		for _, o := range all[:i] {
			if c := conflict(l, o); c != "" {
				l.conflicted = verdict{c, fmt.Sprintf("listener %s has port %d, too", o.Name, l.Port)}
				o.conflicted = verdict{c, fmt.Sprintf("listener %s has port %d, too", l.Name, l.Port)}
			}
		}
	}
	return all
}

// routesOf are the kinds of routes that a protocol can have.
func routesOf(protocol gatewayv1.ProtocolType) []Name {
	switch protocol {
	case gatewayv1.HTTPProtocolType, gatewayv1.HTTPSProtocolType:
		return []Name{HTTPRoute, GRPCRoute}
	case gatewayv1.TLSProtocolType:
		return []Name{TLSRoute}
	}
	return nil
}

// readKinds finds which of the kinds of routes that a listener allows are supported.
func (l *listener) readKinds() {
	l.kinds = []gatewayv1.RouteGroupKind{} // the API wants a list
	group := gatewayv1.Group(gatewayv1.GroupName)
	possible := routesOf(l.Protocol)
	if possible == nil {
		l.accepted = verdict{string(gatewayv1.ListenerReasonUnsupportedProtocol), fmt.Sprintf("protocol %s has no host names (hint: HTTP, HTTPS or TLS)", l.Protocol)}
	}
	if l.AllowedRoutes == nil || len(l.AllowedRoutes.Kinds) == 0 {
		for _, k := range possible {
			l.kinds = append(l.kinds, gatewayv1.RouteGroupKind{Group: &group, Kind: gatewayv1.Kind(k)})
		}
		return
	}
	var invalid []string
	for _, k := range l.AllowedRoutes.Kinds {
		if (k.Group == nil || *k.Group == group) && slices.Contains(possible, Name(k.Kind)) {
			l.kinds = append(l.kinds, gatewayv1.RouteGroupKind{Group: &group, Kind: k.Kind})
		} else {
			invalid = append(invalid, string(k.Kind))
		}
	}
	if len(invalid) > 0 {
		l.routeKinds = verdict{string(gatewayv1.ListenerReasonInvalidRouteKinds), fmt.Sprintf(
			"allowedRoutes.kinds: %s cannot be attached to protocol %s", strings.Join(invalid, ", "), l.Protocol)}
	}
}

// readTLS looks at what a listener says of TLS, as far as that can be said without reading Secrets: pods have their
// own certificates, and the listener's are for nobody.
func (l *listener) readTLS(gw *gatewayv1.Gateway, v View) {
	if l.TLS == nil {
		return
	}
	if l.Protocol == gatewayv1.TLSProtocolType && (l.TLS.Mode == nil || *l.TLS.Mode == gatewayv1.TLSModeTerminate) {
		l.kinds = []gatewayv1.RouteGroupKind{}
		l.accepted = verdict{string(gatewayv1.ListenerReasonUnsupportedValue), "tls.mode Terminate would need a proxy (hint: Passthrough; or protocol HTTPS with HTTPRoutes, where pods have the certificates)"}
		return
	}
	for i, c := range l.TLS.CertificateRefs {
		at := fmt.Sprintf("tls.certificateRefs[%d]", i)
		namespace := gw.Namespace
		if c.Namespace != nil {
			namespace = string(*c.Namespace)
		}
		switch {
		case c.Group != nil && *c.Group != corev1.GroupName || c.Kind != nil && *c.Kind != "Secret":
			l.resolved = verdict{string(gatewayv1.ListenerReasonInvalidCertificateRef), at + " is no Secret"}
		case namespace != gw.Namespace && !granted(v, Gateway, gw.Namespace, "Secret", namespace, string(c.Name)):
			l.resolved = verdict{string(gatewayv1.ListenerReasonRefNotPermitted), fmt.Sprintf("%s: no ReferenceGrant in namespace %s lets Gateways of namespace %s refer to Secret %s", at, namespace, gw.Namespace, c.Name)}
		default:
			continue
		}
		return
	}
}

// conflict is the reason why two listeners cannot both be, or empty.
func conflict(a, b *listener) string {
	plain := func(l *listener) bool { return l.Protocol == gatewayv1.HTTPProtocolType }
	switch {
	case a.Port != b.Port || routesOf(a.Protocol) == nil || routesOf(b.Protocol) == nil:
		return ""
	case plain(a) != plain(b):
		return string(gatewayv1.ListenerReasonProtocolConflict)
	case a.host == b.host:
		return string(gatewayv1.ListenerReasonHostnameConflict)
	}
	return ""
}

// allows reports whether a listener of a Gateway in namespace lets a route attach.
func (l *listener) allows(r *route, namespace string, v View) bool {
	if !slices.ContainsFunc(l.kinds, func(k gatewayv1.RouteGroupKind) bool { return Name(k.Kind) == r.kind }) {
		return false
	}
	from := gatewayv1.NamespacesFromSame
	var selector *metav1.LabelSelector
	if a := l.AllowedRoutes; a != nil && a.Namespaces != nil {
		selector = a.Namespaces.Selector
		if a.Namespaces.From != nil {
			from = *a.Namespaces.From
		}
	}
	switch from {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSame:
		return r.GetNamespace() == namespace
	case gatewayv1.NamespacesFromSelector:
		s, err := metav1.LabelSelectorAsSelector(selector)
		return err == nil && s.Matches(namespaceLabels(v, r.GetNamespace()))
	}
	return false
}

// namespaceLabels are those of a namespace; of one that nobody tells of, as in files, the one that all have.
func namespaceLabels(v View, name string) labels.Set {
	if ns := get[*corev1.Namespace](v, Namespace, "", name); ns != nil {
		return ns.Labels
	}
	return labels.Set{corev1.LabelMetadataName: name}
}

// granted reports whether a ReferenceGrant lets objects of a kind of Gateway API in namespace from refer to a core
// object by its kind, namespace and name.
func granted(v View, kind Name, from, toKind, to, name string) bool {
	return slices.ContainsFunc(find[*gatewayv1beta1.ReferenceGrant](v, GrantsByNamespace, to), func(g *gatewayv1beta1.ReferenceGrant) bool {
		return slices.ContainsFunc(g.Spec.From, func(f gatewayv1beta1.ReferenceGrantFrom) bool {
			return f.Group == gatewayv1.GroupName && Name(f.Kind) == kind && string(f.Namespace) == from
		}) && slices.ContainsFunc(g.Spec.To, func(t gatewayv1beta1.ReferenceGrantTo) bool {
			return t.Group == corev1.GroupName && string(t.Kind) == toKind && (t.Name == nil || *t.Name == "" || string(*t.Name) == name)
		})
	})
}

// problems is a verdict as a problem at a place.
func (v verdict) problems(at string) []model.Problem {
	if v.ok() {
		return nil
	}
	return []model.Problem{{Reason: v.reason, Message: v.message, Path: at}}
}
