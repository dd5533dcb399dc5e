// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Limits of a document, as in the CustomResourceDefinition, and the shortest times.
const (
	maxTargets  = 64
	maxSignals  = 16
	maxChecks   = 8
	maxRules    = 16
	maxTTLRules = 8

	leastCheck = 100 * time.Millisecond
)

var (
	signalName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,62}$`)
	statusText = regexp.MustCompile(`^([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?$`)
)

// reader turns a decoded document into values and notes what is wrong with it.
type reader struct {
	*strictyaml.File
	spec *spec
}

// atMost notes a list that is too long.
func (r reader) atMost(path string, n, most int) {
	if n > most {
		r.Problem(path, "", "%d entries, and %d are allowed", n, most)
	}
}

// groups are those of the kinds that a policy may be on.
var groups = map[string]string{
	"Service": "", "Ingress": "networking.k8s.io", "Gateway": gatewayGroup, "HTTPRoute": gatewayGroup, "GRPCRoute": gatewayGroup, "TLSRoute": gatewayGroup,
}

const gatewayGroup = "gateway.networking.k8s.io"

// targets reads what the policy is on.
func (r reader) targets() (targets []Target, hostnames []string) {
	if len(r.spec.TargetRefs)+len(r.spec.Hostnames) == 0 {
		r.Problem("spec.targetRefs", "targetRefs: [{kind: Service, name: web}]", "the policy is on nothing")
	}
	r.atMost("spec.targetRefs", len(r.spec.TargetRefs), maxTargets)
	r.atMost("spec.hostnames", len(r.spec.Hostnames), maxTargets)
	for i, t := range r.spec.TargetRefs {
		at := fmt.Sprintf("spec.targetRefs[%d]", i)
		group, known := groups[t.Kind]
		target := Target{t.Kind, t.Name}
		switch {
		case !known:
			r.Problem(at+".kind", "kind: Service", "a policy is on Services, Ingresses, Gateways and routes, not on %s", strings.TrimSuffix(orNone(t.Kind)+"."+t.Group, "."))
		case t.Group != group && r.Has(at+".group"):
			r.Problem(at+".group", fmt.Sprintf("group: %q", group), "%q is not the group of %s", t.Group, t.Kind)
		case t.Name == "":
			r.Problem(at+".name", "", "a name is missing")
		case slices.Contains(targets, target):
			r.Problem(at+".name", "", "%s %s is listed twice", t.Kind, t.Name)
		}
		targets = append(targets, target)
	}
	for i, h := range r.spec.Hostnames {
		at := fmt.Sprintf("spec.hostnames[%d]", i)
		name := dns.CanonicalName(h)
		if _, ok := dns.IsDomainName(h); !ok || h == "" || strings.ContainsAny(h, " \\/") {
			r.Problem(at, "web.apps.example.org", "%q is no host name", h)
		} else if slices.Contains(hostnames, name) {
			r.Problem(at, "", "%s is listed twice", h)
		}
		hostnames = append(hostnames, name)
	}
	return targets, hostnames
}

func (r reader) signals() []model.Signal {
	r.atMost("spec.signals", len(r.spec.Signals), maxSignals)
	var signals []model.Signal
	for i, s := range r.spec.Signals {
		at := fmt.Sprintf("spec.signals[%d]", i)
		r.query(at+".query", s)
		for _, d := range []struct {
			key          string
			value, least time.Duration
		}{{"interval", s.Interval, model.LeastInterval}, {"timeout", s.Timeout, time.Millisecond}, {"staleness", s.Staleness, model.LeastInterval}} {
			if r.Has(at+"."+d.key) && d.value < d.least {
				r.Problem(at+"."+d.key, fmt.Sprintf("%v or longer", d.least), "%v is too short", d.value)
			}
		}
		if s.Staleness != 0 && s.Staleness < s.Interval {
			r.Problem(at+".staleness", "several intervals", "values would be stale after %v, before new ones are asked for after %v", s.Staleness, s.Interval)
		}
		if s.Match.Namespace != "" && s.Match.Pod == "" {
			r.Problem(at+".match.namespace", "pod: LABEL", "a label for the namespace and none for the pod")
		}
		signals = append(signals, model.Signal{
			Name: s.Name, Query: s.Query, Interval: s.Interval, Timeout: s.Timeout, Staleness: s.Staleness,
			Match: model.Match{Pod: s.Match.Pod, Namespace: s.Match.Namespace, Address: s.Match.Address},
		})
	}
	return signals
}

// names checks how signals and health checks are called.
func (r reader) names() {
	seen := map[string]bool{}
	note := func(at, name string) {
		switch {
		case name == "":
			r.Problem(at, "", "a name is missing")
		case !signalName.MatchString(name):
			r.Problem(at, "letters, digits and _, at most 63", "%q is no name for a signal", name)
		case seen[name]:
			r.Problem(at, "", "a second signal %s", name)
		}
		seen[name] = true
	}
	for i, s := range r.spec.Signals {
		note(fmt.Sprintf("spec.signals[%d].name", i), s.Name)
	}
	for i, c := range r.spec.HealthChecks {
		note(fmt.Sprintf("spec.healthChecks[%d].name", i), c.Name)
	}
}

// steer lets package steer judge its part, and makes a rule of each health check that nothing reads.
func (r reader) steer(p *model.Policy) {
	r.atMost("spec.rules", len(p.Steer.Rules), maxRules)
	r.atMost("spec.ttl.rules", len(p.Steer.TTL.Rules), maxTTLRules)
	r.atMost("spec.negativeTTL.rules", len(p.Steer.NegativeTTL.Rules), maxTTLRules)
	if !slices.ContainsFunc([]string{"rules", "healthChecks", "weight", "selection", "ttl", "negativeTTL"}, func(key string) bool { return r.Has("spec." + key) }) {
		r.Problem("spec", "rules: [{signal: load, keep: \"< 8\"}]", "the policy steers nothing")
	}
	var names []string
	for _, s := range p.Signals {
		names = append(names, s.Name)
	}
	for _, c := range p.Checks {
		names = append(names, c.Name)
	}
	problems := p.Steer.Check(names)
	// A rule of which something could not be read is not what it was meant to be.
	problems = slices.DeleteFunc(problems, func(one steer.Problem) bool { return r.Wrong("spec." + one.Path) })
	for _, problem := range problems {
		r.Problem("spec."+problem.Path, problem.Hint, "%s", problem.Text)
	}
	used := p.Steer.Signals()
	// What could not be read may have been of a signal.
	readable := !slices.ContainsFunc([]string{"spec.rules", "spec.weight", "spec.ttl", "spec.negativeTTL"}, r.Wrong)
	for i, s := range p.Signals {
		if readable && s.Name != "" && !slices.Contains(used, s.Name) {
			r.Problem(fmt.Sprintf("spec.signals[%d].name", i), "a rule, the weight or the TTL should", "nothing reads the signal %s", s.Name)
		}
	}
	for _, c := range p.Checks {
		if !slices.Contains(used, c.Name) {
			keep, _ := steer.ParseBound("> 0") // it is in order
			p.Steer.Rules = append(p.Steer.Rules, steer.Rule{Name: c.Name, Signal: c.Name, Keep: keep})
		}
	}
}

func (r reader) healthChecks() []model.HealthCheck {
	r.atMost("spec.healthChecks", len(r.spec.HealthChecks), maxChecks)
	var checks []model.HealthCheck
	for i := range r.spec.HealthChecks {
		checks = append(checks, r.healthCheck(fmt.Sprintf("spec.healthChecks[%d]", i), &r.spec.HealthChecks[i]))
	}
	return checks
}

func (r reader) healthCheck(at string, c *healthCheck) model.HealthCheck {
	web := c.Protocol == model.HTTP || c.Protocol == model.HTTPS
	if !slices.Contains([]model.Protocol{model.TCP, model.HTTP, model.HTTPS, model.GRPC, model.ICMP}, c.Protocol) {
		r.Problem(at+".protocol", "tcp, http, https, grpc or icmp", "unknown protocol %q", c.Protocol)
	} else {
		for _, k := range []struct {
			key  string
			fits bool
		}{
			{"port", c.Protocol != model.ICMP},
			{"path", web},
			{"host", web},
			{"status", web},
			{"service", c.Protocol == model.GRPC},
			{"tlsName", c.Protocol == model.HTTPS},
		} {
			if r.Has(at+"."+k.key) && !k.fits {
				r.Problem(at+"."+k.key, "", "%s has no %s", c.Protocol, k.key)
			}
		}
		if c.Protocol != model.ICMP && (c.Port < 1 || c.Port > 65535) {
			r.Problem(at+".port", "1 to 65535", "%d is no port", c.Port)
		}
	}
	status := [2]int{200, 399}
	if m := statusText.FindStringSubmatch(c.Status); m != nil {
		status[0], _ = strconv.Atoi(m[1])
		status[1] = status[0]
		if m[2] != "" {
			status[1], _ = strconv.Atoi(m[2])
		}
	}
	if r.Has(at+".status") && (!statusText.MatchString(c.Status) || status[0] > status[1]) {
		r.Problem(at+".status", `"200" or 200-399`, "%q is no range of statuses", c.Status)
	}
	if c.Path != "" && !strings.HasPrefix(c.Path, "/") {
		r.Problem(at+".path", "/healthz", "path %q does not begin with a slash", c.Path)
	}
	r.orElse(at+".interval", &c.Interval, 5*time.Second)
	r.orElse(at+".unhealthyInterval", &c.UnhealthyInterval, min(time.Second, max(c.Interval, leastCheck)))
	r.orElse(at+".timeout", &c.Timeout, time.Second)
	if c.UnhealthyInterval > c.Interval && r.Has(at+".unhealthyInterval") {
		r.Problem(at+".unhealthyInterval", fmt.Sprintf("at most %v", c.Interval), "pods that may have to leave would be asked less often than the others")
	}
	r.count(at+".up", &c.Up, 2)
	r.count(at+".down", &c.Down, 3)
	if c.Path == "" && web {
		c.Path = "/"
	}
	return model.HealthCheck{
		Name: c.Name, Protocol: c.Protocol, Port: uint16(c.Port), Path: c.Path, Host: c.Host, Status: status, Service: c.Service, TLSName: c.TLSName,
		Interval: c.Interval, UnhealthyInterval: c.UnhealthyInterval, Timeout: c.Timeout, Up: c.Up, Down: c.Down,
	}
}

// orElse sets a time that is not given.
func (r reader) orElse(at string, d *time.Duration, value time.Duration) {
	switch {
	case !r.Has(at):
		*d = value
	case *d < leastCheck:
		r.Problem(at, fmt.Sprintf("%v or longer", leastCheck), "%v is too short", *d)
	}
}

// count sets a number of outcomes that is not given.
func (r reader) count(at string, n *int, value int) {
	switch {
	case !r.Has(at):
		*n = value
	case *n < 1 || *n > 100:
		r.Problem(at, "1 to 100", "%d is no number of outcomes in a row", *n)
	}
}
