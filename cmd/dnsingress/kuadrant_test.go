// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dnsingress/dnsingress/internal/dnstest"
)

// testKuadrant has the API server keep DNSEndpoints, DNSRecords and DNSPolicies by their own definitions, and looks at
// what their statuses say and at what becomes of host names of others. What is served is in testdata/objects.
func testKuadrant(t *testing.T, c *cluster) {
	gateway, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envtest.InstallCRDs(c.env.Config, envtest.CRDInstallOptions{ErrorIfPathMissing: true, Paths: []string{
		"testdata/crds", filepath.Join(strings.TrimSpace(string(gateway)), "config", "crd", "standard"),
	}}); err != nil {
		t.Fatal(err)
	}
	ns := c.namespace(t)
	outside := &outside{answers: map[string]string{"lb.outside.example.": "198.51.100.7"}}
	resolver, stop, err := dnstest.Serve(outside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	i := c.configured(t, fmt.Sprintf(`zones: [{origin: kuadrant.test, nameservers: [{name: ns.served.example}], maxAnswers: 0}]
listen: ["[::1]:0"]
admin: "[::1]:0"
lameDuck: 0s
kubernetes: {kubeconfig: %q, namespaces: [%s], resolvers: ["%s"]}
`, c.kubeconfig, ns, resolver))
	t.Run("followed", func(t *testing.T) { testFollowed(t, c, i, ns, outside) })
	t.Run("DNSRecord", func(t *testing.T) { testRecordStatus(t, c, i, ns) })
	t.Run("DNSPolicy", func(t *testing.T) { testPolicyStatus(t, c, i, ns) })
	t.Run("DNSEndpoint", func(t *testing.T) { testEndpointStatus(t, c, i, ns) })
}

// outside is the name server of others.
type outside struct {
	mu      sync.Mutex
	answers map[string]string
	fails   bool
	failed  int // questions answered while it fails
}

func (o *outside) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := new(dns.Msg)
	r.SetReply(q)
	name := q.Question[0].Name
	address, known := o.answers[strings.ToLower(name)]
	switch {
	case o.fails:
		o.failed++
		r.Rcode = dns.RcodeServerFailure
	case !known:
		r.Rcode = dns.RcodeNameError
	case q.Question[0].Qtype == dns.TypeA:
		r.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: netip.MustParseAddr(address).AsSlice()}}
	}
	_ = w.WriteMsg(r)
}

// set changes what it answers.
func (o *outside) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// testFollowed collapses a chain with a host name of others, whose addresses change and then cannot be had.
func testFollowed(t *testing.T, c *cluster, i *instance, ns string, outside *outside) {
	c.manifest(t, ns, `
apiVersion: kuadrant.io/v1alpha1
kind: DNSRecord
metadata: {name: followed, annotations: {dnsingress.dev/chains: collapse}}
spec:
  rootHost: followed.kuadrant.test
  endpoints:
  - {dnsName: followed.kuadrant.test, recordType: CNAME, targets: [klb.followed.kuadrant.test]}
  - {dnsName: klb.followed.kuadrant.test, recordType: CNAME, setIdentifier: default, targets: [default.klb.followed.kuadrant.test], providerSpecific: [{name: geo-code, value: "*"}]}
  - {dnsName: default.klb.followed.kuadrant.test, recordType: CNAME, setIdentifier: a, targets: [a.klb.followed.kuadrant.test], providerSpecific: [{name: weight, value: "1"}]}
  - {dnsName: default.klb.followed.kuadrant.test, recordType: CNAME, setIdentifier: b, targets: [lb.outside.example], providerSpecific: [{name: weight, value: "1"}]}
  - {dnsName: a.klb.followed.kuadrant.test, recordType: A, recordTTL: 30, targets: [192.0.2.1]}
  - {dnsName: a.klb.followed.kuadrant.test, recordType: AAAA, recordTTL: 30, targets: ["2001:db8::1"]}
`)
	const name = "followed.kuadrant.test."
	// Of both options the one or the other is answered. The host name has no IPv6 address: it drops out of that choice.
	both := func(of ...string) func() error {
		return func() error {
			seen := map[string]bool{}
			for range 100 {
				seen[i.addresses(name, dns.TypeA)] = true
			}
			for a := range seen {
				if !slices.Contains(of, a) {
					return fmt.Errorf("the answer is %s, want one of %v", a, of)
				}
			}
			if len(seen) != len(of) {
				return fmt.Errorf("answers are %v, want each of %v", seen, of)
			}
			return nil
		}
	}
	untilNil(t, both("192.0.2.1", "198.51.100.7"))
	i.await(t, name, dns.TypeAAAA, "2001:db8::1")
	if got := i.addresses("klb."+name, dns.TypeA); got != "NXDOMAIN" {
		t.Errorf("a link of a collapsed chain is served: %s", got)
	}
	outside.set(func() { outside.answers["lb.outside.example."] = "198.51.100.8" })
	untilNil(t, both("192.0.2.1", "198.51.100.8"))
	outside.set(func() { outside.fails = true })
	untilNil(t, func() (err error) {
		outside.set(func() {
			if outside.failed < 3 {
				err = errors.New("nobody has asked again")
			}
		})
		return err
	})
	if err := both("192.0.2.1", "198.51.100.8")(); err != nil {
		t.Errorf("once resolution fails: %v", err)
	}
	outside.set(func() { outside.fails = false })
}

