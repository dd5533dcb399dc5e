// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// tlsRoute reads a TLSRoute.
func tlsRoute(o *gatewayv1.TLSRoute) *route {
	r := &route{Object: o, kind: TLSRoute, parents: o.Spec.ParentRefs, hostnames: o.Spec.Hostnames, status: &o.Status.RouteStatus}
	for i, spec := range o.Spec.Rules {
		rule := rule{path: fmt.Sprintf("spec.rules[%d]", i), name: string(orZero(spec.Name))}
		for j, b := range spec.BackendRefs {
			rule.backends = append(rule.backends, readBackend(b, fmt.Sprintf("%s.backendRefs[%d]", rule.path, j)))
		}
		r.rules = append(r.rules, rule)
	}
	return r
}

func translateTLSRoute(o *gatewayv1.TLSRoute, v View, s *Settings) Result {
	return translateRoute(tlsRoute(o), v, s)
}

func statusTLSRoute(o *gatewayv1.TLSRoute, x Standing) *gatewayv1.TLSRoute {
	return withParents(o, tlsRoute(o), x, func(o *gatewayv1.TLSRoute) *gatewayv1.RouteStatus { return &o.Status.RouteStatus })
}
