// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// route is what HTTPRoutes, GRPCRoutes and TLSRoutes have in common.
type route struct {
	client.Object
	kind      Name
	parents   []gatewayv1.ParentReference
	hostnames []gatewayv1.Hostname
	rules     []rule
	status    *gatewayv1.RouteStatus
}

// rule is one rule of a route: where its requests go, and what a DNS answer cannot do of it.
type rule struct {
	path     string // where in the route
	name     string
	backends []backendRef
	beyond   []beyond
}

// beyond is something that would need a proxy.
type beyond struct{ path, what string }

// title names a rule for people.
func (r rule) title() string {
	if r.name == "" {
		return r.path
	}
	return fmt.Sprintf("%s (%q)", r.path, r.name)
}

// routeOutcome is what became of a route.
type routeOutcome struct {
	controller gatewayv1.GatewayController // ours
	parents    []parentOutcome
	problems   []model.Problem // known from the translation
}

// parentOutcome is what became of a route at a Gateway of ours.
type parentOutcome struct {
	ref      gatewayv1.ParentReference
	accepted verdict
	resolved verdict
	ports    verdict
	hosts    verdict
	names    []string
}

// honoured says whether a DNS answer does what the rules say: every request of a host goes to one backend set.
func (r *route) honoured() (verdict, []model.Problem) {
	var problems []model.Problem
	for i, rule := range r.rules {
		for _, b := range rule.beyond {
			problems = append(problems, unsupported(b.path, "rule %s: %s would need a proxy: a DNS answer is the same for every request of a host", rule.title(), b.what))
		}
		if i > 0 && len(rule.beyond) == 0 && !slices.Equal(backendsOf(rule), backendsOf(r.rules[0])) {
			problems = append(problems, unsupported(rule.path, "rule %s: other backends than rule %s has: DNS has one backend set a host name", rule.title(), r.rules[0].title()))
		}
	}
	if len(problems) == 0 {
		return verdict{}, nil
	}
	return verdict{reasonUnsupported, messages(problems)}, problems
}

// backendsOf are the backends of a rule, comparable between rules.
func backendsOf(r rule) []string {
	var out []string
	for _, b := range r.backends {
		out = append(out, fmt.Sprintf("%s %d", b.target(), b.weight))
	}
	slices.Sort(out)
	return out
}

// messages joins what problems say.
func messages(problems []model.Problem) string {
	var out []string
	for _, p := range problems {
		out = appendNew(out, p.Message)
	}
	return clip(strings.Join(out, "; "))
}

// translateRoute publishes the pods of a route's backends under the names that Gateways of ours give it, and the
// addresses of other Gateways under those that they do.
func translateRoute(r *route, v View, s *Settings) Result {
	outcome := &routeOutcome{controller: gatewayv1.GatewayController(s.controller())}
	result := Result{Outcome: outcome}
	if s.Prefixes.foreign(r.GetAnnotations()) {
		return result
	}
	var names []string
	names, result.Problems = s.routeHosts(r)
	ours, others := s.attachAll(r, names, v)
	result.Problems = append(result.Problems, s.parentless(r, v)...)
	if len(ours) > 0 {
		s.publishRoute(r, ours, v, &result, outcome)
	}
	if pool, ok := s.statusPool(r, others, result.hosts(), v); ok {
		result.Pools = append(result.Pools, pool)
	}
	return result
}

// hosts are those of all pools.
func (r *Result) hosts() []string {
	var out []string
	for _, p := range r.Pools {
		out = append(out, p.Hosts...)
	}
	return out
}