func testRecordStatus(t *testing.T, c *cluster, i *instance, ns string) {
	record := func(name, host, more string) *unstructured.Unstructured {
		return c.manifest(t, ns, fmt.Sprintf(`
apiVersion: kuadrant.io/v1alpha1
kind: DNSRecord
metadata: {name: %s%s}
spec:
  rootHost: %s
  endpoints:
  - {dnsName: %s, recordType: A, recordTTL: 60, targets: [192.0.2.1]}
`, name, more, host, host))[0]
	}
	good := record("good", "good.kuadrant.test", "")
	c.awaitConditionOf(t, good, "Ready", "True", "ProviderSuccess", "dnsingress: all records are published")
	c.awaitConditionOf(t, good, "dnsingress.dev/Published", "True", "Published", "")
	if n, _, _ := unstructured.NestedInt64(good.Object, "status", "observedGeneration"); n != good.GetGeneration() {
		t.Errorf("generation %d was observed, it is %d", n, good.GetGeneration())
	}
	shares := record("shares", "good.kuadrant.test", "")
	c.awaitConditionOf(t, shares, "Ready", "True", "ProviderSuccess", "together with those of DNSRecord "+ns+"/good")

	// An endpoint is broken: the others go on being served, and the status says what to mend.
	c.patch(t, good, `{"spec":{"endpoints":[{"dnsName":"good.kuadrant.test","recordType":"A","recordTTL":60,"targets":["192.0.2.1"]},`+
		`{"dnsName":"x.elsewhere.test","recordType":"A","targets":["192.0.2.2"]}]}}`)
	c.awaitConditionOf(t, good, "Ready", "False", "ValidationError", "x.elsewhere.test is neither good.kuadrant.test nor below it")
	c.awaitEvent(t, good, "OutsideRootHost")
	i.await(t, "good.kuadrant.test.", dns.TypeA, "192.0.2.1")

	// Names that cannot be had: outside the zones, and another object's.
	c.awaitConditionOf(t, record("elsewhere", "www.elsewhere.test", ""), "Ready", "False", "ProviderError", "www.elsewhere.test")
	c.manifest(t, ns, `
apiVersion: externaldns.k8s.io/v1alpha1
kind: DNSEndpoint
metadata: {name: before}
spec:
  endpoints: [{dnsName: taken.kuadrant.test, recordType: A, targets: [192.0.2.9]}]
`)
	i.await(t, "taken.kuadrant.test.", dns.TypeA, "192.0.2.9")
	c.awaitConditionOf(t, record("taken", "taken.kuadrant.test", ""), "Ready", "False", "ProviderError", "DNSEndpoint "+ns+"/before")
	i.await(t, "taken.kuadrant.test.", dns.TypeA, "192.0.2.9")

	// Kuadrant's own operator looks after this one: its condition stays its own.
	theirs := record("theirs", "theirs.kuadrant.test", ", finalizers: [kuadrant.io/dns-record]")
	t.Cleanup(func() {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		if err := c.admin.Patch(context.Background(), theirs, patch); err != nil {
			t.Error(err)
		}
	})
	status := client.RawPatch(types.MergePatchType, []byte(`{"status":{"zoneID":"Z1","conditions":[`+
		`{"type":"Ready","status":"False","reason":"ProviderError","message":"no credentials","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`))
	if err := c.admin.Status().Patch(t.Context(), theirs, status); err != nil {
		t.Fatal(err)
	}
	c.awaitConditionOf(t, theirs, "dnsingress.dev/Published", "True", "Published", "")
	c.awaitConditionOf(t, theirs, "Ready", "False", "ProviderError", "no credentials")
	if zone, _, _ := unstructured.NestedString(theirs.Object, "status", "zoneID"); zone != "Z1" {
		t.Errorf("their zoneID became %q", zone)
	}
}

