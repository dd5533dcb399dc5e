// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/chain"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/kuadrant"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

// The names that chains have: today's, and those of Kuadrant's first design.
const (
	namesToday = "klb"
	namesFirst = "lb"
)

// policyReading is what became of a DNSPolicy.
type policyReading struct {
	sharers []sharer // one a base of host names
	// accepted says why the policy counts for nothing.
	accepted verdict
	problems []model.Problem
}

// policyOutcome is what its status wants to know.
type policyOutcome struct {
	accepted verdict
	hosts    int
	shared   []string // hosts that others have had first, and who
}

// translateDNSPolicy publishes the hosts of the listeners that the policy is on.
func translateDNSPolicy(o *kuadrant.DNSPolicy, v View, s *Settings) Result {
	if s.Prefixes.foreign(o.Annotations) {
		return Result{}
	}
	read := s.readDNSPolicy(o, v)
	outcome := &policyOutcome{accepted: read.accepted, hosts: len(read.sharers)}
	result := Result{Problems: append(read.problems, read.accepted.problems("spec")...), Outcome: outcome}
	for _, x := range read.sharers {
		pool, with := s.sharedPool(x.ref, x.base, v)
		switch {
		case pool == nil:
		case with != nil:
			result.Problems = append(result.Problems, pool.Problems...)
			outcome.shared = append(outcome.shared, fmt.Sprintf("%s with %s", x.base, with))
		default:
			result.Pools = append(result.Pools, *pool)
		}
	}
	return result
}

// readDNSPolicy reads a policy with its Gateway.
func (s *Settings) readDNSPolicy(o *kuadrant.DNSPolicy, v View) *policyReading {
	r := s.preparePolicy(o, v)
	if r.out.accepted.ok() && r.gateway != nil {
		r.out.sharers = r.listeners()
	}
	return r.out
}

// preparePolicy reads a policy as far as that goes without its listeners. Without a Gateway there is nothing to publish.
func (s *Settings) preparePolicy(o *kuadrant.DNSPolicy, v View) *policyReader {
	r := &policyReader{settings: s, policy: o, view: v, out: &policyReading{}}
	t, out := o.Spec.TargetRef, r.out
	if t.Group != gatewayv1.GroupName || t.Kind != string(Gateway) {
		out.accepted = verdict{"Invalid", fmt.Sprintf("spec.targetRef: %s/%s %s is no Gateway (hint: group %s, kind Gateway)", t.Group, t.Kind, t.Name, gatewayv1.GroupName)}
		return r
	}
	gw := get[*gatewayv1.Gateway](v, Gateway, o.Namespace, t.Name)
	switch {
	case gw == nil:
		out.accepted = verdict{"TargetNotFound", fmt.Sprintf("spec.targetRef: there is no Gateway %s/%s (hint: a policy is in the namespace of its Gateway)", o.Namespace, t.Name)}
		return r
	case t.SectionName != nil && !slices.ContainsFunc(gw.Spec.Listeners, func(l gatewayv1.Listener) bool { return string(l.Name) == *t.SectionName }):
		out.accepted = verdict{"TargetNotFound", fmt.Sprintf("spec.targetRef: Gateway %s/%s has no listener %s", o.Namespace, t.Name, *t.SectionName)}
		return r
	}
	if older := rivalPolicy(o, v); older != nil {
		out.accepted = verdict{"Conflicted", fmt.Sprintf("DNSPolicy %s/%s is on the same target and is older (hint: one of them with sectionName, or remove one)", older.Namespace, older.Name)}
		return r
	}
	if s.ourGateway(v, gw) {
		out.problems = append(out.problems, model.Problem{Reason: "NoEffect", Path: "spec.targetRef", Notice: true, Message: fmt.Sprintf(
			"Gateway %s/%s is of our own class: its routes' pods are published as they are, and the policy changes nothing of that (hint: a Gateway of another class)", gw.Namespace, gw.Name)})
		return r
	}
	if r.exclude() && r.balance() {
		r.gateway = gw
	}
	return r
}

// rivalPolicy gives the policy that is on the same target and came first; nil: there is none.
func rivalPolicy(o *kuadrant.DNSPolicy, v View) *kuadrant.DNSPolicy {
	var first *kuadrant.DNSPolicy
	for _, p := range find[*kuadrant.DNSPolicy](v, DNSPoliciesByGateway, Key(o.Namespace, o.Spec.TargetRef.Name)) {
		if section(p) == section(o) && (first == nil || olderPolicy(p, first)) {
			first = p
		}
	}
	if first == nil || first.Name == o.Name || !olderPolicy(first, o) {
		return nil
	}
	return first
}

func olderPolicy(a, b *kuadrant.DNSPolicy) bool {
	if d := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); d != 0 {
		return d < 0
	}
	return a.Name < b.Name
}

