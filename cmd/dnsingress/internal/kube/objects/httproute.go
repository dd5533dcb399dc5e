// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// httpRoute reads an HTTPRoute.
func httpRoute(o *gatewayv1.HTTPRoute) *route {
	r := &route{Object: o, kind: HTTPRoute, parents: o.Spec.ParentRefs, hostnames: o.Spec.Hostnames, status: &o.Status.RouteStatus}
	for i, spec := range o.Spec.Rules {
		rule := rule{path: fmt.Sprintf("spec.rules[%d]", i), name: string(orZero(spec.Name))}
		rule.beyond = httpMatches(rule.path, spec.Matches)
		for j, f := range spec.Filters {
			rule.needs(fmt.Sprintf("%s.filters[%d]", rule.path, j), "filter %s", f.Type)
		}
		if spec.Timeouts != nil {
			rule.needs(rule.path+".timeouts", "a time-out")
		}
		if spec.Retry != nil {
			rule.needs(rule.path+".retry", "retrying")
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

// httpMatches says what a rule matches on, unless one of its matches, which are alternatives, takes every request.
func httpMatches(at string, matches []gatewayv1.HTTPRouteMatch) (all []beyond) {
	for i, m := range matches {
		before := len(all)
		at := fmt.Sprintf("%s.matches[%d]", at, i)
		if p := m.Path; p != nil {
			kind, value := gatewayv1.PathMatchPathPrefix, "/"
			if p.Type != nil {
				kind = *p.Type
			}
			if p.Value != nil {
				value = *p.Value
			}
			if kind != gatewayv1.PathMatchPathPrefix || value != "/" && value != "" {
				all = append(all, beyond{at + ".path", fmt.Sprintf("a match on path %s %s", kind, value)})
			}
		}
		for j, h := range m.Headers {
			all = append(all, beyond{fmt.Sprintf("%s.headers[%d]", at, j), fmt.Sprintf("a match on header %s", h.Name)})
		}
		for j, q := range m.QueryParams {
			all = append(all, beyond{fmt.Sprintf("%s.queryParams[%d]", at, j), fmt.Sprintf("a match on query parameter %s", q.Name)})
		}
		if m.Method != nil {
			all = append(all, beyond{at + ".method", fmt.Sprintf("a match on method %s", *m.Method)})
		}
		if len(all) == before {
			return nil
		}
	}
	return all
}

// needs notes what would need a proxy.
func (r *rule) needs(at, format string, args ...any) {
	r.beyond = append(r.beyond, beyond{at, fmt.Sprintf(format, args...)})
}

// readBackend reads a backendRef. One without a weight has 1.
func readBackend(b gatewayv1.BackendRef, at string) backendRef {
	weight := uint32(1)
	if b.Weight != nil {
		weight = uint32(max(0, *b.Weight))
	}
	return backendRef{BackendObjectReference: b.BackendObjectReference, weight: weight, path: at}
}

func translateHTTPRoute(o *gatewayv1.HTTPRoute, v View, s *Settings) Result {
	return translateRoute(httpRoute(o), v, s)
}

func statusHTTPRoute(o *gatewayv1.HTTPRoute, x Standing) *gatewayv1.HTTPRoute {
	return withParents(o, httpRoute(o), x, func(o *gatewayv1.HTTPRoute) *gatewayv1.RouteStatus { return &o.Status.RouteStatus })
}
