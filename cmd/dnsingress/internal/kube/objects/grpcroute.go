// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// grpcRoute reads a GRPCRoute.
func grpcRoute(o *gatewayv1.GRPCRoute) *route {
	r := &route{Object: o, kind: GRPCRoute, parents: o.Spec.ParentRefs, hostnames: o.Spec.Hostnames, status: &o.Status.RouteStatus}
	for i, spec := range o.Spec.Rules {
		rule := rule{path: fmt.Sprintf("spec.rules[%d]", i), name: string(orZero(spec.Name))}
		rule.beyond = grpcMatches(rule.path, spec.Matches)
		for j, f := range spec.Filters {
			rule.needs(fmt.Sprintf("%s.filters[%d]", rule.path, j), "filter %s", f.Type)
		}
		if spec.SessionPersistence != nil {
			rule.needs(rule.path+".sessionPersistence", "session persistence")
		}
		for j, b := range spec.BackendRefs {
			at := fmt.Sprintf("%s.backendRefs[%d]", rule.path, j)
			rule.backends = append(rule.backends, readBackend(b.BackendRef, at))
			for k, f := range b.Filters {
				rule.needs(fmt.Sprintf("%s.filters[%d]", at, k), "filter %s", f.Type)
			}
		}
		r.rules = append(r.rules, rule)
	}
	return r
}

// grpcMatches is httpMatches for gRPC.
func grpcMatches(at string, matches []gatewayv1.GRPCRouteMatch) (all []beyond) {
	for i, m := range matches {
		before := len(all)
		at := fmt.Sprintf("%s.matches[%d]", at, i)
		if m.Method != nil && (m.Method.Service != nil || m.Method.Method != nil) {
			all = append(all, beyond{at + ".method", fmt.Sprintf("a match on method %s/%s", orZero(m.Method.Service), orZero(m.Method.Method))})
		}
		for j, h := range m.Headers {
			all = append(all, beyond{fmt.Sprintf("%s.headers[%d]", at, j), fmt.Sprintf("a match on header %s", h.Name)})
		}
		if len(all) == before {
			return nil
		}
	}
	return all
}

func translateGRPCRoute(o *gatewayv1.GRPCRoute, v View, s *Settings) Result {
	return translateRoute(grpcRoute(o), v, s)
}

func statusGRPCRoute(o *gatewayv1.GRPCRoute, x Standing) *gatewayv1.GRPCRoute {
	return withParents(o, grpcRoute(o), x, func(o *gatewayv1.GRPCRoute) *gatewayv1.RouteStatus { return &o.Status.RouteStatus })
}
