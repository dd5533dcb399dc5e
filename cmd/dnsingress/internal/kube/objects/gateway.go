// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// gatewayOutcome is what became of a Gateway of ours.
type gatewayOutcome struct {
	accepted  verdict
	listeners []listenerOutcome
}

// listenerOutcome is what became of one of its listeners.
type listenerOutcome struct {
	name       gatewayv1.SectionName
	kinds      []gatewayv1.RouteGroupKind
	attached   int32
	tls        bool
	accepted   verdict
	conflicted verdict
	resolved   verdict
}

// gatewayVerdict says whether a Gateway of ours can be used, its listeners aside.
func gatewayVerdict(gw *gatewayv1.Gateway) verdict {
	switch {
	case len(gw.Spec.Addresses) > 0:
		return verdict{string(gatewayv1.GatewayReasonUnsupportedAddress), "spec.addresses: the addresses are those of the routes' pods (hint: leave it out)"}
	case gw.Spec.Infrastructure != nil && gw.Spec.Infrastructure.ParametersRef != nil:
		return verdict{string(gatewayv1.GatewayReasonInvalidParameters), "spec.infrastructure.parametersRef: this controller has no parameters (hint: leave it out)"}
	case gw.Spec.TLS != nil && (gw.Spec.TLS.Frontend != nil || gw.Spec.TLS.Backend != nil):
		return verdict{string(gatewayv1.GatewayReasonInvalid), "spec.tls: checking or showing certificates would need a proxy; pods have their own (hint: leave it out, or use a Gateway of another class)"}
	}
	return verdict{}
}

// translateGateway publishes nothing: routes do. The outcome is the status of a Gateway of ours.
func translateGateway(gw *gatewayv1.Gateway, v View, s *Settings) Result {
	if !s.ourGateway(v, gw) {
		return Result{}
	}
	outcome := &gatewayOutcome{accepted: gatewayVerdict(gw)}
	result := Result{Outcome: outcome, Problems: outcome.accepted.problems("spec")}
	attached := s.attachedRoutes(gw, v)
	for _, l := range listenersOf(gw, v) {
		o := listenerOutcome{
			name: l.Name, kinds: l.kinds, attached: int32(len(attached[l.Name])), tls: l.TLS != nil,
			accepted: l.accepted, conflicted: l.conflicted, resolved: l.resolved,
		}
		if o.accepted.ok() && !l.conflicted.ok() {
			o.accepted = l.conflicted
		}
		if o.resolved.ok() {
			o.resolved = l.routeKinds
		}
		for _, bad := range []verdict{o.accepted, o.resolved} {
			bad.message = "listener " + string(l.Name) + ": " + bad.message
			result.Problems = append(result.Problems, bad.problems(l.path)...)
		}
		outcome.listeners = append(outcome.listeners, o)
	}
	return result
}

// attachedRoutes are by listener the routes that are attached to a Gateway, each once: what allowedRoutes, the routes'
// parentRefs and host names say counts, and nothing else (GatewayStatus.listeners.attachedRoutes).
func (s *Settings) attachedRoutes(gw *gatewayv1.Gateway, v View) map[gatewayv1.SectionName][]*route {
	out := map[gatewayv1.SectionName][]*route{}
	for _, r := range routesAt(Key(gw.Namespace, gw.Name), v) {
		if s.Prefixes.foreign(r.GetAnnotations()) {
			continue
		}
		names, _ := s.routeHosts(r)
		for _, ref := range r.parents {
			if !slices.Contains(parents(r.GetNamespace(), []gatewayv1.ParentReference{ref}), Key(gw.Namespace, gw.Name)) {
				continue
			}
			for _, l := range s.attach(r, ref, names, v).attached {
				if !slices.Contains(out[l.Name], r) {
					out[l.Name] = append(out[l.Name], r)
				}
			}
		}
	}
	return out
}

// routesAt are all routes that name a Gateway.
func routesAt(key string, v View) []*route {
	var out []*route
	for _, o := range find[*gatewayv1.HTTPRoute](v, HTTPRoutesByGateway, key) {
		out = append(out, httpRoute(o))
	}
	for _, o := range find[*gatewayv1.GRPCRoute](v, GRPCRoutesByGateway, key) {
		out = append(out, grpcRoute(o))
	}
	for _, o := range find[*gatewayv1.TLSRoute](v, TLSRoutesByGateway, key) {
		out = append(out, tlsRoute(o))
	}
	return out
}