func testPolicyStatus(t *testing.T, c *cluster, i *instance, ns string) {
	all := c.manifest(t, ns, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: istio
  listeners: [{name: web, hostname: web.kuadrant.test, port: 80, protocol: HTTP}]
status:
  addresses: [{type: IPAddress, value: "2001:db8::5"}, {type: IPAddress, value: 192.0.2.5}]
  listeners: [{name: web, attachedRoutes: 1, conditions: []}]
---
apiVersion: kuadrant.io/v1
kind: DNSPolicy
metadata: {name: web}
spec:
  targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: web}
  loadBalancing: {geo: IE, defaultGeo: true}
`)
	gateway, policy := all[0], all[1]
	c.awaitConditionOf(t, policy, "Accepted", "True", "Accepted", "")
	c.awaitConditionOf(t, policy, "Enforced", "True", "Enforced", "1 hosts are published")
	if n, _, _ := unstructured.NestedInt64(policy.Object, "status", "totalRecords"); n != 1 {
		t.Errorf("%d records", n)
	}
	for qtype, want := range map[uint16]string{dns.TypeA: "192.0.2.5", dns.TypeAAAA: "2001:db8::5"} {
		untilNil(t, func() error { return i.leadsTo("web.kuadrant.test.", qtype, want) })
	}

	// The last route goes: nobody is sent there any more.
	routes := client.RawPatch(types.MergePatchType, []byte(`{"status":{"listeners":[{"name":"web","attachedRoutes":0,"conditions":[]}]}}`))
	if err := c.admin.Status().Patch(t.Context(), gateway, routes); err != nil {
		t.Fatal(err)
	}
	i.await(t, "web.kuadrant.test.", dns.TypeA, "NXDOMAIN")
	c.awaitEvent(t, policy, "NoRoutes")

	c.patch(t, policy, `{"spec":{"loadBalancing":{"weight":-1}}}`)
	c.awaitConditionOf(t, policy, "Accepted", "False", "Invalid", "-1 is no weight")
	if _, ok := conditionOf(policy, "Enforced"); ok {
		t.Error("a policy that is not accepted is enforced")
	}
}

func testEndpointStatus(t *testing.T, c *cluster, i *instance, ns string) {
	first := c.manifest(t, ns, `
apiVersion: externaldns.k8s.io/v1alpha1
kind: DNSEndpoint
metadata: {name: first}
spec:
  endpoints: [{dnsName: first.kuadrant.test, recordType: A, targets: [192.0.2.1, "2001:db8::1"]}]
`)[0]
	untilNil(t, func() error {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(first), first); err != nil {
			return err
		}
		if n, _, _ := unstructured.NestedInt64(first.Object, "status", "observedGeneration"); n != first.GetGeneration() {
			return fmt.Errorf("generation %d was observed", n)
		}
		return nil
	})
	c.awaitEvent(t, first, "WrongFamily")
	i.await(t, "first.kuadrant.test.", dns.TypeA, "192.0.2.1")

	// The definition has no conditions, and the API server drops them: they are not written again and again.
	c.patch(t, first, `{"metadata":{"labels":{"touched":"yes"}}}`)
	version := first.GetResourceVersion()
	second := c.manifest(t, ns, `
apiVersion: externaldns.k8s.io/v1alpha1
kind: DNSEndpoint
metadata: {name: second}
spec:
  endpoints: [{dnsName: second.kuadrant.test, recordType: A, targets: [192.0.2.2]}]
`)[0]
	untilNil(t, func() error {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(second), second); err != nil {
			return err
		}
		if _, ok, _ := unstructured.NestedInt64(second.Object, "status", "observedGeneration"); !ok {
			return errors.New("no generation was observed")
		}
		return nil
	})
	if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(first), first); err != nil || first.GetResourceVersion() != version {
		t.Errorf("it was written again: %v %v", first.Object["status"], err)
	}
}

// patch changes an object, whoever else has written it meanwhile.
func (c *cluster) patch(t *testing.T, o client.Object, merge string) {
	t.Helper()
	if err := c.admin.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(merge))); err != nil {
		t.Fatal(err)
	}
}

// leadsTo reports whether an answer, whose CNAMEs are followed, ends at an address.
func (i *instance) leadsTo(name string, qtype uint16, want string) error {
	r, err := i.ask(name, qtype)
	if err != nil {
		return err
	}
	for _, rr := range r.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			if rr.A.String() == want {
				return nil
			}
		case *dns.AAAA:
			if rr.AAAA.String() == want {
				return nil
			}
		}
	}
	return fmt.Errorf("%s %s is %v, want %s", name, dns.TypeToString[qtype], r.Answer, want)
}

// manifest puts objects, and their statuses, into the API server until the test ends.
func (c *cluster) manifest(t *testing.T, namespace, text string) (all []*unstructured.Unstructured) {
	t.Helper()
	for doc := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		o.SetNamespace(namespace)
		c.lend(t, o)
		all = append(all, o)
	}
	return all
}

// conditionOf gives one of an object's.
func conditionOf(o *unstructured.Unstructured, kind string) (map[string]any, bool) {
	all, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range all {
		if c, ok := c.(map[string]any); ok && c["type"] == kind {
			return c, true
		}
	}
	return nil, false
}

// awaitConditionOf reads an object until it has a condition.
func (c *cluster) awaitConditionOf(t *testing.T, o *unstructured.Unstructured, kind, status, reason, message string) {
	t.Helper()
	untilNil(t, func() error {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		got, _ := conditionOf(o, kind)
		if text, _ := got["message"].(string); got["status"] == status && got["reason"] == reason && strings.Contains(text, message) {
			return nil
		}
		return fmt.Errorf("%s %s: %v, want %s %s %q", o.GetName(), kind, got, status, reason, message)
	})
}
