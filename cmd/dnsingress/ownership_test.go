// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Namespaces have the names below their suffixes and no others, and an event says who has the rest.
func testSuffixes(t *testing.T, c *cluster) {
	bank, shop := c.namespace(t), c.namespace(t)
	i := c.runWith(t, c.kubeconfig, "", fmt.Sprintf(`namespaces: [%s, %s]`, bank, shop),
		fmt.Sprintf(`hosts: [{suffix: suffixes.apps.test, namespaces: [%s, %s]}, {suffix: bank.suffixes.apps.test, namespaces: [%s]}]`, bank, shop, bank))
	thief := service(shop, "thief", hostnameKey, "www.bank.suffixes.apps.test,www.suffixes.apps.test,www.apps.test")
	c.create(t, thief)
	c.create(t, slice(shop, "thief", "thief-1", discoveryv1.AddressTypeIPv6, "fd00::1"))
	i.await(t, "www.suffixes.apps.test.", dns.TypeAAAA, "fd00::1")
	if got := i.addresses("www.bank.suffixes.apps.test.", dns.TypeAAAA); got != "NXDOMAIN" {
		t.Errorf("the name of another namespace is answered with %s", got)
	}
	untilNil(t, func() error {
		for _, want := range []string{
			fmt.Sprintf("www.bank.suffixes.apps.test. is for namespaces %s alone, as all names below bank.suffixes.apps.test. (hint: ", bank), "www.apps.test. is below no suffix that any namespace may have (hint: ",
		} {
			if err := c.told(t, fmt.Sprintf("Service %s/thief: NotAllowed: %s", shop, want)); err != nil {
				return err
			}
		}
		return nil
	})
	owner := service(bank, "bank", hostnameKey, "www.bank.suffixes.apps.test")
	c.create(t, owner)
	c.create(t, slice(bank, "bank", "bank-1", discoveryv1.AddressTypeIPv6, "fd00::2"))
	i.await(t, "www.bank.suffixes.apps.test.", dns.TypeAAAA, "fd00::2")
}

// Records of ports follow the pods, down to the last resort and to nobody; metrics count each change by kind.
func testPorts(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	i := c.runWith(t, c.kubeconfig, "", fmt.Sprintf("namespaces: [%s]", ns))
	web := service(ns, "web", hostnameKey, "ports.apps.test")
	web.Spec.Ports = []corev1.ServicePort{{Name: "https", Port: 443, TargetPort: intstr.FromInt32(8443), AppProtocol: ptr("https")}}
	c.create(t, web)
	pods := slice(ns, "web", "web-1", discoveryv1.AddressTypeIPv6, "fd00::1", "fd00::2")
	pods.Ports = []discoveryv1.EndpointPort{{Name: ptr("https"), Port: ptr(int32(8443)), Protocol: ptr(corev1.ProtocolTCP), AppProtocol: ptr("https")}}
	c.create(t, pods)

	const srv, host = "_https._tcp.ports.apps.test.", "ports.apps.test."
	expect := func(name string, qtype uint16, want ...string) {
		t.Helper()
		untilNil(t, func() error {
			m, err := i.ask(name, qtype)
			if err != nil {
				return err
			}
			var got []string
			for _, rr := range m.Answer {
				got = append(got, strings.TrimPrefix(rr.String(), rr.Header().String()))
			}
			if m.Rcode != dns.RcodeSuccess || strings.Join(got, "\n") != strings.Join(want, "\n") {
				return fmt.Errorf("%s %s is %s %q, want %q", name, dns.Type(qtype), dns.RcodeToString[m.Rcode], got, want)
			}
			return nil
		})
	}
	expect(srv, dns.TypeSRV, "0 0 8443 ports.apps.test.")
	expect(host, dns.TypeHTTPS, `1 . alpn="h2,http/1.1" port="8443" ipv6hint="fd00::1,fd00::2"`)
	expect(host, dns.TypeSVCB)
	pods.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: ptr(false), Serving: ptr(true), Terminating: ptr(true)}
	c.update(t, pods)
	expect(host, dns.TypeHTTPS, `1 . alpn="h2,http/1.1" port="8443" ipv6hint="fd00::2"`)
	pods.Endpoints[1].Conditions.Ready = ptr(false)
	c.update(t, pods)
	expect(host, dns.TypeHTTPS, `1 . alpn="h2,http/1.1" port="8443" ipv6hint="fd00::1"`) // the last resort
	i.await(t, host, dns.TypeAAAA, "fd00::1")
	pods.Endpoints = pods.Endpoints[1:]
	c.update(t, pods)
	expect(host, dns.TypeHTTPS)
	expect(srv, dns.TypeSRV)
	i.await(t, host, dns.TypeAAAA, "NODATA")

	if m := regexp.MustCompile(`(?m)^dnsingress_publish_duration_seconds_count\{kind="Service"\} (\d+)$`).FindStringSubmatch(i.metrics(t)); m == nil || m[1] < "4" {
		t.Errorf("changes from received to served: %s", m)
	}
}
