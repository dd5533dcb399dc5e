// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// classAnnotation named the class of an Ingress before there was a field for it.
const classAnnotation = "kubernetes.io/ingress.class"

// proxied are beginnings of other controllers' annotations that change where requests go, or what they are. Without a
// proxy nobody does that.
var proxied = [...]string{
	"affinity", "app-root", "auth-", "canary", "configuration-snippet", "custom-headers", "denylist-", "enable-cors", "force-ssl-redirect",
	"from-to-www-redirect", "limit-", "mirror-", "permanent-redirect", "rewrite-target", "router.middlewares", "server-snippet", "session-cookie-",
	"temporal-redirect", "upstream-vhost", "use-regex", "whitelist-", "x-forwarded-prefix",
}

// translateIngress publishes the pods of an Ingress of a class of ours, a part a host, or the addresses in the status of
// another's.
func translateIngress(o *networkingv1.Ingress, v View, s *Settings) Result {
	if s.Prefixes.foreign(o.Annotations) {
		return Result{}
	}
	class := cmp.Or(orZero(o.Spec.IngressClassName), o.Annotations[classAnnotation])
	if class != "" && s.ourIngress(v, class) {
		return s.publishIngress(o, v)
	}
	return s.leadIngress(o, class, v)
}

// leadIngress publishes what external-dns does: the addresses in an Ingress's status, or those of its annotation target,
// under the hosts of its rules and of its certificates.
func (s *Settings) leadIngress(o *networkingv1.Ingress, class string, v View) Result {
	var names []string
	for _, r := range o.Spec.Rules {
		names = append(names, r.Host)
	}
	for _, t := range o.Spec.TLS {
		names = append(names, t.Hosts...)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	result := Result{}
	hosts := s.ingressHosts(o, names, "spec", &result)
	key, values := s.Prefixes.targets(o.Annotations)
	at := annotationPath(key)
	if key == "" {
		at = "status.loadBalancer"
		for _, b := range o.Status.LoadBalancer.Ingress {
			values = append(values, b.IP, b.Hostname)
		}
	}
	pool := model.Pool{Ref: Ref(o, Ingress, ""), Created: o.CreationTimestamp.Time}
	pool.TTL, pool.Problems = s.Prefixes.ttl(o.Annotations)
	_, set := s.Prefixes.hostname(o.Annotations, "set-identifier")
	sets, problems := s.targets(hosts, values, pool.TTL, set, at, v)
	pool.Records, pool.Problems = sets, append(pool.Problems, problems...)
	switch {
	case len(sets) > 0 || len(hosts) == 0:
	case class != "" && s.Files:
		result.Problems = append(result.Problems, model.Problem{Reason: "NoAddress", Notice: true, Path: "status.loadBalancer", Message: fmt.Sprintf(
			"there is no address in the status of the Ingress, which is of class %s (hint: its manifest with status.loadBalancer, or the annotation target)", class)})
	case class == "":
		result.Problems = append(result.Problems, model.Problem{Reason: "NoAddress", Notice: true, Path: "status.loadBalancer", Message: fmt.Sprintf(
			"no controller has given the Ingress an address yet, and it is of no class (hint: ingressClassName: %s publishes the pods of its backends)", className)})
	}
	if len(sets)+len(pool.Problems) > 0 {
		result.Pools = []model.Pool{pool}
	}
	return result
}

// ingressHosts are the host names of an Ingress: those that its spec defines and those of its annotation, as its
// annotation ingress-hostname-source has it.
func (s *Settings) ingressHosts(o *networkingv1.Ingress, names []string, at string, result *Result) []string {
	defined, problems := checkedHosts(names, "")
	for i := range problems {
		problems[i].Path = at
	}
	result.Problems = append(result.Problems, problems...)
	var annotated []string
	if key, _ := s.Prefixes.hostname(o.Annotations, "hostname"); key != "" {
		annotated, problems = s.Prefixes.Hosts(o.Annotations)
		result.Problems = append(result.Problems, problems...)
	}
	return s.Prefixes.chosen(o.Annotations, "ingress-hostname-source", defined, annotated, &result.Problems)
}

// publishIngress publishes the pods of an Ingress's backends, if a DNS answer does what all of its rules say.
func (s *Settings) publishIngress(o *networkingv1.Ingress, v View) (result Result) {
	result.Problems = beyondIngress(o)
	byHost := map[string]backendRef{}
	var names []string
	for i, r := range o.Spec.Rules {
		at := fmt.Sprintf("spec.rules[%d]", i)
		host := canonicalHost(r.Host)
		if r.Host != "" {
			names = append(names, r.Host)
		}
		for _, ref := range ingressBackends(o, r, at, &result) {
			if had, ok := byHost[host]; ok && had.target() != ref.target() {
				result.Problems = append(result.Problems, unsupported(ref.path, "rule %s: another backend than %s for host %q: DNS has one backend set a host name", at, had.path, r.Host))
				continue
			} else if !ok {
				byHost[host] = ref
			}
		}
	}
	if slices.ContainsFunc(result.Problems, func(p model.Problem) bool { return p.Reason == reasonUnsupported }) {
		return result
	}
	hosts := s.ingressHosts(o, names, "spec.rules", &result)
	if len(hosts) == 0 && len(result.Problems) == 0 {
		result.Problems = append(result.Problems, model.Problem{Reason: "NoHostname", Path: "spec.rules", Message: "no rule has a host, so there is nothing to publish (hint: spec.rules[].host)"})
	}
	for _, host := range hosts {
		ref, ok := byHost[host]
		if !ok {
			if ref, ok = byHost[""]; !ok && o.Spec.DefaultBackend != nil {
				ref, ok = ingressBackend(o.Spec.DefaultBackend, "spec.defaultBackend"), true
			}
		}
		pool := model.Pool{Ref: Ref(o, Ingress, strings.TrimSuffix(host, ".")), Created: o.CreationTimestamp.Time, Hosts: []string{host}}
		if !ok {
			pool.Problems = append(pool.Problems, model.Problem{Reason: string(gatewayv1.RouteReasonBackendNotFound), Path: "spec.rules", Message: fmt.Sprintf("no rule and no default backend is for host %s", host)})
		} else {
			s.fillIngress(o, &pool, host, ref, v, &result)
		}
		s.configure(&pool, o.Annotations)
		result.Pools = append(result.Pools, pool)
	}
	return result
}

// fillIngress gives the pool of a host the endpoints of its backend.
func (s *Settings) fillIngress(o *networkingv1.Ingress, pool *model.Pool, host string, ref backendRef, v View, result *Result) {
	found := resolveBackends(Ingress, o.Namespace, []backendRef{ref}, v)
	pool.Problems = append(pool.Problems, found.problems...)
	wanted := map[uint16]string{80: "HTTP"}
	for _, t := range o.Spec.TLS {
		if slices.ContainsFunc(t.Hosts, func(h string) bool { return canonicalHost(h) == host }) {
			wanted[443] = "HTTPS"
		}
	}
	found.fill(pool)
	if differ := found.portsDiffer(wanted); !differ.ok() {
		pool.Problems = append(pool.Problems, model.Problem{Reason: differ.reason, Message: differ.message, Path: ref.path, Notice: true})
	}
	if found.triggered.After(result.Triggered) {
		result.Triggered = found.triggered
	}
}

// reasonUnsupported is that of rules which would need a proxy.
const reasonUnsupported = string(gatewayv1.RouteReasonUnsupportedValue)

// unsupported is the problem of a rule that would need a proxy.
func unsupported(at, format string, args ...any) model.Problem {
	return model.Problem{Reason: reasonUnsupported, Path: at, Message: fmt.Sprintf(format, args...) +
		"; nothing is published for this object (hint: a host name of its own, or a controller with a proxy)"}
}

// beyondIngress finds annotations of other controllers that want what would need a proxy. Of the rest it is only told.
func beyondIngress(o *networkingv1.Ingress) (problems []model.Problem) {
	var ignored []string
	for key := range o.Annotations {
		domain, name, _ := strings.Cut(key, "/")
		if !strings.HasSuffix(domain, ".ingress.kubernetes.io") && domain != "ingress.kubernetes.io" {
			continue
		}
		if slices.ContainsFunc(proxied[:], func(p string) bool { return strings.HasPrefix(name, p) }) && o.Annotations[key] != "false" {
			problems = append(problems, unsupported(annotationPath(key), "annotation %s would need a proxy", key))
		} else {
			ignored = append(ignored, key)
		}
	}
	slices.SortFunc(problems, func(a, b model.Problem) int { return strings.Compare(a.Path, b.Path) })
	if len(ignored) > 0 {
		slices.Sort(ignored)
		problems = append(problems, model.Problem{Reason: "IgnoredAnnotation", Notice: true, Path: annotationPath(ignored[0]), Message: fmt.Sprintf(
			"annotations of other controllers count for nothing: %s", strings.Join(ignored, ", "))})
	}
	return problems
}

// ingressBackends are where the paths of a rule lead; what would need a proxy is told of.
func ingressBackends(o *networkingv1.Ingress, r networkingv1.IngressRule, at string, result *Result) (refs []backendRef) {
	if r.HTTP == nil {
		if o.Spec.DefaultBackend != nil {
			refs = append(refs, ingressBackend(o.Spec.DefaultBackend, "spec.defaultBackend"))
		}
		return refs
	}
	for i, p := range r.HTTP.Paths {
		at := fmt.Sprintf("%s.http.paths[%d]", at, i)
		kind := networkingv1.PathTypePrefix
		if p.PathType != nil {
			kind = *p.PathType
		}
		if kind == networkingv1.PathTypeExact || p.Path != "/" && p.Path != "" {
			result.Problems = append(result.Problems, unsupported(at+".path", "rule %s, host %q: a match on path %s %s would need a proxy: a DNS answer is the same for every path", at, r.Host, kind, p.Path))
			continue
		}
		refs = append(refs, ingressBackend(&p.Backend, at+".backend"))
	}
	return refs
}

// ingressBackend reads where requests go as a route would have it.
func ingressBackend(b *networkingv1.IngressBackend, at string) backendRef {
	ref := backendRef{weight: 1, path: at}
	switch {
	case b.Service != nil:
		ref.Name, ref.portName = gatewayv1.ObjectName(b.Service.Name), b.Service.Port.Name
		if n := b.Service.Port.Number; n != 0 {
			ref.Port = &n
		}
	case b.Resource != nil:
		group, kind := gatewayv1.Group(orZero(b.Resource.APIGroup)), gatewayv1.Kind(b.Resource.Kind)
		ref.Group, ref.Kind, ref.Name = &group, &kind, gatewayv1.ObjectName(b.Resource.Name)
	}
	return ref
}
