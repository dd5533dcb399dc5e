// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// backendRef is where a rule sends requests.
type backendRef struct {
	gatewayv1.BackendObjectReference
	portName string // in place of the port's number
	weight   uint32
	path     string // where in the object
}

// target names what is referred to, comparable between references of one object.
func (b backendRef) target() string {
	return fmt.Sprintf("%s %s/%s:%d%s", b.Name, orZero(b.Namespace), orZero(b.Kind), orZero(b.Port), b.portName)
}

// backend is a Service that requests go to, with its endpoints.
type backend struct {
	name   string
	port   corev1.ServicePort
	weight uint32
	endpoints
}

// backends are those of an object, as far as they were found.
type backends struct {
	found     []backend
	resolved  verdict
	problems  []model.Problem
	triggered time.Time
}

// resolveBackends finds the Services that an object of a kind in namespace refers to. A share of the requests that
// cannot be resolved goes to the others.
func resolveBackends(kind Name, namespace string, refs []backendRef, v View) *backends {
	b := &backends{}
	for _, ref := range refs {
		svc, port, why := ref.resolve(kind, namespace, v)
		if !why.ok() {
			if b.resolved.ok() {
				b.resolved = why
			} else {
				b.resolved.message = clip(b.resolved.message + "; " + why.message)
			}
			b.problems = append(b.problems, why.problems(ref.path)...)
			continue
		}
		if ref.weight == 0 {
			continue
		}
		of := Key(svc.Namespace, svc.Name)
		if i := slices.IndexFunc(b.found, func(o backend) bool { return o.name == of && o.port.Port == port.Port }); i >= 0 {
			b.found[i].weight += ref.weight
			continue
		}
		found := backend{name: of, port: port, weight: ref.weight, endpoints: endpointsOf(v, svc, port.Port)}
		b.problems = append(b.problems, slices.DeleteFunc(found.Problems, func(p model.Problem) bool { return p.Reason == "PortTranslated" })...)
		if found.Triggered.After(b.triggered) {
			b.triggered = found.Triggered
		}
		b.found = append(b.found, found)
	}
	return b
}

// resolve finds the Service and its port; nil and why not, where it cannot.
func (b backendRef) resolve(kind Name, from string, v View) (*corev1.Service, corev1.ServicePort, verdict) {
	namespace := from
	if b.Namespace != nil {
		namespace = string(*b.Namespace)
	}
	fail := func(reason gatewayv1.RouteConditionReason, format string, args ...any) (*corev1.Service, corev1.ServicePort, verdict) {
		return nil, corev1.ServicePort{}, verdict{string(reason), b.path + ": " + fmt.Sprintf(format, args...)}
	}
	if b.Group != nil && *b.Group != corev1.GroupName || b.Kind != nil && *b.Kind != gatewayv1.Kind(Service) {
		return fail(gatewayv1.RouteReasonInvalidKind, "%s is no Service (hint: only Services have endpoints to publish)", strings.TrimPrefix(string(orZero(b.Group))+"/"+string(orZero(b.Kind)), "/"))
	}
	if namespace != from && !granted(v, kind, from, "Service", namespace, string(b.Name)) {
		return fail(gatewayv1.RouteReasonRefNotPermitted, "no ReferenceGrant in namespace %s lets a %s of namespace %s refer to Service %s", namespace, kind, from, b.Name)
	}
	svc := get[*corev1.Service](v, Service, namespace, string(b.Name))
	switch {
	case svc == nil:
		return fail(gatewayv1.RouteReasonBackendNotFound, "there is no Service %s/%s", namespace, b.Name)
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return fail(gatewayv1.RouteReasonInvalidKind, "Service %s/%s of type ExternalName has no endpoints", namespace, b.Name)
	case b.Port == nil && b.portName == "":
		return fail(gatewayv1.RouteReasonBackendNotFound, "the port of Service %s/%s is missing", namespace, b.Name)
	}
	for _, p := range svc.Spec.Ports {
		if b.Port != nil && p.Port == *b.Port || b.portName != "" && p.Name == b.portName {
			return svc, p, verdict{}
		}
	}
	port := b.portName
	if b.Port != nil {
		port = fmt.Sprint(*b.Port)
	}
	return fail(gatewayv1.RouteReasonBackendNotFound, "Service %s/%s has no port %s (hint: the Service's port, not the pods')", namespace, b.Name, port)
}

