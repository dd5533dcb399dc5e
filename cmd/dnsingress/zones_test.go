// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
)

func zoneSpec(origin string) v1alpha1.DNSZoneSpec {
	return v1alpha1.DNSZoneSpec{Origin: origin, Nameservers: []v1alpha1.Nameserver{{Name: "ns1." + origin, Addresses: []v1alpha1.Address{"fd00::53"}}}}
}

// testZones: zones that are objects, from an installation that has no others on.
func testZones(t *testing.T, c *cluster) {
	if _, err := envtest.InstallCRDs(c.env.Config, envtest.CRDInstallOptions{Paths: []string{"../../deploy/dnsingress/crd.yaml"}}); err != nil {
		t.Fatal(err)
	}
	t.Run("refused", func(t *testing.T) { testZonesRefused(t, c) })
	ns := c.namespace(t)
	web := service(ns, "web", hostnameKey, "www.zones.example")
	c.create(t, web)
	c.create(t, slice(ns, "web", "web-1", discoveryv1.AddressTypeIPv6, "fd00::1"))
	text := fmt.Sprintf("listen: [\"[::1]:0\"]\nadmin: \"[::1]:0\"\nlameDuck: 0s\nkubernetes: {kubeconfig: %s, namespaces: [%s]}\n", c.kubeconfig, ns)
	i := c.configured(t, text)
	untilNil(t, func() error {
		if err := i.daemon.ready(); err == nil || !strings.Contains(err.Error(), "waiting for a zone") {
			return fmt.Errorf("without a zone: %v", err)
		}
		return nil
	})
	if got := i.addresses("www.zones.example.", dns.TypeAAAA); got != "REFUSED" {
		t.Errorf("without a zone the answer is %q", got)
	}

	zone := &v1alpha1.DNSZone{Spec: zoneSpec("zones.example")}
	zone.Name = "example"
	c.create(t, zone)
	i.await(t, "www.zones.example.", dns.TypeAAAA, "fd00::1")
	untilNil(t, i.daemon.ready)
	stands := func(o client.Object, s *v1alpha1.ZoneStatus, want string) {
		t.Helper()
		untilNil(t, func() error {
			if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			got := []string{"zone=" + s.Zone}
			for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed} {
				if x := meta.FindStatusCondition(s.Conditions, kind); x != nil {
					got = append(got, fmt.Sprintf("%s=%s/%s", kind, x.Status, x.Reason))
				}
			}
			if text := strings.Join(got, " "); text != want {
				return fmt.Errorf("%s says %q, want %q: %+v", o.GetName(), text, want, s.Conditions)
			}
			if s.ObservedGeneration != o.GetGeneration() || (s.Serial == 0) != (s.Zone == "") {
				return fmt.Errorf("%s: generation %d, serial %d", o.GetName(), s.ObservedGeneration, s.Serial)
			}
			return nil
		})
	}
	const good = " Accepted=True/Accepted Programmed=True/Programmed"
	stands(zone, &zone.Status, "zone=zones.example."+good)

	// The serial goes on with every change of a name, and another replica has others; the status is not written again for that.
	version := zone.ResourceVersion
	c.configured(t, text).await(t, "www.zones.example.", dns.TypeAAAA, "fd00::1")
	other := service(ns, "other", hostnameKey, "other.zones.example")
	c.create(t, other)
	i.await(t, "other.zones.example.", dns.TypeAAAA, "NODATA")
	rival := &v1alpha1.DNSZone{Spec: zoneSpec("zones.example")}
	rival.Name = "rival"
	c.create(t, rival)
	stands(rival, &rival.Status, "zone= Accepted=False/OriginTaken Programmed=False/NotProgrammed")
	stands(zone, &zone.Status, "zone=zones.example."+good)
	if zone.ResourceVersion != version {
		t.Error("the status was written again because a name came")
	}

	// A delegation: the names below it are asked for elsewhere.
	cut := &v1alpha1.DNSDelegation{Spec: v1alpha1.DNSDelegationSpec{
		Zone: "shop.zones.example", TTL: "1m", Nameservers: []v1alpha1.Nameserver{{Name: "ns1.shop.zones.example", Addresses: []v1alpha1.Address{"fd00::a", "192.0.2.1"}}, {Name: "ns.elsewhere.example"}},
		DS: []v1alpha1.DS{{KeyTag: 12345, Algorithm: 13, DigestType: 2, Digest: strings.Repeat("0a", 32)}},
	}}
	cut.Namespace, cut.Name = ns, "shop"
	c.create(t, cut)
	stands(cut, &cut.Status, "zone=zones.example."+good)
	refers := func(name string, want ...string) {
		t.Helper()
		untilNil(t, func() error {
			r, err := i.ask(name, dns.TypeAAAA)
			if err != nil {
				return err
			}
			var got []string
			for _, rr := range slices.Concat(r.Ns, r.Extra) {
				if rr.Header().Rrtype != dns.TypeOPT {
					got = append(got, strings.Join(strings.Fields(rr.String()), " "))
				}
			}
			slices.Sort(got)
			if r.Authoritative || !slices.Equal(got, want) {
				return fmt.Errorf("%s: aa %v, %q, want %q", name, r.Authoritative, got, want)
			}
			return nil
		})
	}
	refers("a.shop.zones.example.", "ns1.shop.zones.example. 60 IN A 192.0.2.1", "ns1.shop.zones.example. 60 IN AAAA fd00::a",
		"shop.zones.example. 60 IN NS ns.elsewhere.example.", "shop.zones.example. 60 IN NS ns1.shop.zones.example.")
	if r, err := i.ask("shop.zones.example.", dns.TypeDS); err != nil || len(r.Answer) != 1 || !r.Authoritative {
		t.Errorf("DS: %v, %v", r, err)
	}
	below := service(ns, "below", hostnameKey, "below.shop.zones.example")
	c.create(t, below)
	untilNil(t, func() error {
		return c.told(t, fmt.Sprintf("Service %s/below: Occluded: below.shop.zones.example. is below shop.zones.example., which DNSDelegation %s/shop delegates", ns, ns))
	})
	untilNil(t, func() error {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(cut), cut); err != nil {
			return err
		}
		if x := meta.FindStatusCondition(cut.Status.Conditions, v1alpha1.ConditionAccepted); x == nil || x.Status != "True" || !strings.Contains(x.Message, "below.shop.zones.example. of Service "+ns+"/below (1 in all)") {
			return fmt.Errorf("the delegation says %+v", x)
		}
		return nil
	})

	// Of role upper, the zone only refers.
	zone.Spec.Role = "upper"
	c.update(t, zone)
	i.await(t, "www.zones.example.", dns.TypeAAAA, "NXDOMAIN")
	refers("a.shop.zones.example.", "ns1.shop.zones.example. 60 IN A 192.0.2.1", "ns1.shop.zones.example. 60 IN AAAA fd00::a",
		"shop.zones.example. 60 IN NS ns.elsewhere.example.", "shop.zones.example. 60 IN NS ns1.shop.zones.example.")
	untilNil(t, func() error {
		return c.told(t, fmt.Sprintf("Service %s/web: UpperZone: www.zones.example. is in the zone zones.example. of role upper", ns))
	})
	stands(zone, &zone.Status, "zone=zones.example."+good)

	// The first object goes: the second has the origin, and nothing that the first said.
	c.delete(t, zone)
	i.await(t, "www.zones.example.", dns.TypeAAAA, "fd00::1")
	stands(rival, &rival.Status, "zone=zones.example."+good)
	c.delete(t, rival)
	i.await(t, "www.zones.example.", dns.TypeAAAA, "REFUSED")
	stands(cut, &cut.Status, "zone= Accepted=False/OutsideZones Programmed=False/NotProgrammed")
	if err := i.daemon.ready(); err != nil {
		t.Errorf("what was ready stays so, but: %v", err)
	}
	for _, o := range []client.Object{cut, web, other, below} {
		c.delete(t, o)
	}

	// What the configuration says counts more.
	configured := &v1alpha1.DNSZone{Spec: zoneSpec("apps.test")}
	configured.Name = "configured"
	c.create(t, configured)
	c.run(t, "")
	stands(configured, &configured.Status, "zone= Accepted=False/Configured Programmed=False/NotProgrammed")
	c.delete(t, configured)
}

