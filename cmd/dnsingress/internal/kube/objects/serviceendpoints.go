// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// endpoints are what the EndpointSlices of a Service hold.
type endpoints struct {
	Ports     []model.Port
	Members   []model.Member // in the order of their addresses, which are distinct
	Triggered time.Time      // when the newest change happened in the cluster; zero: they do not say
	Problems  []model.Problem
	named     map[string][]model.Member // by the host name that a pod has of its own, as of a StatefulSet; in the order of their addresses
}

// endpointsOf reads the endpoints of a Service: those of one of its ports, as a backendRef names it, or of all (0).
func endpointsOf(v View, svc *corev1.Service, port int32) endpoints {
	var e endpoints
	wanted := svc.Spec.Ports
	if port != 0 {
		wanted = slices.DeleteFunc(slices.Clone(wanted), func(p corev1.ServicePort) bool { return p.Port != port })
		if len(wanted) == 0 {
			e.Problems = append(e.Problems, model.Problem{Reason: "PortNotFound", Message: fmt.Sprintf(
				"Service %s has no port %d (hint: the Service's port, not the pods')", Key(svc.Namespace, svc.Name), port)})
			return e
		}
	}
	// They come in an order: where two differ on an address all replicas must see the same.
	all := find[*keptSlice](v, SlicesByService, Key(svc.Namespace, svc.Name))
	ports := portsOf(wanted, all)
	for _, k := range all {
		if k.triggered.After(e.Triggered) {
			e.Triggered = k.triggered
		}
		for _, err := range k.wrong {
			e.Problems = append(e.Problems, model.Problem{Reason: "InvalidAddress", Message: fmt.Sprintf("EndpointSlice %s: %v", k.Name, err)})
		}
		if k.hosts == nil {
			continue
		}
		for i, m := range k.with(ports, svc.Spec.PublishNotReadyAddresses) {
			if h := k.hosts[i]; h != "" {
				if e.named == nil {
					e.named = map[string][]model.Member{}
				}
				e.named[h] = append(e.named[h], m)
			}
		}
	}
	e.Members = merged(all, ports, svc.Spec.PublishNotReadyAddresses)
	for _, m := range e.named {
		slices.SortFunc(m, byAddress)
	}
	e.Ports = portsTold(ports, e.Members)
	e.Problems = append(e.Problems, translatedPorts(wanted, ports, e.Members, svc.Spec.Ports)...)
	return e
}

// endpointPort is a port that endpoints have under one name. That of a Service and those of its slices have the same.
type endpointPort struct {
	name     string
	protocol corev1.Protocol
	app      string // protocol of the application; empty: unknown
}

func (p endpointPort) is(name string, protocol corev1.Protocol) bool {
	return p.name == name && p.protocol == cmp.Or(protocol, corev1.ProtocolTCP)
}

// portsOf are the ports of a Service that are wanted, in its order; of one that has none, those that its slices have.
func portsOf(wanted []corev1.ServicePort, all []*keptSlice) []endpointPort {
	var ports []endpointPort
	add := func(name string, protocol corev1.Protocol, app *string) {
		i := slices.IndexFunc(ports, func(p endpointPort) bool { return p.is(name, protocol) })
		if i < 0 {
			i, ports = len(ports), append(ports, endpointPort{name: name, protocol: cmp.Or(protocol, corev1.ProtocolTCP)})
		}
		if app != nil && ports[i].app == "" {
			ports[i].app = *app
		}
	}
	for _, p := range wanted {
		add(p.Name, p.Protocol, p.AppProtocol)
	}
	for _, slice := range all {
		for _, p := range slice.ports {
			name, protocol := orZero(p.Name), orZero(p.Protocol)
			if len(wanted) == 0 || slices.ContainsFunc(ports, func(known endpointPort) bool { return known.is(name, protocol) }) {
				add(name, protocol, p.AppProtocol)
			}
		}
	}
	return ports
}