// fill gives a pool the endpoints of all backends, each backend's as a group of its weight. An address that two of
// them have is the first one's.
func (b *backends) fill(pool *model.Pool) {
	seen := map[netip.Addr]bool{}
	for i, found := range b.found {
		if len(b.found) > 1 {
			pool.Groups = append(pool.Groups, model.Group{Name: fmt.Sprintf("%s:%d", found.name, found.port.Port), Weight: found.weight})
		}
		at := make([]int, len(found.Ports)) // where the backend's ports are among the pool's
		for j, p := range found.Ports {
			at[j] = slices.IndexFunc(pool.Ports, func(o model.Port) bool {
				return o.Name == p.Name && o.Protocol == p.Protocol && o.Scheme == p.Scheme && slices.Equal(o.ALPN, p.ALPN)
			})
			if at[j] < 0 {
				at[j], pool.Ports = len(pool.Ports), append(pool.Ports, p)
			}
		}
		for _, m := range found.Members {
			if seen[m.Address] {
				continue
			}
			seen[m.Address] = true
			ports := make([]uint16, len(pool.Ports))
			for j, n := range m.Ports {
				ports[at[j]] = n
			}
			m.Ports = ports
			if len(b.found) > 1 {
				m.Group = i
			}
			pool.Members = append(pool.Members, m)
		}
	}
	for i := range pool.Members {
		if m := &pool.Members[i]; len(m.Ports) < len(pool.Ports) {
			m.Ports = append(m.Ports, make([]uint16, len(pool.Ports)-len(m.Ports))...)
		}
	}
	slices.SortFunc(pool.Members, func(a, b model.Member) int { return a.Address.Compare(b.Address) })
}

// portsDiffer says where clients are sent past a translation of ports: wanted are those that they take without
// knowing more, by what says so.
func (b *backends) portsDiffer(wanted map[uint16]string) verdict {
	var own []uint16
	var said []string
	differ := false
	for _, f := range b.found {
		numbers := f.numbers()
		for _, n := range numbers {
			if int32(n) != f.port.Port || wanted[n] == "" {
				differ = true
			}
			own = appendNew(own, n)
		}
		if len(numbers) > 0 {
			said = appendNew(said, fmt.Sprintf("Service %s says %d", f.name, f.port.Port))
		}
	}
	if !differ {
		return verdict{}
	}
	slices.Sort(own)
	var ports []uint16
	for p := range wanted {
		ports = append(ports, p)
	}
	slices.Sort(ports)
	for _, p := range ports {
		said = append(said, fmt.Sprintf("%s says %d", wanted[p], p))
	}
	return verdict{"PortTranslated", fmt.Sprintf("pods listen on port %s, to which clients go themselves, where %s: only SRV, SVCB and HTTPS records tell them so (hint: let the pods listen on the port that clients take, or name the Service's port for SRV)",
		strings.Trim(strings.ReplaceAll(fmt.Sprint(own), " ", ", "), "[]"), strings.Join(said, ", "))}
}

// numbers are the ports that a backend's endpoints have; where there are none yet, the one that they will have.
func (b backend) numbers() []uint16 {
	var all []uint16
	for _, m := range b.Members {
		for _, n := range m.Ports {
			if n != 0 {
				all = appendNew(all, n)
			}
		}
	}
	if n := b.port.TargetPort.IntVal; len(b.Members) == 0 && n > 0 && n <= 65535 {
		all = []uint16{uint16(n)}
	}
	return all
}
