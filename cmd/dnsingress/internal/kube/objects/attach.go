// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// parent is a Gateway that a route names, and what they have in common.
type parent struct {
	ref       gatewayv1.ParentReference
	path      string // where in the route
	gateway   *gatewayv1.Gateway
	attached  []*listener // that let the route attach
	listeners []*listener // of these, those that are usable
	hosts     []string    // to publish there; in lower case, fully qualified
	accepted  verdict
}

// routeHosts are the host names that a route asks for; "" stands for those of listeners.
func (s *Settings) routeHosts(r *route) (names []string, problems []model.Problem) {
	annotations := r.GetAnnotations()
	var defined []string
	for _, h := range r.hostnames {
		defined = append(defined, string(h))
	}
	defined, problems = checkedHosts(defined, "spec.hostnames[%d]")
	if len(r.hostnames) == 0 {
		defined = []string{""}
	}
	var annotated []string
	if key, _ := s.Prefixes.hostname(annotations, "hostname"); key != "" {
		var more []model.Problem
		annotated, more = s.Prefixes.Hosts(annotations)
		problems = append(problems, more...)
	}
	return s.Prefixes.chosen(annotations, "gateway-hostname-source", defined, annotated, &problems), problems
}

// chosen are the host names that an object's hostname-source annotation wants of those that its spec defines and those
// that its annotation gives.
func (p Prefixes) chosen(annotations map[string]string, name string, defined, annotated []string, problems *[]model.Problem) []string {
	key, source := p.hostname(annotations, name)
	switch strings.ToLower(source) {
	case "defined-hosts-only":
		return defined
	case "annotation-only":
		return annotated
	}
	if key != "" {
		*problems = append(*problems, model.Problem{Reason: "InvalidAnnotation", Path: annotationPath(key), Message: fmt.Sprintf(
			"annotation %s: %q is unknown; all host names count (hint: defined-hosts-only or annotation-only)", key, source)})
	}
	return appendNew(slices.Clone(defined), annotated...)
}

// attachAll finds the Gateways that a route asking for names is to be published at: ours by what they allow, others by
// what their controllers say of the route.
func (s *Settings) attachAll(r *route, names []string, v View) (ours, others []*parent) {
	for i, ref := range r.parents {
		if p := s.attach(r, ref, names, v); p != nil && s.ourGateway(v, p.gateway) {
			p.path = fmt.Sprintf("spec.parentRefs[%d]", i)
			ours = append(ours, p)
		}
	}
	for _, status := range s.parentStatuses(r) {
		named := slices.ContainsFunc(r.parents, func(ref gatewayv1.ParentReference) bool {
			return slices.Equal(parents(r.GetNamespace(), []gatewayv1.ParentReference{ref}), parents(r.GetNamespace(), []gatewayv1.ParentReference{status.ParentRef}))
		})
		if !named || !isTrue(status.Conditions, string(gatewayv1.RouteConditionAccepted)) {
			continue
		}
		if p := s.attach(r, status.ParentRef, names, v); p != nil && !s.ourGateway(v, p.gateway) {
			others = append(others, p)
		}
	}
	return ours, others
}

// parentStatuses are what controllers say of a route. A manifest seldom holds any: one that says nothing at all is read as if
// the route was accepted.
func (s *Settings) parentStatuses(r *route) []gatewayv1.RouteParentStatus {
	if !s.Files || len(r.status.Parents) > 0 {
		return r.status.Parents
	}
	var all []gatewayv1.RouteParentStatus
	for _, ref := range r.parents {
		accepted := metav1.Condition{Type: string(gatewayv1.RouteConditionAccepted), Status: metav1.ConditionTrue}
		all = append(all, gatewayv1.RouteParentStatus{ParentRef: ref, Conditions: []metav1.Condition{accepted}})
	}
	return all
}