// section is the listener that a policy is on; empty: all that have no policy of their own.
func section(p *kuadrant.DNSPolicy) string {
	if p.Spec.TargetRef.SectionName == nil {
		return ""
	}
	return *p.Spec.TargetRef.SectionName
}

// policyOn gives the policy that a listener of a Gateway is under: its own, else the Gateway's, of several the oldest.
// One that cannot be used does not count. nil: it is under none.
func (s *Settings) policyOn(gw *gatewayv1.Gateway, listener gatewayv1.SectionName, v View) *kuadrant.DNSPolicy {
	var on *kuadrant.DNSPolicy
	for _, p := range find[*kuadrant.DNSPolicy](v, DNSPoliciesByGateway, Key(gw.Namespace, gw.Name)) {
		if s.Prefixes.foreign(p.Annotations) || section(p) != "" && section(p) != string(listener) {
			continue
		}
		if s.preparePolicy(p, v).gateway == nil {
			continue
		}
		if on == nil || section(p) != "" && section(on) == "" || section(p) == section(on) && olderPolicy(p, on) {
			on = p
		}
	}
	return on
}

// policyReader reads a policy's listeners.
type policyReader struct {
	settings *Settings
	policy   *kuadrant.DNSPolicy
	gateway  *gatewayv1.Gateway
	view     View
	out      *policyReading

	networks []netip.Prefix // that are excluded
	excluded []string       // host names, canonical
	balanced bool
	first    bool // names of the first design
	weight   uint32
	geo      string
	label    string
	stable   bool
}

