// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
)

// testTree: what DNSZones and DNSDelegations say of the tree that they are in.
func testTree(t *testing.T, c *cluster) {
	if _, err := envtest.InstallCRDs(c.env.Config, envtest.CRDInstallOptions{Paths: []string{"../../deploy/dnsingress/crd.yaml"}}); err != nil {
		t.Fatal(err)
	}
	ns := c.namespace(t)
	says := func(o client.Object, s *v1alpha1.ZoneStatus, kind, want, not string) {
		t.Helper()
		untilNil(t, func() error {
			if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			got := "nothing"
			if x := meta.FindStatusCondition(s.Conditions, kind); x != nil {
				got = fmt.Sprintf("%s/%s: %s", x.Status, x.Reason, x.Message)
			}
			if !strings.Contains(got, want) || not != "" && strings.Contains(got, not) {
				return fmt.Errorf("%s of %s says\n%s, want\n%s and not %q", kind, o.GetName(), got, want, not)
			}
			return nil
		})
	}
	const alone = "have IPv6 addresses alone: resolvers without IPv6 cannot reach it"

	// A zone of a leaf, which its upper does not take at first.
	upper := newServer(t, upperConfig, "", "leaf-a", "leaf-b")
	upper.start()
	register := func(more string) *instance {
		return c.configured(t, fmt.Sprintf(`
listen: ["[::1]:0"]
admin: "[::1]:0"
lameDuck: 0s
kubernetes: {kubeconfig: %q, namespaces: [%s]}
tsigKeys: [%q]
register: [{zone: apps.test, uppers: ["%s+key:leaf-b"], lease: 2s, compare: 1s%s}]
`, c.kubeconfig, ns, filepath.Join(upper.dir, "keys"), upper.dns, more))
	}
	leaf := register(`, nameserver: {name: ns.b.apps.test, addresses: ["2001:db8:b::1"]}`)
	zone := &v1alpha1.DNSZone{Spec: zoneSpec("tree.apps.test")}
	zone.Name = "tree"
	zone.Spec.Nameservers[0].Addresses = []v1alpha1.Address{"192.0.2.53", "fd00::53"} // until it is registered as another
	c.create(t, zone)
	says(zone, &zone.Status, v1alpha1.ConditionRegistered, "False/NotRegistered: upper "+upper.dns+" of apps.test.: it says REFUSED: zone tree.apps.test. with name server ns.b.apps.test. is not granted to key leaf-b.", "")
	upper.end(syscall.SIGTERM)
	upper.configure(strings.Replace(upperConfig, "[shop.apps.test]", "[shop.apps.test, tree.apps.test]", 1))
	upper.start()
	says(zone, &zone.Status, v1alpha1.ConditionRegistered, "True/Registered", "")
	says(zone, &zone.Status, v1alpha1.ConditionAccepted, "True/Accepted: all name servers of the zone tree.apps.test. "+alone, "")
	says(zone, &zone.Status, v1alpha1.ConditionProgrammed, "True/Programmed", "")

	// It registers no more, and its own word is another than that of the upper, which keeps the last name server.
	if err := leaf.stop(); err != nil {
		t.Fatal(err)
	}
	leaf = register("")
	says(zone, &zone.Status, v1alpha1.ConditionConsistent, "False/ParentDisagrees: the zone above, apps.test., refers to ns.b.apps.test., and the zone itself to ns1.tree.apps.test. 192.0.2.53 fd00::53", "")
	zone.Spec.Nameservers = []v1alpha1.Nameserver{{Name: "ns.b.apps.test"}}
	c.update(t, zone)
	says(zone, &zone.Status, v1alpha1.ConditionConsistent, "True/Consistent", "")
	c.delete(t, zone)
	if err := leaf.stop(); err != nil {
		t.Fatal(err)
	}

	// A delegation, and a child that says the same, something else, and the same again.
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	const childConfig = `zones: [{origin: kid.up.example, nameservers: [{name: ns.kid.up.example, addresses: ["::1"]}]}]`
	child := newServer(t, childConfig, "")
	child.dns = "[::1]:" + port
	child.configure(childConfig)
	child.start()
	c.configured(t, fmt.Sprintf(`
zones: [{origin: up.example, role: upper, nameservers: [{name: ns.example.net}]}]
listen: ["[::1]:0"]
admin: "[::1]:0"
lameDuck: 0s
kubernetes: {kubeconfig: %q, namespaces: [%s]}
delegations: {compare: 1s, port: %s}
`, c.kubeconfig, ns, port))
	server := func(name string, addresses ...v1alpha1.Address) []v1alpha1.Nameserver {
		return []v1alpha1.Nameserver{{Name: name, Addresses: addresses}}
	}
	cut := &v1alpha1.DNSDelegation{Spec: v1alpha1.DNSDelegationSpec{Zone: "kid.up.example", Nameservers: server("ns.kid.up.example", "::1")}}
	cut.Namespace, cut.Name = ns, "kid"
	c.create(t, cut)
	says(cut, &cut.Status, v1alpha1.ConditionAccepted, "True/Accepted: all name servers of the child kid.up.example. "+alone, "")
	cut.Spec.Nameservers = server("other.kid.up.example", "::1", "127.0.0.1")
	c.update(t, cut)
	says(cut, &cut.Status, v1alpha1.ConditionConsistent, "False/ChildDisagrees: name server other.kid.up.example. at ::1 of kid.up.example. says that the zone's name servers are ns.kid.up.example., not other.kid.up.example.", "")
	says(cut, &cut.Status, v1alpha1.ConditionAccepted, "True/Accepted", alone)
	cut.Spec.Nameservers = server("ns.kid.up.example", "::1")
	c.update(t, cut)
	says(cut, &cut.Status, v1alpha1.ConditionConsistent, "True/Consistent", "")
	c.delete(t, cut)
}
