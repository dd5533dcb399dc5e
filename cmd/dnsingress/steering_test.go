// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/policy"
)

// steering makes a SteeringPolicy on Services that keeps pods whose load is below a limit, without a hold.
func steering(namespace, name, keep string, services ...string) *v1alpha1.SteeringPolicy {
	p := &v1alpha1.SteeringPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, s := range services {
		p.Spec.TargetRefs = append(p.Spec.TargetRefs, v1alpha1.TargetRef{Kind: "Service", Name: s})
	}
	p.Spec.Signals = []v1alpha1.Signal{{Name: "load", Query: "load", Interval: "1s"}}
	p.Spec.Rules = []v1alpha1.Rule{{Signal: "load", Keep: v1alpha1.Bound(keep)}}
	p.Spec.Guards = &v1alpha1.Guards{Votes: 1, Hold: "0s", HoldMax: "0s", MaxStep: "100%", MaxOut: "100%", MinShare: "0"}
	return p
}

// awaitConditions returns the policy when its conditions, of its newest generation, are want, as in
// "Accepted=True/Accepted Applied=False/Conflicted".
func (c *cluster) awaitConditions(t testing.TB, p *v1alpha1.SteeringPolicy, want string) *v1alpha1.SteeringPolicy {
	t.Helper()
	now := new(v1alpha1.SteeringPolicy)
	untilNil(t, func() error {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(p), now); err != nil {
			return err
		}
		var got []string
		for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionApplied} {
			if one := meta.FindStatusCondition(now.Status.Conditions, kind); one != nil && one.ObservedGeneration == now.Generation {
				got = append(got, fmt.Sprintf("%s=%s/%s", kind, one.Status, one.Reason))
			}
		}
		if now.Status.ObservedGeneration != now.Generation || strings.Join(got, " ") != want {
			return fmt.Errorf("policy %s: %v at generation %d, want %s; status %+v", p.Name, got, now.Generation, want, now.Status)
		}
		return nil
	})
	return now
}

// awaitPool returns the policy when what it says of its first target's pool is want.
func (c *cluster) awaitPool(t testing.TB, p *v1alpha1.SteeringPolicy, want string) *v1alpha1.SteeringPolicy {
	t.Helper()
	now := new(v1alpha1.SteeringPolicy)
	untilNil(t, func() error {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(p), now); err != nil {
			return err
		}
		got := "nothing"
		if len(now.Status.Targets) > 0 && now.Status.Targets[0].Pool != nil {
			x := now.Status.Targets[0].Pool
			var members []string
			for _, m := range x.Members {
				members = append(members, strings.Join([]string{m.Address, m.Pod, m.State, m.Reason, m.Rule}, " "))
			}
			got = fmt.Sprintf("%s %d/%d open=%t %ds %s %s: %s", now.Status.Targets[0].Name, x.In, x.Ready, x.FailOpen, x.TTLSeconds, x.TTLRule, x.Selection, strings.Join(members, ", "))
		}
		if got != want {
			return fmt.Errorf("policy %s says %s, want %s", p.Name, got, want)
		}
		return nil
	})
	return now
}