// exclude reads which addresses are not published; false: they cannot be read.
func (r *policyReader) exclude() bool {
	for i, text := range r.policy.Spec.ExcludeAddresses {
		if a, err := netip.ParseAddr(text); err == nil {
			r.networks = append(r.networks, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		} else if p, err := netip.ParsePrefix(text); err == nil {
			r.networks = append(r.networks, p.Masked())
		} else if hostname(text) {
			r.excluded = append(r.excluded, dns.CanonicalName(text))
		} else {
			r.out.accepted = verdict{"Invalid", fmt.Sprintf("spec.excludeAddresses[%d]: %q is no address, network or host name (hint: 192.0.2.0/24)", i, text)}
			return false
		}
	}
	return true
}

// balance reads how clients are shared out; false: it cannot be read.
func (r *policyReader) balance() bool {
	p := r.settings.Prefixes
	names, problems := p.choice(r.policy.Annotations, "chain-names", namesToday, namesToday, namesFirst)
	r.out.problems = append(r.out.problems, problems...)
	r.stable, problems = p.stable(r.policy.Annotations)
	r.out.problems = append(r.out.problems, problems...)
	r.first = names == namesFirst
	r.geo, r.label, r.weight = geo.Anywhere, "default", 120
	lb := r.policy.Spec.LoadBalancing
	if lb == nil {
		// Then today all addresses are at the host; at first everything went to a default place.
		if r.balanced = r.first; r.first {
			r.weight = 100
		}
		return true
	}
	r.balanced = true
	if lb.Weight != nil {
		if *lb.Weight < 0 || *lb.Weight > 1<<32-1 {
			r.out.accepted = verdict{"Invalid", fmt.Sprintf("spec.loadBalancing.weight: %d is no weight (hint: 0 or more; 120 is the default)", *lb.Weight)}
			return false
		}
		r.weight = uint32(*lb.Weight)
	}
	if lb.Geo == "" && r.first {
		return true
	}
	code, err := geo.Parse(lb.Geo)
	if err != nil {
		r.out.accepted = verdict{"Invalid", fmt.Sprintf("spec.loadBalancing.geo: %v", err)}
		return false
	}
	r.geo = code
	if code != geo.Anywhere {
		r.label = geoLabel(lb.Geo, code)
	}
	return true
}

// geoLabel is what a place is called in names: as the policy writes it, where that can be a label, else its code.
func geoLabel(text, code string) string {
	if label := strings.ToLower(strings.TrimSpace(text)); hostname(label) && !strings.Contains(label, ".") {
		return label
	}
	return strings.ToLower(code)
}

// listeners gives the hosts of the listeners that the policy is on.
func (r *policyReader) listeners() (all []sharer) {
	o, gw, v := r.policy, r.gateway, r.view
	attached := map[gatewayv1.SectionName]int32{}
	for name, routes := range r.settings.attachedRoutes(gw, v) {
		attached[name] = int32(len(routes))
	}
	notice := func(i int, reason, format string, a ...any) {
		r.out.problems = append(r.out.problems, model.Problem{Reason: reason, Path: "spec.targetRef", Notice: true, Message: fmt.Sprintf(
			"listener %s of Gateway %s/%s %s", gw.Spec.Listeners[i].Name, gw.Namespace, gw.Name, fmt.Sprintf(format, a...))})
	}
	for i, l := range gw.Spec.Listeners {
		if on := r.settings.policyOn(gw, l.Name, v); on == nil || on.Name != o.Name {
			continue
		}
		host := ""
		if l.Hostname != nil {
			host = string(*l.Hostname)
		}
		switch {
		case host == "" || host == "*":
			notice(i, "NoHostname", "has no host name, so that nothing is published for it (hint: spec.listeners[].hostname)")
			continue
		case !hostname(host):
			r.out.problems = append(r.out.problems, model.Problem{Reason: record.InvalidName, Path: "spec.targetRef", Message: fmt.Sprintf(
				"listener %s of Gateway %s/%s: %q is no host name", l.Name, gw.Namespace, gw.Name, host)})
			continue
		}
		gateways := r.gateways(l.Name, attached)
		switch {
		case gateways == nil:
			notice(i, "NoRoutes", "has no routes attached, so that nothing is published for it: clients would be sent to where nothing is (hint: parentRefs of a route)")
			continue
		case !slices.ContainsFunc(gateways, func(g chain.Gateway) bool { return len(g.Addresses)+len(g.Hosts) > 0 }):
			notice(i, "NoAddresses", "has no addresses in the status of its Gateway that are not excluded (hint: the Gateway's controller gives them)")
			continue
		}
		listener := chain.Listener{
			Host: dns.CanonicalName(host), AliasTTL: chain.AliasTTL, AddressTTL: chain.AddressTTL, Gateways: gateways,
		}
		listener.Apex = r.settings.apex(listener.Host, r.view)
		ttl, problems := r.settings.Prefixes.ttl(o.Annotations)
		r.out.problems = appendNew(r.out.problems, problems...)
		if ttl != nil {
			listener.AddressTTL = *ttl
			listener.AliasTTL = max(chain.AliasTTL, *ttl)
		}
		base := chain.Base(listener.Host)
		x := sharer{
			ref: Ref(o, DNSPolicy, strings.TrimSuffix(base, ".")), created: o.CreationTimestamp.Time, annotations: o.Annotations, base: base,
			gateway: chain.GatewayCode(gw.Namespace, gw.Name), build: r.builder(listener),
		}
		if j := slices.IndexFunc(all, func(a sharer) bool { return a.base == base }); j >= 0 {
			one, other := all[j].build, x.build
			all[j].build = func(lb string) []model.RecordSet {
				sets, _ := chain.Merge(one(lb), other(lb))
				return sets
			}
			continue
		}
		all = append(all, x)
	}
	return all
}

// builder gives the records of a listener; gateway is the code of that by which names of the first design tell chains
// apart.
func (r *policyReader) builder(l chain.Listener) func(gateway string) []model.RecordSet {
	return func(gateway string) []model.RecordSet {
		l.Name = namesToday
		if r.first {
			l.Name = "lb-" + gateway
		}
		sets := l.Simple
		if r.balanced {
			sets = l.Balanced
		}
		out := sets()
		for i := range out {
			out[i].Stable = r.stable
		}
		return out
	}
}

// statusDNSPolicy says whether the policy counts and whether all that it wants is served.
func statusDNSPolicy(o *kuadrant.DNSPolicy, x Standing) *kuadrant.DNSPolicy {
	outcome, ok := x.Outcome.(*policyOutcome)
	if !ok {
		return o
	}
	out := o.DeepCopy()
	good := fmt.Sprintf("%d hosts are published", outcome.hosts)
	if len(outcome.shared) > 0 {
		good += "; together with others that had them first: " + strings.Join(outcome.shared, ", ")
	}
	c := publishedCondition(x, clip(good))
	x.Set(&out.Status.Conditions, o.Generation, c)
	if others(o.Status.Conditions, conditionAccepted) {
		return out // Kuadrant's own operator looks after it
	}
	out.Status.ObservedGeneration, out.Status.TotalRecords = o.Generation, int32(outcome.hosts)
	accepted := outcome.accepted.condition(conditionAccepted, "Accepted", "the policy is accepted")
	accepted.Message = clip(ourWords + accepted.Message)
	x.Set(&out.Status.Conditions, o.Generation, accepted)
	if !outcome.accepted.ok() {
		out.Status.Conditions = slices.DeleteFunc(out.Status.Conditions, func(c metav1.Condition) bool { return c.Type == conditionEnforced })
		return out
	}
	enforced := metav1.Condition{Type: conditionEnforced, Status: c.Status, Reason: "Enforced", Message: clip(ourWords + c.Message)}
	if c.Status != metav1.ConditionTrue {
		enforced.Reason = "Unknown"
	} else if o.Spec.HealthCheck != nil {
		enforced.Message += "; spec.healthCheck is not heeded"
	}
	x.Set(&out.Status.Conditions, o.Generation, enforced)
	return out
}
