// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// ourKinds are the definitions that are installed with dnsingress.
const ourKinds = "../../deploy/dnsingress/crd.yaml"

// long says whether tests take the time that people would.
func long() bool { return os.Getenv("KUBE_LONG") != "" }

// relay passes connections on to the API server until it is cut.
type relay struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

// relayed gives a kubeconfig like the cluster's whose server is a relay.
func relayed(t testing.TB, c *cluster) (*relay, string) {
	t.Helper()
	api := c.env.ControlPlane.GetAPIServer()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, to: net.JoinHostPort(api.SecureServing.Address, api.SecureServing.Port), conns: map[net.Conn]bool{}}
	t.Cleanup(func() { listener.Close(); r.set(true) })
	go r.run()
	data, err := os.ReadFile(c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte(r.to), []byte(listener.Addr().String())), 0o600); err != nil {
		t.Fatal(err)
	}
	return r, path
}

func (r *relay) run() {
	for {
		from, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.pass(from)
	}
}

func (r *relay) pass(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer to.Close()
	r.mu.Lock()
	if r.cut {
		r.mu.Unlock()
		return
	}
	r.conns[from], r.conns[to] = true, true
	r.mu.Unlock()
	go func() {
		_, _ = io.Copy(to, from)
		to.Close()
	}()
	_, _ = io.Copy(from, to)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, from)
	delete(r.conns, to)
}

// set cuts all connections, and lets new ones through or not.
func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	for c := range r.conns {
		c.Close()
	}
}

// witness asks for a name again and again until it is ended, and counts the answers that are other than want.
func (i *instance) witness(t testing.TB, name, want string) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	asked, wrong := 0, map[string]int{}
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			asked++
			if got := i.addresses(name, dns.TypeAAAA); got != want {
				wrong[got]++
			}
		}
	}()
	return func() {
		t.Helper()
		cancel()
		<-done
		if asked == 0 || len(wrong) > 0 {
			t.Errorf("%s was asked for %d times; answers other than %s: %v", name, asked, want, wrong)
		}
		t.Logf("%s was asked for %d times without a wrong answer", name, asked)
	}
}