// parentless tells of the Gateways of a route that the files do not have. In a cluster they may be yet to come.
func (s *Settings) parentless(r *route, v View) (problems []model.Problem) {
	if !s.Files {
		return nil
	}
	for i, ref := range r.parents {
		for _, key := range parents(r.GetNamespace(), []gatewayv1.ParentReference{ref}) {
			namespace, name, _ := strings.Cut(key, "/")
			if get[*gatewayv1.Gateway](v, Gateway, namespace, name) == nil {
				problems = append(problems, model.Problem{Reason: "NoGateway", Path: fmt.Sprintf("spec.parentRefs[%d]", i), Notice: true, Message: fmt.Sprintf(
					"there is no Gateway %s here, so that nothing is published for it (hint: the Gateway's manifest)", key)})
			}
		}
	}
	return problems
}

// attach finds what a route and the Gateway of one of its parentRefs have in common; nil: there is no such Gateway.
func (s *Settings) attach(r *route, ref gatewayv1.ParentReference, names []string, v View) *parent {
	keys := parents(r.GetNamespace(), []gatewayv1.ParentReference{ref})
	if len(keys) == 0 {
		return nil
	}
	namespace, name, _ := strings.Cut(keys[0], "/")
	gw := get[*gatewayv1.Gateway](v, Gateway, namespace, name)
	if gw == nil {
		return nil
	}
	p := &parent{ref: ref, gateway: gw}
	ours := s.ourGateway(v, gw)
	var named, allowed int
	var unusable []string
	for _, l := range listenersOf(gw, v) {
		if ref.SectionName != nil && *ref.SectionName != l.Name || ref.Port != nil && *ref.Port != l.Port {
			continue
		}
		named++
		if !l.allows(r, gw.Namespace, v) {
			continue
		}
		allowed++
		var hosts []string
		attached := false
		for _, n := range names {
			host, ok := intersect(l.host, n)
			attached = attached || ok
			if ok && host != "" {
				hosts = appendNew(hosts, host)
			}
		}
		if !attached {
			continue
		}
		p.attached = append(p.attached, l)
		switch {
		case ours && !l.usable():
			unusable = append(unusable, fmt.Sprintf("listener %s is not usable: %s", l.Name, l.why()))
		case !ours && s.policyOn(gw, l.Name, v) != nil:
			p.listeners = append(p.listeners, l) // its host name is the DNSPolicy's to publish
		default:
			p.listeners = append(p.listeners, l)
			p.hosts = appendNew(p.hosts, hosts...)
		}
	}
	at := fmt.Sprintf("Gateway %s", keys[0])
	switch {
	case named == 0:
		p.accepted = verdict{string(gatewayv1.RouteReasonNoMatchingParent), at + " has no listener of that sectionName and port"}
	case allowed == 0:
		p.accepted = verdict{string(gatewayv1.RouteReasonNotAllowedByListeners), fmt.Sprintf("no such listener of %s lets a %s of namespace %s attach (hint: spec.listeners[].allowedRoutes and protocol)", at, r.kind, r.GetNamespace())}
	case len(p.attached) == 0:
		p.accepted = verdict{string(gatewayv1.RouteReasonNoMatchingListenerHostname), fmt.Sprintf("no such listener of %s has a host name in common with the route", at)}
	case len(p.listeners) == 0:
		p.accepted = verdict{string(gatewayv1.RouteReasonNoMatchingParent), fmt.Sprintf("of %s, %s", at, strings.Join(unusable, "; "))}
	}
	if g := gatewayVerdict(gw); ours && p.accepted.ok() && !g.ok() {
		p.accepted = verdict{string(gatewayv1.RouteReasonNoMatchingParent), fmt.Sprintf("%s is not accepted: %s: %s", at, g.reason, g.message)}
	}
	return p
}

// equalRefs reports whether two references to parents are the same.
func equalRefs(a, b gatewayv1.ParentReference) bool {
	return a.Name == b.Name && equal(a.Group, b.Group) && equal(a.Kind, b.Kind) && equal(a.Namespace, b.Namespace) &&
		equal(a.SectionName, b.SectionName) && equal(a.Port, b.Port)
}

// equal compares what may be absent.
func equal[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }
