// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// awaitServiceCondition returns when a Service's condition has the status and reason, and gives its message.
func (c *cluster) awaitServiceCondition(t *testing.T, svc *corev1.Service, kind string, status metav1.ConditionStatus, reason string) string {
	t.Helper()
	var message string
	untilNil(t, func() error {
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(svc), svc); err != nil {
			return err
		}
		got := meta.FindStatusCondition(svc.Status.Conditions, kind)
		if got == nil || got.Status != status || got.Reason != reason {
			return fmt.Errorf("%s has the conditions %+v, want %s %s %s", svc.Name, svc.Status.Conditions, kind, status, reason)
		}
		message = got.Message
		return nil
	})
	return message
}

// metrics is what /metrics shows.
func (i *instance) metrics(t *testing.T) string {
	t.Helper()
	r, err := http.Get("http://" + i.admin.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// metric is the value of a line of /metrics.
func (i *instance) metric(t *testing.T, name string) string {
	t.Helper()
	for line := range strings.Lines(i.metrics(t)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "no metric " + name
}

// testServiceStatus has Services told what keeps them from being published, and where clients come to other ports.
func testServiceStatus(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	svc := service(ns, "web", hostnameKey, "unequal.apps.test")
	svc.Spec.Ports[0].TargetPort = intstr.FromInt32(8080)
	c.create(t, svc)
	fine := service(ns, "fine", hostnameKey, "fine.apps.test")
	c.create(t, fine)
	taken := service(ns, "z-taken", hostnameKey, "fine.apps.test")
	c.create(t, taken)
	i := c.run(t, "")
	i.await(t, "fine.apps.test.", dns.TypeAAAA, "NODATA")

	if got := c.awaitServiceCondition(t, svc, "dnsingress.dev/PortsMatch", metav1.ConditionFalse, "PortTranslated"); !strings.Contains(got, "port 80 is 8080 at the pods") {
		t.Errorf("the condition says %q", got)
	}
	if got := c.awaitEvent(t, svc, "PortTranslated"); !strings.Contains(got, "(hint: let the pods listen on port 80") {
		t.Errorf("the event says %q", got)
	}
	if got := c.awaitServiceCondition(t, taken, "dnsingress.dev/Published", metav1.ConditionFalse, "NameTaken"); !strings.Contains(got, "Service "+ns+"/fine") {
		t.Errorf("the condition says %q", got)
	}
	if got := c.awaitEvent(t, taken, "NameTaken"); !strings.Contains(got, "already published") {
		t.Errorf("the event says %q", got)
	}

	svc.Spec.Ports[0].TargetPort = intstr.FromInt32(80)
	c.update(t, svc)
	c.awaitServiceCondition(t, svc, "dnsingress.dev/PortsMatch", metav1.ConditionTrue, "PortsMatch")
	c.delete(t, fine)
	c.awaitServiceCondition(t, taken, "dnsingress.dev/Published", metav1.ConditionTrue, "Published")
	// A Service of which nothing is to be said is never written to.
	if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(svc), svc); err != nil {
		t.Fatal(err)
	}
	if meta.FindStatusCondition(svc.Status.Conditions, "dnsingress.dev/Published") != nil {
		t.Errorf("a Service that is well has the conditions %+v", svc.Status.Conditions)
	}
}

// testDrain has a terminating pod leave the answers at once, be the last resort where nobody else is, and told of when it
// is gone before answers with its address are.
func testDrain(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	svc := service(ns, "web", hostnameKey, "drain.apps.test", "external-dns.kubernetes.io/ttl", "1h")
	c.create(t, svc)
	pods := slice(ns, "web", "web-1", discoveryv1.AddressTypeIPv6, "fd00::1", "fd00::2")
	c.create(t, pods)
	i := c.run(t, "")
	i.await(t, "drain.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2")

	leave := func(n int, serving bool) {
		pods.Endpoints[n].Conditions = discoveryv1.EndpointConditions{Ready: ptr(false), Serving: &serving, Terminating: ptr(true)}
	}
	leave(0, true)
	c.update(t, pods)
	i.await(t, "drain.apps.test.", dns.TypeAAAA, "fd00::2")
	leave(1, true)
	c.update(t, pods)
	i.await(t, "drain.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2") // the last resort
	leave(0, false)
	c.update(t, pods)
	i.await(t, "drain.apps.test.", dns.TypeAAAA, "fd00::2")
	pods.Endpoints = pods.Endpoints[1:]
	c.update(t, pods)
	if got := c.awaitEvent(t, svc, "PodGoneEarly"); !strings.Contains(got, "pod web-0 (fd00::1) is gone too soon after it began to terminate: answers with its address are held for up to 1h0m0s") {
		t.Errorf("the event says %q", got)
	}
	if got := i.metric(t, `dnsingress_pods_gone_early_total{terminated="true"}`); got != "1" {
		t.Errorf("counted %s", got)
	}
	leave(0, false)
	c.update(t, pods)
	i.await(t, "drain.apps.test.", dns.TypeAAAA, "NODATA")
}