// testZonesRefused: what the API server itself does not take, and what kubectl shows of the kinds.
func testZonesRefused(t *testing.T, c *cluster) {
	const nameservers = "nameservers: [{name: ns1.a.example, addresses: ['fd00::1']}]"
	for _, x := range []struct{ kind, spec, want string }{
		{"DNSZone", "{origin: a.example, " + nameservers + "}", ""},
		{"DNSZone", "{origin: A.Example., role: upper, " + nameservers + ", soa: {primary: ns1.a.example, refresh: 2h}, ttl: 10s, negativeTTL: 0s, infrastructureTTL: 1h, maxAnswers: 0, allowedNamespaces: ['team-*']}", ""},
		{"DNSZone", "{origin: ., nameservers: [{name: ns1.a.example, addresses: ['192.0.2.1']}]}", ""},
		{"DNSZone", "{" + nameservers + "}", "spec.origin: Required value"},
		{"DNSZone", "{origin: a..example, " + nameservers + "}", "spec.origin"},
		{"DNSZone", "{origin: a.example}", "spec.nameservers: Required value"},
		{"DNSZone", "{origin: a.example, nameservers: []}", "spec.nameservers"},
		{"DNSZone", "{origin: a.example, nameservers: [{name: ns1.A.Example.}]}", "a nameserver inside the zone needs addresses"},
		{"DNSZone", "{origin: a.example, nameservers: [{name: ns1.b.example, addresses: ['fd00::1']}]}", "one outside has none here"},
		{"DNSZone", "{origin: a.example, nameservers: [{name: ns1.a.example, addresses: ['fd00::1%eth0']}]}", "no IP address"},
		{"DNSZone", "{origin: a.example, nameservers: [{name: ns1.a.example, addresses: [10.0.0.300]}]}", "no IP address"},
		{"DNSZone", "{origin: a.example, role: upper, addresses: ['fd00::2'], " + nameservers + "}", "a zone of role upper only refers"},
		{"DNSZone", "{origin: a.example, role: middle, " + nameservers + "}", "spec.role: Unsupported value"},
		{"DNSZone", "{origin: a.example, ttl: 5, " + nameservers + "}", "spec.ttl"},
		{"DNSZone", "{origin: a.example, ttl: soon, " + nameservers + "}", "spec.ttl"},
		{"DNSZone", "{origin: a.example, maxAnswers: -1, " + nameservers + "}", "spec.maxAnswers"},
		{"DNSZone", "{origin: a.example, allowedNamespaces: ['A B'], " + nameservers + "}", "spec.allowedNamespaces[0]"},
		{"DNSDelegation", "{zone: a.example, " + nameservers + "}", ""},
		{"DNSDelegation", "{zone: a.example, nameservers: [{name: ns.b.example}, {name: ns.example, addresses: ['fd00::1']}], ttl: 1m}", ""},
		{"DNSDelegation", "{zone: a.example, nameservers: [{name: ns1.a.example}]}", "without glue nobody could find it"},
		{"DNSDelegation", "{zone: a.example}", "spec.nameservers: Required value"},
		{"DNSDelegation", "{zone: '*.example', " + nameservers + "}", "spec.zone"},
		{"DNSDelegation", "{zone: ., " + nameservers + "}", "spec.zone"},
		{"DNSDelegation", "{zone: a.example, " + nameservers + ", ds: [{keyTag: 1, algorithm: 13, digestType: 2, digest: " + strings.Repeat("a", 40) + "}]}", "SHA-256"},
		{"DNSDelegation", "{zone: a.example, " + nameservers + ", ds: [{keyTag: 70000, algorithm: 13, digestType: 2, digest: " + strings.Repeat("a", 64) + "}]}", "keyTag"},
		{"DNSDelegation", "{zone: a.example, " + nameservers + ", ds: [{keyTag: 1, algorithm: 13, digestType: 3, digest: " + strings.Repeat("a", 64) + "}]}", "digestType: Unsupported value"},
		{"DNSDelegation", "{zone: a.example, " + nameservers + ", ds: [{keyTag: 1, algorithm: 13, digestType: 2, digest: " + strings.Repeat("x", 64) + "}]}", "digest"},
	} {
		o := &unstructured.Unstructured{Object: map[string]any{}}
		var spec map[string]any
		if err := yaml.Unmarshal([]byte(x.spec), &spec); err != nil {
			t.Fatal(err)
		}
		o.Object["spec"] = spec
		o.SetGroupVersionKind(schema.GroupVersionKind{Group: "dnsingress.dev", Version: "v1alpha1", Kind: x.kind})
		o.SetName("refused")
		if x.kind == "DNSDelegation" {
			o.SetNamespace("default")
		}
		err := c.admin.Create(t.Context(), o, client.DryRunAll)
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s %s gives %v, want %q", x.kind, x.spec, err, x.want)
		}
	}
	z := &v1alpha1.DNSZone{Spec: zoneSpec("fixed.example")}
	z.Name = "fixed"
	c.create(t, z)
	z.Spec.Origin, z.Spec.Nameservers[0].Name = "b.example", "ns1.b.example"
	if err := c.admin.Update(t.Context(), z); err == nil || !strings.Contains(err.Error(), "another origin is another zone") {
		t.Errorf("another origin: %v", err)
	}
	c.delete(t, z)
}