// compact has etcd forget all that was before now.
func (c *cluster) compact(t testing.TB) {
	t.Helper()
	call := func(path, body string, out any) {
		r, err := http.Post(c.env.ControlPlane.Etcd.URL.String()+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		data, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s %v", path, r.Status, data, err)
		}
		if err := json.Unmarshal(data, out); err != nil {
			t.Fatal(err)
		}
	}
	var answer struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	call("/v3/kv/range", `{"key":"AA=="}`, &answer)
	revision, err := strconv.ParseInt(answer.Header.Revision, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	call("/v3/kv/compaction", fmt.Sprintf(`{"revision":"%d","physical":true}`, revision), &struct{}{})
}

// hosts of the tests below: those that stay, change, go, and come.
func (c *cluster) people(t testing.TB, ns string) (changes *discoveryv1.EndpointSlice, gone *corev1.Service) {
	t.Helper()
	c.create(t, service(ns, "stays", hostnameKey, "stays."+ns+".apps.test"))
	c.create(t, slice(ns, "stays", "stays-1", discoveryv1.AddressTypeIPv6, "fd00::1"))
	c.create(t, service(ns, "changes", hostnameKey, "changes."+ns+".apps.test"))
	changes = slice(ns, "changes", "changes-1", discoveryv1.AddressTypeIPv6, "fd00::2", "fd00::3")
	c.create(t, changes)
	gone = service(ns, "goes", hostnameKey, "goes."+ns+".apps.test")
	c.create(t, gone)
	c.create(t, slice(ns, "goes", "goes-1", discoveryv1.AddressTypeIPv6, "fd00::4"))
	return changes, gone
}

// change has the hosts change, go, and come.
func (c *cluster) change(t testing.TB, changes *discoveryv1.EndpointSlice, gone *corev1.Service) {
	t.Helper()
	changes.Endpoints = changes.Endpoints[:1]
	c.update(t, changes)
	c.delete(t, gone)
	ns := gone.Namespace
	c.create(t, service(ns, "comes", hostnameKey, "comes."+ns+".apps.test"))
	c.create(t, slice(ns, "comes", "comes-1", discoveryv1.AddressTypeIPv6, "fd00::5"))
}

// changed waits until all that change did is answered.
func (i *instance) changed(t testing.TB, ns string) {
	t.Helper()
	i.await(t, "changes."+ns+".apps.test.", dns.TypeAAAA, "fd00::2")
	i.await(t, "goes."+ns+".apps.test.", dns.TypeAAAA, "NXDOMAIN")
	i.await(t, "comes."+ns+".apps.test.", dns.TypeAAAA, "fd00::5")
	i.await(t, "stays."+ns+".apps.test.", dns.TypeAAAA, "fd00::1")
}

// testDisconnected: what happened while dnsingress could not reach the API server is caught up with, whether the API
// server still knows the way there or not.
func testDisconnected(t *testing.T, c *cluster) {
	for _, forgotten := range []bool{false, true} {
		t.Run(fmt.Sprintf("forgotten=%t", forgotten), func(t *testing.T) {
			ns := c.namespace(t)
			changes, gone := c.people(t, ns)
			r, kubeconfig := relayed(t, c)
			i := c.runWith(t, kubeconfig, "")
			end := i.witness(t, "stays."+ns+".apps.test.", "fd00::1")
			r.set(true)
			c.change(t, changes, gone)
			if forgotten { // neither etcd nor the watch cache has what the watches would resume from
				c.compact(t)
				c.stopAPI(t)
				c.startAPI(t)
			}
			// The last good state stays.
			for name, want := range map[string]string{"changes": "fd00::2 fd00::3", "goes": "fd00::4", "comes": "NXDOMAIN"} {
				if got := i.addresses(name+"."+ns+".apps.test.", dns.TypeAAAA); got != want {
					t.Errorf("%s while cut off: %q, want %q", name, got, want)
				}
			}
			r.set(false)
			i.changed(t, ns)
			end()
		})
	}
}

// testWatchesEnd: connections that break, again and again, lose nothing.
func testWatchesEnd(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	changes, gone := c.people(t, ns)
	r, kubeconfig := relayed(t, c)
	i := c.runWith(t, kubeconfig, "")
	end := i.witness(t, "stays."+ns+".apps.test.", "fd00::1")
	for n := range 2 {
		r.set(false)
		a := fmt.Sprintf("fd00::2:%d", n)
		changes.Endpoints[0].Addresses = []string{a}
		c.update(t, changes)
		i.await(t, "changes."+ns+".apps.test.", dns.TypeAAAA, "fd00::3 "+a)
	}
	changes.Endpoints[0].Addresses = []string{"fd00::2"}
	r.set(false)
	c.change(t, changes, gone)
	i.changed(t, ns)
	end()
}

// testDeletedMeanwhile: what was deleted while dnsingress was down is not there after its start.
func testDeletedMeanwhile(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	changes, gone := c.people(t, ns)
	i := c.run(t, "")
	i.await(t, "goes."+ns+".apps.test.", dns.TypeAAAA, "fd00::4")
	if err := i.stop(); err != nil {
		t.Fatal(err)
	}
	c.change(t, changes, gone)
	again := c.run(t, "")
	for name, want := range map[string]string{"changes": "fd00::2", "goes": "NXDOMAIN", "comes": "fd00::5", "stays": "fd00::1"} {
		if got := again.addresses(name+"."+ns+".apps.test.", dns.TypeAAAA); got != want { // the first answer is right
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// testQuiet: replicas that have nothing to do ask the API server for nothing and write nothing.
func testQuiet(t *testing.T, c *cluster) {
	quiet := 3 * time.Second
	if long() {
		quiet = 10 * time.Minute
	}
	c.define(t, ourKinds)
	ns := c.namespace(t)
	c.people(t, ns)
	c.create(t, service(ns, "bad", hostnameKey, "-x-.apps.test", "external-dns.kubernetes.io/ttl", "soon"))
	p := steering(ns, "quiet", "< 8", "stays")
	c.create(t, p)
	m := newMetric(t)
	m.set("stays-0", "1")
	for range 2 {
		c.run(t, m.config("1m"))
	}
	c.awaitConditions(t, p, "Accepted=True/Accepted Applied=True/Applied")
	before := c.awaitQuiet(t, 4*time.Second)
	select {
	case <-t.Context().Done():
	case <-time.After(quiet):
	}
	watches := 0
	for _, r := range c.requests(t)[before:] {
		if r.Verb == "watch" && long() { // each lives for 5 to 10 minutes
			watches++
			continue
		}
		t.Errorf("in the steady state: %s", r)
	}
	t.Logf("two replicas made %d requests in %v, all of them watches that began anew", watches, quiet)
	var lease coordinationv1.Lease
	if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: "dnsingress", Name: "dnsingress-status"}, &lease); err != nil {
		t.Fatal(err)
	}
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" {
		t.Errorf("%s holds the Lease and has nothing to write", *holder)
	}
}

// testOneWrites: of two replicas one writes each status, once, and the other alone when that one is gone.
func testOneWrites(t *testing.T, c *cluster) {
	c.define(t, ourKinds)
	ns := c.namespace(t)
	c.people(t, ns)
	replicas := []*instance{c.run(t, ""), c.run(t, "")}
	writes := func(name string) (n int) {
		for _, r := range c.requests(t) {
			if r.ObjectRef.Resource == "steeringpolicies" && r.ObjectRef.Name == name && r.Verb == "patch" && r.ResponseStatus.Code == 200 {
				n++
			}
		}
		return n
	}
	for n, i := range replicas {
		p := steering(ns, fmt.Sprintf("one-%d", n), "< 8", "nowhere")
		c.create(t, p)
		c.awaitConditions(t, p, "Accepted=True/Accepted Applied=False/TargetNotFound")
		c.awaitQuiet(t, 2*time.Second)
		if got := writes(p.Name); got != 1 {
			t.Errorf("%d replicas wrote the status %d times", len(replicas)-n, got)
		}
		if err := i.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// testDefinitions: a kind that comes, goes and comes again does not disturb the others.
func testDefinitions(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.people(t, ns)
	i := c.run(t, "")
	end := i.witness(t, "stays."+ns+".apps.test.", "fd00::1")
	steered := func(want bool) {
		t.Helper()
		untilNil(t, func() error {
			if x, ok := i.engine.Explain("stays." + ns + ".apps.test"); !ok || (x.Policy != nil) != want {
				return fmt.Errorf("explained as %+v", x)
			}
			return nil
		})
	}
	for range 2 {
		c.define(t, ourKinds)
		p := steering(ns, "comes", "< 8", "stays")
		untilNil(t, func() error { return client.IgnoreAlreadyExists(c.admin.Create(t.Context(), p.DeepCopy())) })
		steered(true)
		c.undefine(t, ourKinds)
		steered(false)
		i.await(t, "changes."+ns+".apps.test.", dns.TypeAAAA, "fd00::2 fd00::3")
	}
	c.define(t, ourKinds)
	end()
}

// testFilters: kinds, namespaces and labels that are switched off publish nothing.
func testFilters(t *testing.T, c *cluster) {
	ns, other := c.namespace(t), c.namespace(t)
	c.people(t, ns)
	c.people(t, other)
	labelled := service(ns, "labelled", hostnameKey, "labelled."+ns+".apps.test")
	labelled.Labels = map[string]string{"team": "shop", "tier": "web"}
	c.create(t, labelled)
	c.create(t, slice(ns, "labelled", "labelled-1", discoveryv1.AddressTypeIPv6, "fd00::6"))
	for _, x := range []struct{ config, stays, labelled, other string }{
		{"", "fd00::1", "fd00::6", "fd00::1"},
		{"sources: {services: {enabled: false}}", "NXDOMAIN", "NXDOMAIN", "NXDOMAIN"},
		{"sources: {services: {namespaces: [" + ns + "]}}", "fd00::1", "fd00::6", "NXDOMAIN"},
		{"namespaces: [" + ns + "]", "fd00::1", "fd00::6", "NXDOMAIN"},
		{"namespaces: [" + ns + ", " + other + "]", "fd00::1", "fd00::6", "fd00::1"},
		{`sources: {services: {labels: "team in (shop),tier!=db"}}`, "NXDOMAIN", "fd00::6", "NXDOMAIN"},
	} {
		i := c.runWith(t, c.kubeconfig, "", x.config)
		for name, want := range map[string]string{"stays." + ns: x.stays, "labelled." + ns: x.labelled, "stays." + other: x.other} {
			if got := i.addresses(name+".apps.test.", dns.TypeAAAA); got != want {
				t.Errorf("%s: %s is %q, want %q", x.config, name, got, want)
			}
		}
		if strings.Contains(x.config, "labels") { // what loses its label leaves, what gets it comes
			labelled.Labels = nil
			c.update(t, labelled)
			i.await(t, "labelled."+ns+".apps.test.", dns.TypeAAAA, "NXDOMAIN")
			labelled.Labels = map[string]string{"team": "shop"}
			c.update(t, labelled)
			i.await(t, "labelled."+ns+".apps.test.", dns.TypeAAAA, "fd00::6")
		}
		if err := i.stop(); err != nil {
			t.Error(err)
		}
	}
}

// define has the API server know the kinds of a file.
func (c *cluster) define(t testing.TB, path string) {
	t.Helper()
	if _, err := envtest.InstallCRDs(c.env.Config, envtest.CRDInstallOptions{Paths: []string{path}, ErrorIfPathMissing: true}); err != nil {
		t.Fatal(err)
	}
}

// undefine has it forget them, with all their objects.
func (c *cluster) undefine(t testing.TB, path string) {
	t.Helper()
	options := envtest.CRDInstallOptions{Paths: []string{path}, ErrorIfPathMissing: true}
	if err := envtest.ReadCRDFiles(&options); err != nil {
		t.Fatal(err)
	}
	if err := envtest.UninstallCRDs(c.env.Config, options); err != nil {
		t.Fatal(err)
	}
	for _, d := range options.CRDs {
		untilNil(t, func() error {
			list := &metav1.PartialObjectMetadataList{}
			list.SetGroupVersionKind(schema.GroupVersionKind{Group: d.Spec.Group, Version: d.Spec.Versions[0].Name, Kind: d.Spec.Names.ListKind})
			if err := c.admin.List(t.Context(), list); err == nil {
				return fmt.Errorf("%s is still there", d.Name)
			}
			return nil
		})
	}
}