// publishRoute adds the pool of a route at Gateways of ours, if there is any, and the outcome at each.
func (s *Settings) publishRoute(r *route, parents []*parent, v View, result *Result, outcome *routeOutcome) {
	honoured, problems := r.honoured()
	var refs []backendRef
	for i, rule := range r.rules {
		if i == 0 || !slices.Equal(backendsOf(rule), backendsOf(r.rules[0])) {
			refs = append(refs, rule.backends...)
		}
	}
	found := resolveBackends(r.kind, r.GetNamespace(), refs, v)
	result.Problems = append(append(result.Problems, problems...), found.problems...)

	pool := model.Pool{Ref: Ref(r, r.kind, ""), Created: r.GetCreationTimestamp().Time}
	var targets []model.Ref
	var listeners []*listener
	for _, p := range parents {
		o := parentOutcome{ref: p.ref, accepted: p.accepted, resolved: found.resolved}
		switch {
		case !p.accepted.ok():
			result.Problems = append(result.Problems, p.accepted.problems(p.path)...)
		case !honoured.ok():
			o.accepted = honoured
		case len(p.hosts) > 0:
			o.names = p.hosts
			pool.Hosts = appendNew(pool.Hosts, p.hosts...)
			targets = appendNew(targets, model.Ref{Kind: string(Gateway), Namespace: p.gateway.Namespace, Name: p.gateway.Name})
			listeners = append(listeners, p.listeners...)
		default:
			o.hosts = verdict{"NoHostname", fmt.Sprintf("neither the route nor a listener of Gateway %s/%s has a host name, so there is nothing to publish (hint: spec.hostnames)", p.gateway.Namespace, p.gateway.Name)}
			result.Problems = append(result.Problems, o.hosts.problems(p.path)...)
		}
		outcome.parents = append(outcome.parents, o)
	}
	if len(pool.Hosts) > 0 {
		wanted := map[uint16]string{}
		for _, l := range listeners {
			wanted[uint16(l.Port)] = "listener " + string(l.Name)
		}
		found.fill(&pool)
		if differ := found.portsDiffer(wanted); !differ.ok() {
			for i := range outcome.parents {
				outcome.parents[i].ports = differ
			}
			pool.Problems = append(pool.Problems, model.Problem{Reason: differ.reason, Message: differ.message, Path: "spec.rules", Notice: true})
		}
		s.configure(&pool, r.GetAnnotations())
		result.Pools = append(result.Pools, pool)
		result.Triggered = found.triggered
		result.Targets = map[string][]model.Ref{"": targets}
	}
	outcome.problems = append(slices.Clone(result.Problems), pool.Problems...)
}

// withParents gives o with the status that its parents of ours should have.
func withParents[T client.Object](o T, r *route, x Standing, status func(T) *gatewayv1.RouteStatus) T {
	outcome, ok := x.Outcome.(*routeOutcome)
	if !ok {
		return o
	}
	all := r.statusParents(x, outcome)
	if len(all)+len(r.status.Parents) == 0 {
		return o
	}
	out := o.DeepCopyObject().(T)
	status(out).Parents = all
	return out
}

// statusParents gives the status of a route's parents: those of other controllers as they are, ours as they should be.
func (r *route) statusParents(x Standing, outcome *routeOutcome) []gatewayv1.RouteParentStatus {
	controller := outcome.controller
	all := []gatewayv1.RouteParentStatus{} // the API wants a list
	for _, p := range r.status.Parents {
		if p.ControllerName != controller {
			all = append(all, p)
		}
	}
	for _, p := range outcome.parents {
		status := gatewayv1.RouteParentStatus{ParentRef: p.ref, ControllerName: controller}
		if i := slices.IndexFunc(r.status.Parents, func(o gatewayv1.RouteParentStatus) bool {
			return o.ControllerName == controller && equalRefs(o.ParentRef, p.ref)
		}); i >= 0 {
			status.Conditions = slices.Clone(r.status.Parents[i].Conditions)
		}
		set := func(c metav1.Condition) { x.Set(&status.Conditions, r.GetGeneration(), c) }
		set(p.accepted.condition(string(gatewayv1.RouteConditionAccepted), string(gatewayv1.RouteReasonAccepted), "the route is attached"))
		set(p.resolved.condition(string(gatewayv1.RouteConditionResolvedRefs), string(gatewayv1.RouteReasonResolvedRefs), "all backends are there"))
		if p.accepted.ok() {
			set(p.published(x, outcome.problems).condition(conditionPublished, "Published", clip("published: "+strings.Join(p.names, " "))))
			set(p.ports.condition(conditionPortsMatch, "PortsMatch", "pods listen on the listeners' ports"))
		} else {
			status.Conditions = slices.DeleteFunc(status.Conditions, func(c metav1.Condition) bool {
				return c.Type == conditionPublished || c.Type == conditionPortsMatch
			})
		}
		all = append(all, status)
	}
	return all
}

// published says why not all names are served: there are none, or it was found only then.
func (p parentOutcome) published(x Standing, known []model.Problem) verdict {
	if !p.hosts.ok() {
		return p.hosts
	}
	var late []model.Problem
	for _, problem := range x.Problems {
		if !problem.Notice && !slices.Contains(known, problem.Problem) {
			late = append(late, problem.Problem)
		}
	}
	if len(late) == 0 {
		return verdict{}
	}
	return verdict{late[0].Reason, messages(late)}
}
