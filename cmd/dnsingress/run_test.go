// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestCluster runs dnsingress against a real etcd and kube-apiserver and asks it over UDP.
func TestCluster(t *testing.T) {
	c := startCluster(t)
	t.Run("answers", func(t *testing.T) { testAnswers(t, c) })
	t.Run("names", func(t *testing.T) { testNames(t, c) })
	t.Run("suffixes", func(t *testing.T) { testSuffixes(t, c) })
	t.Run("ports", func(t *testing.T) { testPorts(t, c) })
	t.Run("service status", func(t *testing.T) { testServiceStatus(t, c) })
	t.Run("drain", func(t *testing.T) { testDrain(t, c) })
	t.Run("policy", func(t *testing.T) { testPolicy(t, c) })
	t.Run("prometheus away", func(t *testing.T) { testPrometheusAway(t, c) })
	t.Run("real prometheus", func(t *testing.T) { testRealPrometheus(t, c) })
	t.Run("admin", func(t *testing.T) { testAdmin(t, c) })
	t.Run("steering policies", func(t *testing.T) { testSteeringPolicies(t, c) })
	t.Run("definitions", func(t *testing.T) { testDefinitions(t, c) })
	t.Run("filters", func(t *testing.T) { testFilters(t, c) })
	t.Run("deleted meanwhile", func(t *testing.T) { testDeletedMeanwhile(t, c) })
	t.Run("watches end", func(t *testing.T) { testWatchesEnd(t, c) })
	t.Run("one writes", func(t *testing.T) { testOneWrites(t, c) })
	t.Run("quiet", func(t *testing.T) { testQuiet(t, c) })
	t.Run("disconnected", func(t *testing.T) { testDisconnected(t, c) })
	t.Run("API server away", func(t *testing.T) { testAPIAway(t, c) })
	t.Run("objects", func(t *testing.T) { testObjects(t, c) })
	t.Run("kuadrant", func(t *testing.T) { testKuadrant(t, c) })
	t.Run("webhook", func(t *testing.T) { testWebhook(t, c) })
	t.Run("zones", func(t *testing.T) { testZones(t, c) })
	t.Run("tree", func(t *testing.T) { testTree(t, c) })
	t.Run("peers", func(t *testing.T) { testPeerIdentity(t, c) })
	t.Run("rights", func(t *testing.T) { testRights(t, c) })
	t.Run("deploy", func(t *testing.T) { testDeploy(t, c) })
}

func testAnswers(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	before := service(ns, "before", hostnameKey, "before.apps.test")
	c.create(t, before)
	c.create(t, slice(ns, "before", "before-1", discoveryv1.AddressTypeIPv6, "fd00::b"))
	i := c.run(t, "")
	// Ready means that what was there before is answered: no waiting here.
	if got := i.addresses("before.apps.test.", dns.TypeAAAA); got != "fd00::b" {
		t.Errorf("first answer after ready is %q", got)
	}
	if got := i.addresses("web.apps.test.", dns.TypeAAAA); got != "NXDOMAIN" {
		t.Errorf("unknown name: %q", got)
	}

	svc := service(ns, "web", hostnameKey, "web.apps.test, WWW.apps.test.", "external-dns.kubernetes.io/ttl", "7")
	c.create(t, svc)
	i.await(t, "web.apps.test.", dns.TypeAAAA, "NODATA")
	six := slice(ns, "web", "web-six", discoveryv1.AddressTypeIPv6, "fd00::1", "fd00::2", "fd00::3")
	c.create(t, six)
	i.await(t, "web.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2 fd00::3")
	i.await(t, "www.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2 fd00::3")
	i.await(t, "web.apps.test.", dns.TypeA, "NODATA")
	if r, err := i.ask("web.apps.test.", dns.TypeAAAA); err != nil || r.Answer[0].Header().Ttl != 7 {
		t.Errorf("ttl of %v, %v", r, err)
	}
	four := slice(ns, "web", "web-four", discoveryv1.AddressTypeIPv4, "10.1.2.3")
	c.create(t, four)
	i.await(t, "web.apps.test.", dns.TypeA, "10.1.2.3")

	serial := func() uint32 {
		r, err := i.ask("apps.test.", dns.TypeSOA)
		if err != nil {
			t.Fatal(err)
		}
		return r.Answer[0].(*dns.SOA).Serial
	}
	old := serial()
	six.Endpoints[0].Conditions.Ready, six.Endpoints[0].Conditions.Serving = ptr(false), ptr(false)
	c.update(t, six)
	i.await(t, "web.apps.test.", dns.TypeAAAA, "fd00::2 fd00::3")
	if now := serial(); now-old == 0 || now-old > 1<<31 {
		t.Errorf("serial went from %d to %d", old, now)
	}
	six.Endpoints[1].Conditions = discoveryv1.EndpointConditions{Ready: ptr(false), Serving: ptr(true), Terminating: ptr(true)}
	c.update(t, six)
	i.await(t, "web.apps.test.", dns.TypeAAAA, "fd00::3")
	six.Endpoints[2].Conditions.Ready, six.Endpoints[2].Conditions.Serving = ptr(false), ptr(false)
	c.update(t, six)
	c.delete(t, four)
	// The one that is terminating and still serves is the last resort.
	i.await(t, "web.apps.test.", dns.TypeAAAA, "fd00::2")
	i.await(t, "web.apps.test.", dns.TypeA, "NODATA")
	c.delete(t, six)
	i.await(t, "web.apps.test.", dns.TypeAAAA, "NODATA")

	svc.Annotations[hostnameKey] = "web.apps.test"
	c.update(t, svc)
	i.await(t, "www.apps.test.", dns.TypeAAAA, "NXDOMAIN")
	i.await(t, "web.apps.test.", dns.TypeAAAA, "NODATA")
	c.delete(t, svc)
	i.await(t, "web.apps.test.", dns.TypeAAAA, "NXDOMAIN")

	odd := service(ns, "odd", "external-dns.alpha.kubernetes.io/hostname", "odd.apps.test")
	odd.Spec.PublishNotReadyAddresses = true
	c.create(t, odd)
	unready := slice(ns, "odd", "odd-1", discoveryv1.AddressTypeIPv6, "fd00::9")
	unready.Endpoints[0].Conditions.Ready = ptr(false)
	c.create(t, unready)
	i.await(t, "odd.apps.test.", dns.TypeAAAA, "fd00::9")
	// A slice that is given to another Service leaves the old one.
	heir := service(ns, "heir", hostnameKey, "heir.apps.test")
	c.create(t, heir)
	unready.Labels[discoveryv1.LabelServiceName] = "heir"
	unready.Endpoints[0].Conditions.Ready = ptr(true)
	c.update(t, unready)
	i.await(t, "heir.apps.test.", dns.TypeAAAA, "fd00::9")
	i.await(t, "odd.apps.test.", dns.TypeAAAA, "NODATA")
	odd.Annotations["external-dns.alpha.kubernetes.io/controller"] = "somebody-else"
	c.update(t, odd)
	i.await(t, "odd.apps.test.", dns.TypeAAAA, "NXDOMAIN")

	for name, want := range map[string]string{"ns1.apps.test.": "fd6e:7369:0:1::11", "elsewhere.test.": "REFUSED", "apps.test.": "NODATA"} {
		if got := i.addresses(name, dns.TypeAAAA); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func testNames(t *testing.T, c *cluster) {
	ns, other := c.namespace(t), c.namespace(t)
	i := c.run(t, "")
	first := service(ns, "first", hostnameKey, "shop.apps.test")
	c.create(t, first)
	c.create(t, slice(ns, "first", "first-1", discoveryv1.AddressTypeIPv6, "fd00::1"))
	i.await(t, "shop.apps.test.", dns.TypeAAAA, "fd00::1")

	// Of objects of the same second the lesser namespace and name is first: "test-…" after the other's.
	second := service(other, "second", hostnameKey, "shop.apps.test,mine.apps.test")
	c.create(t, second)
	c.create(t, slice(other, "second", "second-1", discoveryv1.AddressTypeIPv6, "fd00::2"))
	i.await(t, "mine.apps.test.", dns.TypeAAAA, "fd00::2")
	if got := i.addresses("shop.apps.test.", dns.TypeAAAA); got != "fd00::1" {
		t.Errorf("the name was taken over: %q", got)
	}
	if m := c.awaitEvent(t, second, "NameTaken"); !strings.Contains(m, "Service "+ns+"/first") {
		t.Errorf("event %q", m)
	}
	c.delete(t, first)
	i.await(t, "shop.apps.test.", dns.TypeAAAA, "fd00::2")

	bad := service(ns, "bad", hostnameKey, "-x-.apps.test,good.apps.test,outside.example.org,ns1.apps.test",
		"external-dns.kubernetes.io/ttl", "soon", "dnsingress.dev/keep", "8", "dnsingress.dev/promql", "sum by (")
	c.create(t, bad)
	c.create(t, slice(ns, "bad", "bad-1", discoveryv1.AddressTypeIPv6, "fd00::3"))
	i.await(t, "good.apps.test.", dns.TypeAAAA, "fd00::3")
	for reason, want := range map[string]string{
		"InvalidHostname": `"-x-.apps.test" is no host name`,
		"OutsideZones":    "outside.example.org. is in no zone",
		"ReservedName":    "ns1.apps.test. belongs to the zone",
		"InvalidTTL":      `"soon" is no TTL`,
		"InvalidPolicy":   "1:9: parse error",
	} {
		if m := c.awaitEvent(t, bad, reason); !strings.Contains(m, want) {
			t.Errorf("event %s: %q, want %q", reason, m, want)
		}
	}
	if got := i.addresses("ns1.apps.test.", dns.TypeAAAA); got != "fd6e:7369:0:1::11" {
		t.Errorf("the nameserver's address is %q", got)
	}

	// Another replica sees the same and writes no event of its own.
	c.run(t, "").await(t, "good.apps.test.", dns.TypeAAAA, "fd00::3")
	third := service(ns, "third", hostnameKey, "third.example.org")
	c.create(t, third)
	c.awaitEvent(t, third, "OutsideZones")
	var events corev1.EventList
	if err := c.admin.List(t.Context(), &events, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, e := range events.Items {
		count[e.InvolvedObject.Name+" "+e.Reason]++
	}
	for what, n := range count {
		if n != 1 {
			t.Errorf("%d events %s", n, what)
		}
	}
}

// metric is a Prometheus that knows one instant vector, in the real API's form.
type metric struct {
	mu     sync.Mutex
	values map[string]string // by pod
	asked  chan struct{}     // a query has been answered
	*httptest.Server
}

func newMetric(t *testing.T) *metric {
	m := &metric{values: map[string]string{}, asked: make(chan struct{}, 1)}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *metric) set(values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.values)
	for i := 0; i < len(values); i += 2 {
		m.values[values[i]] = values[i+1]
	}
}

// awaitQuestion waits for the next answer to a query.
func (m *metric) awaitQuestion(t testing.TB) {
	t.Helper()
	select {
	case <-m.asked:
	case <-time.After(time.Minute):
		t.Fatal("no query for a minute")
	}
}

func (m *metric) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := r.FormValue("time")
	if r.URL.Path != "/api/v1/query" || r.FormValue("query") == "" {
		http.NotFound(w, r)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	type series struct {
		Metric map[string]string `json:"metric"`
		Value  [2]any            `json:"value"`
	}
	result := []series{}
	for pod, v := range m.values {
		result = append(result, series{map[string]string{"pod": pod}, [2]any{json.Number(at), v}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
	select {
	case m.asked <- struct{}{}:
	default:
	}
}

func (m *metric) config(staleness string) string {
	return fmt.Sprintf("prometheus: {urls: [%q], interval: 100ms, staleness: %s, firstPass: 30s}", m.URL, staleness)
}

// steered are the annotations of a Service whose pods are kept while expr is below 8, without the default guards, which
// would only make tests slow.
func steered(host, expr string, more ...string) []string {
	return append([]string{
		hostnameKey, host, "dnsingress.dev/promql", expr, "dnsingress.dev/keep", "< 8", "dnsingress.dev/votes", "1", "dnsingress.dev/hold", "0s",
		"dnsingress.dev/max-step", "100%", "dnsingress.dev/max-out", "100%", "dnsingress.dev/min-share", "0%",
	}, more...)
}

func testPolicy(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	m := newMetric(t)
	m.set("web-0", "1", "web-1", "9")
	svc := service(ns, "web", steered("policy.apps.test", "load", "dnsingress.dev/readmit", "< 6")...)
	c.create(t, svc)
	c.create(t, slice(ns, "web", "web-1", discoveryv1.AddressTypeIPv6, "fd00::1", "fd00::2", "fd00::3"))
	i := c.run(t, m.config("1m"))
	// Ready means that the first values have been heard, too. The third pod has none and stays.
	if got := i.addresses("policy.apps.test.", dns.TypeAAAA); got != "fd00::1 fd00::3" {
		t.Errorf("first answer after ready is %q", got)
	}
	m.set("web-0", "1", "web-1", "7", "web-2", "8")
	i.await(t, "policy.apps.test.", dns.TypeAAAA, "fd00::1")
	m.set("web-0", "7.9", "web-1", "5", "web-2", "6")
	i.await(t, "policy.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2")
	m.set("web-0", "9", "web-1", "10", "web-2", "11")
	i.await(t, "policy.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2 fd00::3") // fail open
	m.set("web-0", "1", "web-1", "10", "web-2", "1")
	i.await(t, "policy.apps.test.", dns.TypeAAAA, "fd00::1 fd00::3")
	m.set("web-0", "9", "web-1", "1", "web-2", "NaN") // what was last known of it stands
	i.await(t, "policy.apps.test.", dns.TypeAAAA, "fd00::2 fd00::3")

	// A policy that cannot be read leaves the last good one.
	svc.Annotations["dnsingress.dev/keep"] = "under 20"
	c.update(t, svc)
	c.awaitEvent(t, svc, "InvalidPolicy")
	m.set("web-0", "1", "web-1", "9", "web-2", "1")
	i.await(t, "policy.apps.test.", dns.TypeAAAA, "fd00::1 fd00::3")
	svc.Annotations["dnsingress.dev/keep"], svc.Annotations["dnsingress.dev/readmit"] = "< 20", "< 15"
	c.update(t, svc)
	i.await(t, "policy.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2 fd00::3")

	// A series without a pod is no reason to do anything but to say so.
	svc.Annotations["dnsingress.dev/no-data"] = "drop"
	c.update(t, svc)
	m.set("", "30")
	c.awaitEvent(t, svc, "UselessMetric")
	i.await(t, "policy.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2 fd00::3")
	for k := range svc.Annotations {
		if strings.HasPrefix(k, "dnsingress.dev/") {
			delete(svc.Annotations, k)
		}
	}
	c.update(t, svc)
	untilNil(t, func() error {
		if x, ok := i.engine.Explain("policy.apps.test"); !ok || x.Policy != nil || len(x.Problems) > 0 {
			return fmt.Errorf("explained as %+v", x)
		}
		return nil
	})
}

func testPrometheusAway(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	m := newMetric(t)
	m.set("web-0", "1", "web-1", "9")
	c.create(t, service(ns, "web", steered("away.apps.test", "load")...))
	pods := slice(ns, "web", "web-1", discoveryv1.AddressTypeIPv6, "fd00::1", "fd00::2", "fd00::3")
	c.create(t, pods)
	const staleness = 10 * time.Second // long, beside what a busy machine needs for the steps below
	i := c.run(t, m.config(staleness.String()))
	i.await(t, "away.apps.test.", dns.TypeAAAA, "fd00::1 fd00::3")
	stopped := time.Now()
	m.Close()
	untilNil(t, func() error {
		if x, _ := i.engine.Explain("away.apps.test"); x.Policy == nil || x.Policy.Error == "" {
			return fmt.Errorf("no evaluation has failed yet: %+v", x.Policy)
		}
		return nil
	})
	// The last values count, and readiness goes on.
	pods.Endpoints[2].Conditions.Ready = ptr(false)
	c.update(t, pods)
	i.await(t, "away.apps.test.", dns.TypeAAAA, "fd00::1")
	if err := i.ready(); err != nil {
		t.Errorf("unready without Prometheus: %v", err)
	}
	// When they are stale, readiness is all that counts.
	i.await(t, "away.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2")
	if took := time.Since(stopped); took < staleness/2 {
		t.Errorf("the values were dropped after %v", took)
	}
	x, _ := i.engine.Explain("away.apps.test")
	if x.Members[1].Reason != "no-signal" || x.Members[2].Reason != "not-ready" {
		t.Errorf("explained as %+v", x.Members)
	}

	// Without Prometheus from the start, the wait for it is bounded.
	cold := c.run(t, fmt.Sprintf("prometheus: {urls: [%q], interval: 100ms, firstPass: 300ms}", m.URL))
	if got := cold.addresses("away.apps.test.", dns.TypeAAAA); got != "fd00::1 fd00::2" {
		t.Errorf("cold start without Prometheus: %q", got)
	}
}

func testAdmin(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	m := newMetric(t)
	m.set("web-0", "1", "web-1", "9")
	c.create(t, service(ns, "web", steered("admin.apps.test", "load")...))
	i := c.run(t, m.config("1m")+"\nlameDuck: 3s")
	pods := slice(ns, "web", "web-1", discoveryv1.AddressTypeIPv6, "fd00::1", "fd00::2")
	pods.Annotations[corev1.EndpointsLastChangeTriggerTime] = time.Now().UTC().Add(time.Second).Format(time.RFC3339Nano)
	c.create(t, pods)
	i.await(t, "admin.apps.test.", dns.TypeAAAA, "fd00::1")
	base := "http://" + i.admin.Addr().String()
	get := func(path string) (int, string) {
		r, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/explain": 200, "/explain?name=admin.apps.test": 200, "/explain?name=x.apps.test": 404, "/other": 404,
	} {
		if got, body := get(path); got != want {
			t.Errorf("%s: %d, want %d: %s", path, got, want, body)
		}
	}
	_, metrics := get("/metrics")
	for _, want := range []string{
		fmt.Sprintf(`dnsingress_pool_members{kind="Service",name="web",namespace=%q,part="",reason="beyond",state="out"} 1`, ns),
		fmt.Sprintf(`dnsingress_signal_age_seconds{kind="Service",name="web",namespace=%q,part="",signal=""}`, ns),
		`dnsingress_pool_decisions_total{reason="beyond",state="out"}`,
		`dnsingress_promql_evaluations_total{outcome="ok"}`,
		`dnsingress_promql_evaluation_duration_seconds_count`,
		`dnsingress_kubernetes_dns_programming_duration_seconds_count{kind="Service"} 1`,
		`dnsingress_publish_duration_seconds_count{kind="Service"}`,
		`dnsingress_config_info{`,
		`dnsingress_zone_serial{zone="apps.test."}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	var out strings.Builder
	explain := command(nil, &out, io.Discard)
	explain.SetArgs([]string{"explain", "Admin.apps.test", "--admin", base})
	if err := explain.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"admin.apps.test.  Service " + ns + "/web  zone apps.test.", "ttl 5s by pool", "keep < 8", "ADDRESS", "fd00::2", "web-1", "worker-1", "out", "beyond", "9"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("explain does not say %q:\n%s", want, out.String())
		}
	}

	// SIGTERM: not ready at once, answers for the lame-duck time.
	ended := make(chan error, 1)
	go func() { ended <- i.stop() }()
	<-i.ending
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "ending") {
		t.Errorf("/readyz while ending: %d %s", code, body)
	}
	if got := i.addresses("admin.apps.test.", dns.TypeAAAA); got != "fd00::1" {
		t.Errorf("answer while ending: %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := i.ask("admin.apps.test.", dns.TypeAAAA); err == nil {
		t.Error("an answer after the end")
	}
}

func testAPIAway(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.create(t, service(ns, "stay", hostnameKey, "stay.apps.test"))
	gone := service(ns, "gone", hostnameKey, "gone.apps.test")
	c.create(t, gone)
	pods := slice(ns, "stay", "stay-1", discoveryv1.AddressTypeIPv6, "fd00::1", "fd00::2")
	c.create(t, pods)
	c.create(t, slice(ns, "gone", "gone-1", discoveryv1.AddressTypeIPv6, "fd00::3"))
	i := c.run(t, "")
	i.await(t, "stay.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2")
	i.await(t, "gone.apps.test.", dns.TypeAAAA, "fd00::3")
	end := i.witness(t, "stay.apps.test.", "fd00::1 fd00::2")
	c.stopAPI(t)
	late := c.launch(t, "")
	if long() {
		select {
		case <-t.Context().Done():
		case <-time.After(5 * time.Minute):
		}
	}
	if got := i.addresses("stay.apps.test.", dns.TypeAAAA); got != "fd00::1 fd00::2" {
		t.Errorf("without the API server: %q", got)
	}
	if err := i.ready(); err != nil {
		t.Errorf("unready without the API server: %v", err)
	}
	// One that starts now refuses, which sends resolvers elsewhere, until it knows.
	if got := late.addresses("stay.apps.test.", dns.TypeAAAA); got != "REFUSED" || late.ready() == nil {
		t.Errorf("started without the API server: %q, ready: %v", got, late.ready())
	}
	c.startAPI(t)
	if got := i.addresses("gone.apps.test.", dns.TypeAAAA); got != "fd00::3" {
		t.Errorf("after the API server's return: %q", got)
	}
	// What changes after the return is heard.
	untilNil(t, func() error {
		return c.admin.Get(t.Context(), client.ObjectKeyFromObject(pods), pods)
	})
	end()
	pods.Endpoints = pods.Endpoints[:1]
	c.update(t, pods)
	began := time.Now()
	if err := c.admin.Delete(t.Context(), gone, &client.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &gone.UID}}); err != nil {
		t.Fatal(err)
	}
	i.await(t, "stay.apps.test.", dns.TypeAAAA, "fd00::1")
	i.await(t, "gone.apps.test.", dns.TypeAAAA, "NXDOMAIN")
	t.Logf("what changed after the API server's return was answered %v later", time.Since(began).Round(time.Millisecond))
	late.await(t, "stay.apps.test.", dns.TypeAAAA, "fd00::1")
}