// columns are what the API server has kubectl show of a policy.
func (c *cluster) columns(t testing.TB, namespace, name string) string {
	t.Helper()
	h, err := rest.HTTPClientFor(c.env.Config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/apis/dnsingress.dev/v1alpha1/namespaces/%s/steeringpolicies/%s", c.url(), namespace, name), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	response, err := h.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var table metav1.Table
	if err := json.NewDecoder(response.Body).Decode(&table); err != nil || len(table.Rows) != 1 {
		t.Fatal(table, err)
	}
	return strings.Trim(fmt.Sprint(table.Rows[0].Cells), "[]")
}

// url is that of the API server.
func (c *cluster) url() string {
	host := c.env.Config.Host
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	return strings.TrimSuffix(host, "/")
}

func testSteeringPolicies(t *testing.T, c *cluster) {
	const absent = "kinds that this cluster does not have"
	ns := c.namespace(t)
	m := newMetric(t)
	m.set("web-0", "1", "web-1", "9", "api-0", "1", "api-1", "9")
	web := service(ns, "web", hostnameKey, "steered.apps.test")
	api := service(ns, "api", hostnameKey, "api.apps.test")
	c.create(t, web)
	c.create(t, slice(ns, "web", "web-1", discoveryv1.AddressTypeIPv6, "fd00:1::1", "fd00:1::2"))
	c.create(t, api)
	c.create(t, slice(ns, "api", "api-1", discoveryv1.AddressTypeIPv6, "fd00:2::1", "fd00:2::2"))

	// Without the kind, everything else works, and one line says so.
	before := c.log.count(absent)
	first := c.run(t, m.config("1m"))
	if got := first.addresses("steered.apps.test.", dns.TypeAAAA); got != "fd00:1::1 fd00:1::2" {
		t.Errorf("without the kind: %q", got)
	}
	if _, err := envtest.InstallCRDs(c.env.Config, envtest.CRDInstallOptions{Paths: []string{"../../deploy/dnsingress/crd.yaml"}}); err != nil {
		t.Fatal(err)
	}
	if n := c.log.count(absent) - before; n != 1 {
		t.Errorf("the missing kind was told of %d times", n)
	}

	// The kind that comes later is found, and two replicas do not disturb one another.
	second := c.run(t, m.config("1m"))
	older := steering(ns, "older", "< 8", "web")
	c.create(t, older)
	for _, i := range []*instance{first, second} {
		i.await(t, "steered.apps.test.", dns.TypeAAAA, "fd00:1::1")
		i.await(t, "api.apps.test.", dns.TypeAAAA, "fd00:2::1 fd00:2::2")
	}
	const ok = "Accepted=True/Accepted Applied=True/Applied"
	settled := c.awaitConditions(t, older, ok)
	if len(settled.Status.Targets) != 1 || !settled.Status.Targets[0].Applied {
		t.Errorf("targets: %+v", settled.Status.Targets)
	}
	// What was decided is there in short, those that are out first, and in the columns that kubectl shows.
	settled = c.awaitPool(t, older, "web 1/2 open=false 5s pool window: fd00:1::2 web-1 out beyond load, fd00:1::1 web-0 in within load")
	if pool := settled.Status.Targets[0].Pool; pool.Members[0].Since.IsZero() {
		t.Errorf("members: %+v", pool.Members)
	}
	if got := c.columns(t, ns, "older"); !strings.HasPrefix(got, "older True Accepted True 1 2 false 5 web ") {
		t.Errorf("columns: %s", got)
	}

	// A second policy on the same target gives way and says to whom; elsewhere it steers. Names will do as targets.
	younger := steering(ns, "younger", "< 100", "web", "api")
	younger.Spec.TargetRefs = younger.Spec.TargetRefs[:1]
	younger.Spec.Hostnames = []string{"API.apps.test."}
	younger.Spec.Rules[0].Keep = "< 5"
	c.create(t, younger)
	got := c.awaitConditions(t, younger, "Accepted=True/Accepted Applied=False/Conflicted")
	if s := got.Status.Targets; len(s) != 2 || !s[0].Applied || s[0].Message != "" || s[1].Applied || s[1].Pool != nil || !strings.HasPrefix(s[1].Message, "SteeringPolicy older") {
		t.Errorf("targets: %+v", s)
	}
	first.await(t, "api.apps.test.", dns.TypeAAAA, "fd00:2::1")
	first.await(t, "steered.apps.test.", dns.TypeAAAA, "fd00:1::1")

	// One that cannot be used keeps its target and the last good policy; the status says where it is wrong.
	fresh := func(p *v1alpha1.SteeringPolicy, change func(*v1alpha1.SteeringPolicy)) {
		t.Helper()
		untilNil(t, func() error {
			if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
				return err
			}
			change(p)
			return c.admin.Update(t.Context(), p)
		})
	}
	fresh(older, func(p *v1alpha1.SteeringPolicy) { p.Spec.Signals[0].Query = "sum by (pod) (rate(load[5m])" })
	bad := c.awaitConditions(t, older, "Accepted=False/Invalid Applied=False/Invalid")
	if message := meta.FindStatusCondition(bad.Status.Conditions, v1alpha1.ConditionAccepted).Message; !strings.Contains(message, "spec.signals[0].query: PromQL: unclosed left parenthesis") {
		t.Errorf("message: %s", message)
	}
	m.set("web-0", "9", "web-1", "1", "api-0", "1", "api-1", "9")
	first.await(t, "steered.apps.test.", dns.TypeAAAA, "fd00:1::2")
	fresh(older, func(p *v1alpha1.SteeringPolicy) { p.Spec.Signals[0].Query = "load"; p.Spec.Rules[0].Keep = "< 20" })
	c.awaitConditions(t, older, ok)
	first.await(t, "steered.apps.test.", dns.TypeAAAA, "fd00:1::1 fd00:1::2")

	// Annotations on a steered Service count for nothing, which its owner is told.
	web.Annotations["dnsingress.dev/promql"], web.Annotations["dnsingress.dev/keep"] = "load", "< 2"
	c.update(t, web)
	c.awaitEvent(t, web, "PolicyShadowed")

	// Nothing is written that is there already: other things of the namespace change, and the status stays as it is.
	c.awaitPool(t, older, "web 2/2 open=false 5s pool window: fd00:1::1 web-0 in within load, fd00:1::2 web-1 in within load")
	quiet := c.awaitConditions(t, older, ok)
	for i := range 12 { // evaluations of two replicas, each with other values
		m.set("web-0", fmt.Sprint(i), "web-1", fmt.Sprint(i+1), "api-0", "1", "api-1", "9")
		m.awaitQuestion(t)
	}
	api.Annotations["external-dns.kubernetes.io/ttl"] = "9"
	c.update(t, api)
	lost := steering(ns, "lost", "< 8", "nowhere")
	c.create(t, lost)
	c.awaitConditions(t, lost, "Accepted=True/Accepted Applied=False/TargetNotFound")
	if now := c.awaitConditions(t, older, ok); now.ResourceVersion != quiet.ResourceVersion {
		t.Errorf("the status was written without need: version %s, then %s", quiet.ResourceVersion, now.ResourceVersion)
	}

	// A query that tells of no pod is no policy, which only its values can show; one that never can is refused at once.
	m.set("", "30")
	useless := c.awaitConditions(t, older, "Accepted=True/Accepted Applied=False/UselessMetric")
	if x := useless.Status.Targets[0]; x.Applied || x.Pool == nil || !strings.Contains(x.Pool.Problem, "no series of the policy's expression has a label pod") {
		t.Errorf("target: %+v", x)
	}
	m.set("web-0", "9", "web-1", "1", "api-0", "1", "api-1", "9")
	c.awaitConditions(t, older, ok)
	lone := service(ns, "lone", steered("lone.apps.test", "sum by (node) (load)")...)
	c.create(t, lone)
	if message := c.awaitEvent(t, lone, "InvalidPolicy"); !strings.Contains(message, "no label that tells a pod") {
		t.Errorf("event: %s", message)
	}

	// When the older one goes, the younger one takes over; when both are gone, annotations count again.
	c.delete(t, older)
	c.awaitConditions(t, younger, ok)
	first.await(t, "steered.apps.test.", dns.TypeAAAA, "fd00:1::2")
	c.delete(t, younger)
	first.await(t, "api.apps.test.", dns.TypeAAAA, "fd00:2::1 fd00:2::2")

	t.Run("schema", func(t *testing.T) { testSchema(t, c, ns) })
	t.Run("health checks", func(t *testing.T) { testHealthChecks(t, c) })
}

// testSchema gives the API server what package policy reads and what it refuses.
func testSchema(t *testing.T, c *cluster, namespace string) {
	create := func(p *v1alpha1.SteeringPolicy) error {
		p.Namespace = namespace
		return c.admin.Create(t.Context(), p, client.DryRunAll)
	}
	files, err := filepath.Glob("../../deploy/policies/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../deploy/policies/*/policy.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	files = append(files, more...)
	for _, path := range append(files, "internal/policy/testdata/whole.yaml") {
		for _, p := range manifests(t, path) {
			if err := create(p); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if _, err := policy.Load(path); err != nil {
			t.Error(err)
		}
	}
	for i, p := range documented(t) {
		if err := create(p); err != nil {
			t.Errorf("example %d of docs/steering.md: %v", i+1, err)
		}
		data, err := marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.FromObject(data); err != nil {
			t.Errorf("example %d of docs/steering.md: %v", i+1, err)
		}
	}
	for name, spoil := range map[string]func(*v1alpha1.SteeringPolicySpec){
		"a policy needs targetRefs or hostnames": func(s *v1alpha1.SteeringPolicySpec) { s.TargetRefs = nil },
		"a rule has one of":                      func(s *v1alpha1.SteeringPolicySpec) { s.Rules[0].Lowest = 3 },
		"readmit needs keep": func(s *v1alpha1.SteeringPolicySpec) {
			s.Rules[0] = v1alpha1.Rule{Signal: "load", Lowest: 1, Readmit: "< 3"}
		},
		"low must be below high": func(s *v1alpha1.SteeringPolicySpec) {
			s.Rules[0] = v1alpha1.Rule{Signal: "load", Shed: &v1alpha1.Watermarks{Low: 3, High: 3}}
		},
		"spec.signals[0].interval":         func(s *v1alpha1.SteeringPolicySpec) { s.Signals[0].Interval = "soon" },
		"spec.signals[1]: Duplicate value": func(s *v1alpha1.SteeringPolicySpec) { s.Signals = append(s.Signals, s.Signals[0]) },
		"spec.guards.maxStep":              func(s *v1alpha1.SteeringPolicySpec) { s.Guards.MaxStep = "120%" },
		"every protocol but icmp needs a port": func(s *v1alpha1.SteeringPolicySpec) {
			s.HealthChecks = []v1alpha1.HealthCheck{{Name: "a", Protocol: "tcp"}}
		},
		"fixed needs a ttl": func(s *v1alpha1.SteeringPolicySpec) {
			s.TTL = &v1alpha1.TTL{Rules: []v1alpha1.TTLRule{{Kind: "fixed"}}}
		},
		"linear and exponential need a low and a high that differ": func(s *v1alpha1.SteeringPolicySpec) {
			s.TTL = &v1alpha1.TTL{Rules: []v1alpha1.TTLRule{{Kind: "linear"}}}
		},
	} {
		p := steering("", "bad", "< 8", "web")
		spoil(&p.Spec)
		if err := create(p); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
		data, err := marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.FromObject(data); err == nil {
			t.Errorf("%s: the reader takes what the API server refuses", name)
		}
	}
}

// documented makes policies of the examples in docs/steering.md, with the signals that each reads.
func documented(t *testing.T) []*v1alpha1.SteeringPolicy {
	t.Helper()
	text, err := os.ReadFile("../../docs/steering.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []*v1alpha1.SteeringPolicy
	for i, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1) {
		p := &v1alpha1.SteeringPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("example-%d", i)}}
		if err := yaml.UnmarshalStrict(block[1], &p.Spec); err != nil {
			t.Fatalf("example %d of docs/steering.md: %v\n%s", i+1, err, block[1])
		}
		p.Spec.TargetRefs = []v1alpha1.TargetRef{{Kind: "Service", Name: "web"}}
		for _, name := range []string{"usage", "latency", "errors", "capacity"} {
			if regexp.MustCompile(`\b` + name + `\b`).Match(block[1]) {
				p.Spec.Signals = append(p.Spec.Signals, v1alpha1.Signal{Name: v1alpha1.SignalName(name), Query: name})
			}
		}
		if regexp.MustCompile(`\bhealth\b`).Match(block[1]) {
			p.Spec.HealthChecks = []v1alpha1.HealthCheck{{Name: "health", Protocol: "icmp"}}
		}
		all = append(all, p)
	}
	if len(all) < 5 {
		t.Fatalf("only %d examples in docs/steering.md", len(all))
	}
	return all
}

// manifests reads the SteeringPolicies of a file as the API server would be given them.
func manifests(t *testing.T, path string) []*v1alpha1.SteeringPolicy {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []*v1alpha1.SteeringPolicy
	for doc := range bytes.SplitSeq(data, []byte("\n---\n")) {
		p := new(v1alpha1.SteeringPolicy)
		if err := yaml.UnmarshalStrict(doc, p); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, p)
	}
	return all
}

func marshal(p *v1alpha1.SteeringPolicy) ([]byte, error) {
	o := p.DeepCopy()
	o.APIVersion, o.Kind = policy.APIVersion, policy.Kind
	return json.Marshal(o)
}

// testHealthChecks has dnsingress ask a pod at an address of this machine, and one at an address that nobody has.
func testHealthChecks(t *testing.T, c *cluster) {
	here := ownAddress(t)
	l, err := net.Listen("tcp", netip.AddrPortFrom(here, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	qtype, family, nowhere := dns.TypeAAAA, discoveryv1.AddressTypeIPv6, "fd00:dead::1"
	if here.Is4() {
		qtype, family, nowhere = dns.TypeA, discoveryv1.AddressTypeIPv4, "198.51.100.1" // RFC 5737 §3
	}
	ns := c.namespace(t)
	c.create(t, service(ns, "web", hostnameKey, "asked.apps.test"))
	c.create(t, slice(ns, "web", "web-1", family, here.String(), nowhere))
	p := &v1alpha1.SteeringPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "alive"}}
	p.Spec.TargetRefs = []v1alpha1.TargetRef{{Kind: "Service", Name: "web"}}
	p.Spec.HealthChecks = []v1alpha1.HealthCheck{{
		Name: "port", Protocol: "tcp", Port: int32(at.Port()), Interval: "200ms", UnhealthyInterval: "100ms", Timeout: "500ms", Up: 1, Down: 1,
	}}
	p.Spec.Guards = &v1alpha1.Guards{Hold: "0s", HoldMax: "0s"}
	c.create(t, p)
	i := c.run(t, "")
	i.await(t, "asked.apps.test.", qtype, here.String())
	c.awaitConditions(t, p, "Accepted=True/Accepted Applied=True/Applied")
	x, ok := i.engine.Explain("asked.apps.test")
	if !ok || len(x.Policy.Signals) != 1 || x.Policy.Signals[0].Kind != "health" || x.Policy.Rules[0].Says != "keep > 0" {
		t.Errorf("explained as %+v", x.Policy)
	}
	// When none answers, spreading over all is better than nothing.
	both := []string{here.String(), nowhere}
	slices.SortFunc(both, func(a, b string) int { return netip.MustParseAddr(a).Compare(netip.MustParseAddr(b)) })
	l.Close()
	i.await(t, "asked.apps.test.", qtype, strings.Join(both, " "))
	again, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	i.await(t, "asked.apps.test.", qtype, here.String())
}

// ownAddress is one of this machine's that an EndpointSlice may hold, or the end of the test.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var own netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() && !own.Is6() {
			own = p.Addr()
		}
	}
	if own.IsValid() {
		return own
	}
	t.Skip("NOT TESTED: health checks of pods: this machine has no address but loopback")
	return netip.Addr{}
}