func orZero[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

// portsTold are what DNS can tell of ports. HTTP/3 on the port that has HTTPS too is one more protocol there.
func portsTold(ports []endpointPort, members []model.Member) []model.Port {
	var out []model.Port
	for _, p := range ports {
		scheme, alpn := spoken(p.app, p.protocol)
		out = append(out, model.Port{Name: strings.ToLower(p.name), Protocol: strings.ToLower(string(p.protocol)), ALPN: alpn, Scheme: scheme})
	}
	for i := range out {
		for j := range out {
			alike := func(m model.Member) bool { return m.Ports[i] == m.Ports[j] }
			if out[i].Scheme == "https" && out[j].Scheme == "https" && out[i].Protocol == "tcp" && out[j].Protocol == "udp" &&
				!slices.ContainsFunc(members, func(m model.Member) bool { return !alike(m) }) {
				out[i].ALPN = append(slices.Clone(out[j].ALPN), out[i].ALPN...)
				out[j].Scheme, out[j].ALPN = "", nil
			}
		}
	}
	return out
}

// spoken is what an appProtocol means to RFC 9460: the scheme whose records tell of it, and what is negotiated there. What
// is spoken without TLS has no ALPN, and for HTTP no record either, because that would send clients to TLS (§9.5).
func spoken(app string, protocol corev1.Protocol) (scheme string, alpn []string) {
	switch app = strings.ToLower(app); app {
	case "https":
		if protocol == corev1.ProtocolUDP {
			return "https", []string{"h3"}
		}
		return "https", []string{"h2", "http/1.1"}
	case "wss", "kubernetes.io/wss": // RFC 9460 §9.5: found by the records of https
		return "https", []string{"http/1.1"}
	case "", "http", "http2", "h2c", "ws", "tcp", "udp", "sctp", "tls":
		return "", nil
	case "grpcs":
		return "grpcs", []string{"h2"}
	case "domain-s": // RFC 9461 §4.1: DNS over TLS
		return "dns", []string{"dot"}
	}
	if !serviceName(app) { // of one implementation, such as kubernetes.io/h2c
		return "", nil
	}
	return app, nil
}

// serviceName reports whether a name is as RFC 6335 §5.1 has it.
func serviceName(name string) bool {
	letter := false
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z':
			letter = true
		case c >= '0' && c <= '9':
		case c != '-' || i == 0 || i == len(name)-1 || name[i-1] == '-':
			return false
		}
	}
	return letter && len(name) <= 15
}

// translatedPorts tells of ports of a Service that are others at its endpoints. DNS leads to these, past the translation.
func translatedPorts(wanted []corev1.ServicePort, ports []endpointPort, members []model.Member, all []corev1.ServicePort) []model.Problem {
	var problems []model.Problem
	for _, p := range wanted {
		var numbers []uint16
		if i := slices.IndexFunc(ports, func(known endpointPort) bool { return known.is(p.Name, p.Protocol) }); i >= 0 {
			for _, m := range members {
				if n := m.Ports[i]; n != 0 && int32(n) != p.Port {
					numbers = appendNew(numbers, n)
				}
			}
		}
		if n := p.TargetPort.IntVal; len(members) == 0 && n > 0 && n <= 65535 && n != p.Port {
			numbers = []uint16{uint16(n)}
		}
		if len(numbers) == 0 {
			continue
		}
		slices.Sort(numbers)
		name := fmt.Sprint(p.Port)
		if p.Name != "" {
			name += " (" + p.Name + ")"
		}
		problems = append(problems, model.Problem{
			Reason: "PortTranslated", Notice: true,
			Path: fmt.Sprintf("spec.ports[%d]", slices.Index(all, p)),
			Message: fmt.Sprintf("port %s is %s at the pods, to which clients go past the Service: only SRV, SVCB and HTTPS records tell them so"+
				" (hint: let the pods listen on port %d, or clients use %s)", name, strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", ", "), "[]"), p.Port,
				strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", " or "), "[]")),
		})
	}
	return problems
}
