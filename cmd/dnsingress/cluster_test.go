// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
)

// kubeVersion is what tools/kubernetes builds.
const kubeVersion = "v1.35.4"

// cluster is a real etcd and kube-apiserver.
type cluster struct {
	t          testing.TB // logs go here: the libraries' loggers are global and outlive a subtest
	env        *envtest.Environment
	admin      client.Client
	log        logLines
	kubeconfig string // of dnsingress's service account, with the rights that deploy/ gives it
	auditLog   string // what it asked of the API server
	namespaces int
}

// kubeBinaries returns the directory with etcd and kube-apiserver, or ends the test.
func kubeBinaries(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("KUBE_BIN_DIR")
	if dir == "" {
		cache := os.Getenv("TESTBED_CACHE_DIR")
		if cache == "" {
			user, err := os.UserCacheDir()
			if err != nil {
				t.Fatal(err)
			}
			cache = filepath.Join(user, "dnsingress")
		}
		dir = filepath.Join(cache, "kubernetes", kubeVersion)
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			text := fmt.Sprintf("NOT TESTED against a real API server: %v (hint: `testbed bundle --only kubernetes` builds it, KUBE_BIN_DIR says where it is)", err)
			if os.Getenv("CI") == "true" {
				t.Fatal(text)
			}
			t.Skip(text)
		}
	}
	return dir
}

func startCluster(t testing.TB) *cluster {
	t.Helper()
	dir := kubeBinaries(t)
	c := &cluster{t: t, env: &envtest.Environment{
		BinaryAssetsDirectory:    dir,
		ControlPlaneStartTimeout: 2 * time.Minute,
		ControlPlaneStopTimeout:  3 * time.Second, // then SIGKILL: with a watch open it would take a minute
	}}
	api := c.env.ControlPlane.GetAPIServer()
	api.CertDir = t.TempDir() // kept while the API server is away
	api.Configure().Set("watch-cache", "true")
	auditing, auditLog := audited(t)
	c.auditLog = auditLog
	api.Configure().Set("audit-policy-file", auditing).Set("audit-log-path", auditLog)
	cfg, err := c.env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.env.Stop(); err != nil {
			t.Log(err)
		}
	})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme, rbacv1.AddToScheme, coordinationv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	if c.admin, err = client.New(cfg, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	c.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "dnsingress"}})
	rbac, err := os.ReadFile("../../deploy/dnsingress/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for doc := range bytes.SplitSeq(rbac, []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatal(err)
		}
		o, err := scheme.New(kind.GroupVersionKind())
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(doc, o); err != nil {
			t.Fatal(err)
		}
		c.create(t, o.(client.Object))
	}
	user, err := c.env.AddUser(envtest.User{
		Name: "system:serviceaccount:dnsingress:dnsingress", Groups: []string{"system:serviceaccounts", "system:authenticated"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	c.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(c.kubeconfig, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// stop and start the API server; etcd keeps running.
func (c *cluster) stopAPI(t testing.TB) {
	t.Helper()
	api := c.env.ControlPlane.GetAPIServer()
	if err := api.Stop(); err != nil {
		t.Log(err) // it was killed
	}
	untilNil(t, func() error {
		conn, err := net.Dial("tcp", net.JoinHostPort(api.SecureServing.Address, api.SecureServing.Port))
		if err != nil {
			return nil
		}
		conn.Close()
		return errors.New("the API server still listens")
	})
}

func (c *cluster) startAPI(t testing.TB) {
	t.Helper()
	api := c.env.ControlPlane.GetAPIServer()
	//lint:ignore SA1019 Configure only adds: without this the arguments of the first start are there twice
	api.Args = nil
	if err := api.Start(); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) create(t testing.TB, o client.Object) {
	t.Helper()
	if err := c.admin.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// update writes o over what is there, also where a status was written meanwhile.
func (c *cluster) update(t testing.TB, o client.Object) {
	t.Helper()
	untilNil(t, func() error {
		err := c.admin.Update(t.Context(), o)
		if !apierrors.IsConflict(err) {
			if err != nil {
				t.Fatal(err)
			}
			return nil
		}
		now := o.DeepCopyObject().(client.Object)
		if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(o), now); err != nil {
			t.Fatal(err)
		}
		o.SetResourceVersion(now.GetResourceVersion())
		return err
	})
}

func (c *cluster) delete(t testing.TB, o client.Object) {
	t.Helper()
	if err := c.admin.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// namespace makes a new one.
func (c *cluster) namespace(t testing.TB) string {
	t.Helper()
	c.namespaces++
	name := fmt.Sprintf("test-%d", c.namespaces)
	c.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	return name
}

const hostnameKey = "external-dns.kubernetes.io/hostname"

// service makes a headless Service with annotations key, value, key, value...
func service(namespace, name string, annotations ...string) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{}},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	for i := 0; i < len(annotations); i += 2 {
		s.Annotations[annotations[i]] = annotations[i+1]
	}
	return s
}

// slice makes an EndpointSlice of a Service: one endpoint an address, ready, with pods named SERVICE-0 and so on.
func slice(namespace, service, name string, family discoveryv1.AddressType, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
			Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().UTC().Format(time.RFC3339Nano)},
		},
		AddressType: family,
	}
	for i, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{a}, NodeName: ptr("worker-1"),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr(true), Serving: ptr(true), Terminating: ptr(false)},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: fmt.Sprintf("%s-%d", service, i)},
		})
	}
	return s
}