// statusGateway sets the conditions of a Gateway of ours and of its listeners.
func statusGateway(gw *gatewayv1.Gateway, x Standing) *gatewayv1.Gateway {
	outcome, ok := x.Outcome.(*gatewayOutcome)
	if !ok {
		return gw
	}
	out := gw.DeepCopy()
	set := func(c metav1.Condition) { x.Set(&out.Status.Conditions, gw.Generation, c) }
	bad := slices.IndexFunc(outcome.listeners, func(l listenerOutcome) bool { return !l.accepted.ok() || !l.resolved.ok() })
	works := slices.ContainsFunc(outcome.listeners, func(l listenerOutcome) bool { return l.programmed(outcome.accepted).ok() })
	accepted := outcome.accepted.condition(string(gatewayv1.GatewayConditionAccepted), string(gatewayv1.GatewayReasonAccepted), "the host names of attached routes lead to the pods of their backends")
	programmed := outcome.accepted.condition(string(gatewayv1.GatewayConditionProgrammed), string(gatewayv1.GatewayReasonProgrammed), "DNS answers for the host names of attached routes")
	if outcome.accepted.ok() && bad >= 0 {
		accepted.Reason, accepted.Message = string(gatewayv1.GatewayReasonListenersNotValid), "listener "+string(outcome.listeners[bad].name)+" is not as it should be: see its conditions"
		if !works {
			accepted.Status = metav1.ConditionFalse
		}
	}
	if !works || !outcome.accepted.ok() {
		programmed.Status, programmed.Reason = metav1.ConditionFalse, string(gatewayv1.GatewayReasonInvalid)
		if outcome.accepted.ok() {
			programmed.Message = "no listener can be used"
		}
	}
	set(accepted)
	set(programmed)
	out.Status.Listeners = nil
	for _, l := range outcome.listeners {
		out.Status.Listeners = append(out.Status.Listeners, l.status(gw, outcome.accepted, x))
	}
	return out
}

// programmed says whether names of attached routes are published because of a listener.
func (l listenerOutcome) programmed(gateway verdict) verdict {
	switch {
	case !gateway.ok():
		return verdict{string(gatewayv1.ListenerReasonInvalid), "the Gateway is not accepted: " + gateway.message}
	case !l.accepted.ok():
		return verdict{string(gatewayv1.ListenerReasonInvalid), l.accepted.message}
	case !l.resolved.ok() && (l.resolved.reason != string(gatewayv1.ListenerReasonInvalidRouteKinds) || len(l.kinds) == 0):
		return verdict{string(gatewayv1.ListenerReasonInvalid), l.resolved.message}
	}
	return verdict{}
}

// status gives a listener's status.
func (l listenerOutcome) status(gw *gatewayv1.Gateway, accepted verdict, x Standing) gatewayv1.ListenerStatus {
	status := gatewayv1.ListenerStatus{Name: l.name, SupportedKinds: l.kinds, AttachedRoutes: l.attached}
	if i := slices.IndexFunc(gw.Status.Listeners, func(o gatewayv1.ListenerStatus) bool { return o.Name == l.name }); i >= 0 {
		status.Conditions = slices.Clone(gw.Status.Listeners[i].Conditions)
	}
	resolved := "there is nothing that it refers to"
	if l.tls {
		resolved = "pods have their own certificates: those that are named here are not read"
	}
	set := func(c metav1.Condition) { x.Set(&status.Conditions, gw.Generation, c) }
	set(l.accepted.condition(string(gatewayv1.ListenerConditionAccepted), string(gatewayv1.ListenerReasonAccepted), "routes can be attached"))
	set(l.programmed(accepted).condition(string(gatewayv1.ListenerConditionProgrammed), string(gatewayv1.ListenerReasonProgrammed), "DNS answers for the host names of attached routes"))
	set(l.resolved.condition(string(gatewayv1.ListenerConditionResolvedRefs), string(gatewayv1.ListenerReasonResolvedRefs), resolved))
	conflicted := metav1.Condition{
		Type: string(gatewayv1.ListenerConditionConflicted), Status: metav1.ConditionFalse,
		Reason: string(gatewayv1.ListenerReasonNoConflicts), Message: "no other listener is in its way",
	}
	if !l.conflicted.ok() {
		conflicted.Status, conflicted.Reason, conflicted.Message = metav1.ConditionTrue, l.conflicted.reason, l.conflicted.message
	}
	set(conflicted)
	return status
}