// TestZonesFromFiles: zones come, change and go with the manifests of a directory, with no cluster and no other zones.
func TestZonesFromFiles(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	const zone = `apiVersion: dnsingress.dev/v1alpha1
kind: DNSZone
metadata: {name: apps}
spec: {origin: apps.test, nameservers: [{name: ns1.apps.test, addresses: ["fd00::53"]}], ttl: %s}
`
	const cut = `apiVersion: dnsingress.dev/v1alpha1
kind: DNSDelegation
metadata: {name: child}
spec: {zone: child.apps.test, nameservers: [{name: ns1.child.apps.test, addresses: ["fd00::54"]}]}
`
	write("web.yaml", manifestOf("one", "2001:db8::1"))
	c := &cluster{t: t}
	i := c.configured(t, fmt.Sprintf("listen: [\"[::1]:0\"]\nadmin: \"[::1]:0\"\nlameDuck: 0s\nstate: %q\nkubernetes: {files: %q}\n", state, dir))
	serial := func() (uint32, error) {
		r, err := i.ask("apps.test.", dns.TypeSOA)
		if err != nil {
			return 0, err
		}
		if len(r.Answer) != 1 {
			return 0, fmt.Errorf("SOA: %s", dns.RcodeToString[r.Rcode])
		}
		return r.Answer[0].(*dns.SOA).Serial, nil
	}
	write("zone.yaml", fmt.Sprintf(zone, "10s"))
	i.await(t, "one.apps.test.", dns.TypeAAAA, "2001:db8::1")
	untilNil(t, i.daemon.ready)
	first, err := serial()
	if err != nil {
		t.Fatal(err)
	}
	write("cut.yaml", cut)
	untilNil(t, func() error {
		r, err := i.ask("www.child.apps.test.", dns.TypeAAAA)
		if err == nil && (r.Authoritative || len(r.Ns) != 1 || len(r.Extra) == 0) {
			err = fmt.Errorf("no referral: %v", r)
		}
		return err
	})
	// A mistake takes no zone away.
	write("zone.yaml", fmt.Sprintf(zone, "soon"))
	untilNil(t, func() error {
		if c.log.count(`DNSZone apps: Invalid: spec.ttl`) == 0 {
			return errors.New("the mistake is not told of")
		}
		return nil
	})
	i.await(t, "one.apps.test.", dns.TypeAAAA, "2001:db8::1")
	if err := os.Remove(filepath.Join(dir, "zone.yaml")); err != nil {
		t.Fatal(err)
	}
	i.await(t, "one.apps.test.", dns.TypeAAAA, "REFUSED")
	write("zone.yaml", fmt.Sprintf(zone, "20s"))
	i.await(t, "one.apps.test.", dns.TypeAAAA, "2001:db8::1")
	if now, err := serial(); err != nil || int32(now-first) <= 0 {
		t.Errorf("serial %d after %d, %v", now, first, err)
	}
}