func ptr[T any](v T) *T { return &v }

// instance is a running `dnsingress run`.
type instance struct {
	*daemon
	stop func() error // SIGTERM, and wait for the end
}

// run starts dnsingress on ports of the system's choice with more configuration at the top level, and waits until
// it is ready.
func (c *cluster) run(t testing.TB, more string) *instance {
	t.Helper()
	return c.runWith(t, c.kubeconfig, more)
}

// runWith is run by another way to the API server and with more configuration of kubernetes.
func (c *cluster) runWith(t testing.TB, kubeconfig, more string, kubernetes ...string) *instance {
	t.Helper()
	i := c.launchWith(t, kubeconfig, more, kubernetes...)
	select {
	case <-i.engine.Ready():
	case <-time.After(time.Minute):
		t.Fatal("not ready after a minute")
	}
	return i
}

// launch starts dnsingress and waits only until it listens.
func (c *cluster) launch(t testing.TB, more string) *instance {
	t.Helper()
	return c.launchWith(t, c.kubeconfig, more)
}

func (c *cluster) launchWith(t testing.TB, kubeconfig, more string, kubernetes ...string) *instance {
	t.Helper()
	if !strings.Contains(more, "lameDuck") {
		more += "\nlameDuck: 0s"
	}
	text := fmt.Sprintf(`zones:
  - origin: apps.test
    nameservers: [{name: ns1.apps.test, addresses: ["fd6e:7369:0:1::11"]}]
    maxAnswers: 0
listen: ["[::1]:0"]
admin: "[::1]:0"
kubernetes: {%s}
%s`, strings.Join(append([]string{fmt.Sprintf("kubeconfig: %q", kubeconfig)}, slices.DeleteFunc(kubernetes, func(s string) bool { return s == "" })...), ", "), more)
	return c.configured(t, text)
}

// configured starts dnsingress with a whole configuration and waits only until it listens.
func (c *cluster) configured(t testing.TB, text string) *instance {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d, err := assemble(cfg, slog.New(slog.NewTextHandler(io.MultiWriter(testWriter{c.t}, &c.log), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx) }()
	stopped := false
	i := &instance{daemon: d, stop: func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}}
	t.Cleanup(func() {
		if err := i.stop(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-d.dns.Ready():
	case err := <-done:
		stopped = true
		t.Fatal(err)
	}
	return i
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

// logLines keeps what was logged.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

// count says how many lines contain text.
func (l *logLines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// ask queries over UDP.
func (i *instance) ask(name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	c := dns.Client{Timeout: 5 * time.Second}
	r, _, err := c.Exchange(m, i.dns.Addrs()[0].String())
	return r, err
}

// addresses are those in the answer, in order, or what the answer is instead.
func (i *instance) addresses(name string, qtype uint16) string {
	r, err := i.ask(name, qtype)
	if err != nil {
		return err.Error()
	}
	if r.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[r.Rcode]
	}
	if !r.Authoritative {
		return "not authoritative"
	}
	if len(r.Answer) == 0 {
		if len(r.Ns) != 1 || r.Ns[0].Header().Rrtype != dns.TypeSOA {
			return "no SOA"
		}
		return "NODATA"
	}
	var out []netip.Addr
	for _, rr := range r.Answer {
		switch rr := rr.(type) {
		case *dns.AAAA:
			a, _ := netip.AddrFromSlice(rr.AAAA)
			out = append(out, a)
		case *dns.A:
			a, _ := netip.AddrFromSlice(rr.A.To4())
			out = append(out, a)
		default:
			return rr.String()
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return strings.Trim(fmt.Sprint(out), "[]")
}

// await returns when the answer is want.
func (i *instance) await(t testing.TB, name string, qtype uint16, want string) {
	t.Helper()
	var got string
	untilNil(t, func() error {
		if got = i.addresses(name, qtype); got != want {
			return fmt.Errorf("%s %s is %q, want %q", name, dns.TypeToString[qtype], got, want)
		}
		return nil
	})
}

// untilNil asks again and again until there is no error: what is observed from outside raises no event.
func untilNil(t testing.TB, try func() error) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

// awaitEvent returns when the object has a warning event with the reason, whose message it returns.
func (c *cluster) awaitEvent(t testing.TB, o client.Object, reason string) string {
	t.Helper()
	var message string
	untilNil(t, func() error {
		var events corev1.EventList
		if err := c.admin.List(t.Context(), &events, client.InNamespace(o.GetNamespace())); err != nil {
			return err
		}
		var seen []string
		for _, e := range events.Items {
			if e.InvolvedObject.Name == o.GetName() && e.Reason == reason && e.Type == corev1.EventTypeWarning {
				if e.InvolvedObject.UID != o.GetUID() {
					return errors.New("the event is of another object of that name")
				}
				message = e.Message
				return nil
			}
			seen = append(seen, e.Reason)
		}
		return fmt.Errorf("%s has no event %s, only %v", o.GetName(), reason, seen)
	})
	return message
}
