// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// world is a graph whose objects get versions as an API server gives them.
type world struct {
	*graph
	version int
}

func newWorld(filters map[objects.Name]filter) *world {
	w := &world{graph: newGraph(&objects.Settings{
		Prefixes: objects.Prefixes{Hostname: []string{"external-dns.kubernetes.io/"}, Policy: "dnsingress.dev/"},
		Check:    func(string) error { return nil }, Policies: &objects.Policies{}, Shared: objects.NewShared(),
	}, filters)}
	for kind := range w.kinds {
		w.learn(kind)
	}
	return w
}

func (w *world) set(kind objects.Name, o client.Object) {
	w.version++
	o.SetResourceVersion(fmt.Sprint(w.version))
	if o.GetUID() == "" {
		o.SetUID(types.UID(fmt.Sprintf("%s/%s/%s", kind, o.GetNamespace(), o.GetName())))
	}
	w.put(kind, w.kinds[kind].Keep(o, w.settings), time.Now())
}

// translated are the references of the updates that changes until now gave, those of what is withdrawn with a minus.
func (w *world) translated() string {
	var out []string
	for _, u := range w.translate().updates {
		sign := ""
		if u.Pool == nil {
			sign = "-"
		}
		part := strings.TrimSuffix("."+u.Ref.Part, ".")
		out = append(out, sign+u.Ref.Namespace+"/"+u.Ref.Name+part)
	}
	return strings.Join(out, " ")
}

func named(namespace, name string, annotations ...string) *corev1.Service {
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{}}}
	for i := 0; i < len(annotations); i += 2 {
		o.Annotations["external-dns.kubernetes.io/"+annotations[i]] = annotations[i+1]
	}
	return o
}

func sliceOf(namespace, service, name string, addresses ...string) *discoveryv1.EndpointSlice {
	o := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv6, ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
	}}
	for _, a := range addresses {
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return o
}

func policyOn(namespace, name string, generation int64, kind string, targets ...string) *v1alpha1.SteeringPolicy {
	o := &v1alpha1.SteeringPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: generation}}
	o.Spec.Signals = []v1alpha1.Signal{{Name: "load", Query: "load"}}
	o.Spec.Rules = []v1alpha1.Rule{{Signal: "load", Keep: "< 8"}}
	for _, t := range targets {
		if kind == "" {
			o.Spec.Hostnames = append(o.Spec.Hostnames, t)
		} else {
			o.Spec.TargetRefs = append(o.Spec.TargetRefs, v1alpha1.TargetRef{Kind: kind, Name: t})
		}
	}
	return o
}

func TestOnlyReadersAreTranslated(t *testing.T) {
	w := newWorld(nil)
	for i, step := range []struct {
		change func()
		want   string
	}{
		{func() { w.set(objects.Service, named("a", "plain")) }, ""},
		{func() { w.set(objects.EndpointSlice, sliceOf("a", "plain", "plain-1", "fd00::1")) }, ""},
		{func() { w.set(objects.Service, named("a", "web", "hostname", "web.test")) }, "a/web"},
		{func() { w.set(objects.Service, named("b", "web", "hostname", "b.test")) }, "b/web"},
		// What was not there when it was asked for, and comes.
		{func() { w.set(objects.EndpointSlice, sliceOf("a", "web", "web-1", "fd00::1")) }, "a/web"},
		{func() { w.set(objects.EndpointSlice, sliceOf("a", "web", "web-2", "fd00::2")) }, "a/web"},
		// Several at once are one.
		{func() {
			w.set(objects.EndpointSlice, sliceOf("a", "web", "web-1", "fd00::3"))
			w.set(objects.EndpointSlice, sliceOf("a", "web", "web-2", "fd00::4"))
			w.set(objects.EndpointSlice, sliceOf("b", "web", "web-1", "fd00::5"))
		}, "a/web b/web"},
		// A slice that is given to another Service concerns both.
		{func() { w.set(objects.Service, named("a", "heir", "hostname", "heir.test")) }, "a/heir"},
		{func() { w.set(objects.EndpointSlice, sliceOf("a", "heir", "web-2", "fd00::4")) }, "a/heir a/web"},
		{func() { w.drop(objects.EndpointSlice, "a", "web-2", time.Now()) }, "a/heir"},
		// Policies on a Service, on a name, and on nothing that is there.
		{func() { w.set(objects.SteeringPolicy, policyOn("a", "p", 1, "Service", "web", "later")) }, "a/web"},
		{func() { w.set(objects.SteeringPolicy, policyOn("a", "q", 1, "", "HEIR.test.", "b.test")) }, "a/heir"},
		{func() { w.set(objects.SteeringPolicy, policyOn("b", "p", 1, "Gateway", "web")) }, ""},
		{func() { w.set(objects.SteeringPolicy, policyOn("a", "p", 2, "Service", "later")) }, "a/web"},
		{func() { // its status alone
			p := policyOn("a", "q", 1, "", "HEIR.test.", "b.test")
			p.Status.ObservedGeneration = 1
			w.set(objects.SteeringPolicy, p)
		}, ""},
		{func() { w.set(objects.Service, named("a", "later", "hostname", "later.test")) }, "a/later"},
		{func() { w.drop(objects.SteeringPolicy, "a", "p", time.Now()) }, "a/later"},
		{func() { w.clear(objects.SteeringPolicy, time.Now()) }, "a/heir"},
		// What it is repeated with, or with a new version alone, changes nothing.
		{func() { w.set(objects.Service, named("a", "web", "hostname", "web.test")) }, ""},
		// Parts come and go, and with them the object.
		{func() {
			w.set(objects.Service, named("a", "web", "hostname", "web.test", "internal-hostname", "in.test"))
		}, "a/web a/web.internal"},
		{func() { w.set(objects.Service, named("a", "web", "internal-hostname", "in.test")) }, "a/web.internal -a/web"},
		{func() { w.set(objects.Service, named("a", "web")) }, "-a/web.internal"},
		{func() { w.set(objects.EndpointSlice, sliceOf("a", "web", "web-1", "fd00::9")) }, ""},
		{func() { w.drop(objects.Service, "b", "web", time.Now()) }, "-b/web"},
		{func() { w.drop(objects.Service, "b", "web", time.Now()) }, ""},
	} {
		step.change()
		if got := w.translated(); got != step.want {
			t.Errorf("step %d: translated %q, want %q", i, got, step.want)
		}
	}
	w.clear(objects.Service, time.Now())
	w.translated()
	if len(w.nodes) != 0 || len(w.readers) != 0 {
		t.Errorf("left over: %d nodes, %d questions", len(w.nodes), len(w.readers))
	}
}

// TestHalfKnownWorldIsNotTranslated: while it is not known which slices there are, a Service stays as it was.
func TestHalfKnownWorldIsNotTranslated(t *testing.T) {
	w := newWorld(nil)
	w.known = map[objects.Name]bool{objects.Service: true}
	w.set(objects.Service, named("a", "web", "hostname", "web.test"))
	if got := w.translated(); got != "" {
		t.Errorf("translated %q before its endpoints are known", got)
	}
	if got := w.wants(); !slices.Equal(got, []objects.Name{objects.EndpointSlice, objects.SteeringPolicy}) {
		t.Errorf("wants %v", got)
	}
	w.set(objects.EndpointSlice, sliceOf("a", "web", "web-1", "fd00::1"))
	w.learn(objects.EndpointSlice)
	if got := w.translated(); got != "" {
		t.Errorf("translated %q before its policies are known", got)
	}
	w.learn(objects.SteeringPolicy)
	if got := w.translated(); got != "a/web" || len(w.wants()) > 0 || len(w.held) > 0 {
		t.Errorf("translated %q, wants %v, holds %v", got, w.wants(), w.held)
	}
	w.known = map[objects.Name]bool{objects.Service: true}
	w.set(objects.Service, named("a", "gone", "hostname", "gone.test"))
	w.translated()
	w.drop(objects.Service, "a", "gone", time.Now())
	if got := w.translated(); got != "" || len(w.held) > 0 {
		t.Errorf("translated %q, holds %v", got, w.held)
	}
}

func TestFilters(t *testing.T) {
	selector, err := labels.Parse("team in (shop)")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(map[objects.Name]filter{objects.Service: {namespaces: []string{"a", "b"}, labels: selector}, objects.Ingress: {off: true}})
	if slices.Contains(w.first(), objects.Ingress) {
		t.Error("a kind that is off is watched")
	}
	labelled := func(namespace, team string) *corev1.Service {
		o := named(namespace, "web", "hostname", namespace+".test")
		o.Labels = map[string]string{"team": team, "other": "x"}
		return o
	}
	put := func(o *corev1.Service) {
		kept := w.kinds[objects.Service].Keep(o.DeepCopy(), w.settings)
		keepLabels(kept, o.Labels, selector)
		w.version++
		kept.SetResourceVersion(fmt.Sprint(w.version))
		w.put(objects.Service, kept, time.Now())
	}
	for _, step := range []struct {
		o    *corev1.Service
		want string
	}{{labelled("a", "shop"), "a/web"}, {labelled("c", "shop"), ""}, {labelled("b", "bank"), ""}, {labelled("b", "shop"), "b/web"}, {labelled("a", "bank"), "-a/web"}} {
		put(step.o)
		if got := w.translated(); got != step.want {
			t.Errorf("%s of %s: translated %q, want %q", step.o.Namespace, step.o.Labels["team"], got, step.want)
		}
	}
	// A backend is read whether it counts or not.
	if w.store.Get(objects.Service, "c", "web") == nil {
		t.Error("a Service that is filtered out is no backend")
	}
}

// TestGraphIsWhatAFreshOneWouldBe: after any changes, what is published is what a graph that was given the objects as
// they are now would publish.
func TestGraphIsWhatAFreshOneWouldBe(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	w := newWorld(nil)
	published := map[model.Ref]*model.Pool{}
	take := func(into map[model.Ref]*model.Pool, x news) {
		for _, u := range x.updates {
			if into[u.Ref] = u.Pool; u.Pool == nil {
				delete(into, u.Ref)
			}
		}
	}
	pick := func(names ...string) string { return names[r.IntN(len(names))] }
	for step := range 3000 {
		ns, name := pick("a", "b"), pick("x", "y", "z")
		switch r.IntN(7) {
		case 0:
			w.set(objects.Service, named(ns, name, "hostname", pick("x.test", "y.test,z.test"), "ttl", pick("5", "6")))
		case 1:
			w.set(objects.Service, named(ns, name, "internal-hostname", "in."+name+".test"))
		case 2, 3:
			w.set(objects.EndpointSlice, sliceOf(ns, name, name+pick("-1", "-2"), "fd00::"+pick("1", "2", "3")))
		case 4:
			w.drop(objects.EndpointSlice, ns, name+pick("-1", "-2"), time.Now())
		case 5:
			w.drop(objects.Service, ns, name, time.Now())
		case 6:
			p := policyOn(ns, pick("p", "q"), int64(step), pick("Service", ""), pick("x", "x.test", "y.test"))
			p.UID = types.UID(fmt.Sprint(step))
			p.CreationTimestamp = metav1.Unix(int64(r.IntN(3)), 0)
			if r.IntN(2) == 0 {
				w.set(objects.SteeringPolicy, p)
			} else {
				w.drop(objects.SteeringPolicy, ns, p.Name, time.Now())
			}
		}
		if r.IntN(3) == 0 {
			take(published, w.translate())
		}
	}
	take(published, w.translate())
	fresh, want := newWorld(nil), map[model.Ref]*model.Pool{}
	for _, kind := range []objects.Name{objects.Service, objects.EndpointSlice, objects.SteeringPolicy} {
		for _, o := range w.store.All(kind) {
			fresh.put(kind, o, time.Now())
		}
	}
	take(want, fresh.translate())
	if len(want) == 0 {
		t.Fatal("nothing is published")
	}
	if d := cmp.Diff(want, published, cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
		t.Error(d)
	}
	if len(fresh.readers) != len(w.readers) || len(fresh.nodes) != len(w.nodes) {
		t.Errorf("%d questions of %d nodes, want %d of %d", len(w.readers), len(w.nodes), len(fresh.readers), len(fresh.nodes))
	}
}

// BenchmarkOneOfMany is a slice of one of 10,000 Services of 10 endpoints that changes.
func BenchmarkOneOfMany(b *testing.B) {
	const services, endpoints = 10_000, 10
	w := newWorld(nil)
	slicesOf := make([]*discoveryv1.EndpointSlice, services)
	for i := range services {
		name := fmt.Sprintf("s%d", i)
		w.set(objects.Service, named("shop", name, "hostname", name+".test"))
		var addresses []string
		for j := range endpoints {
			addresses = append(addresses, fmt.Sprintf("fd00::%x:%x", i+1, j+1))
		}
		slicesOf[i] = sliceOf("shop", name, name, addresses...)
		w.set(objects.EndpointSlice, slicesOf[i])
	}
	if n := len(w.translate().updates); n != services {
		b.Fatalf("%d pools", n)
	}
	n := 0
	for b.Loop() {
		n++
		s := slicesOf[n*7919%services]
		w.set(objects.EndpointSlice, s)
		if len(w.translate().updates) != 1 {
			b.Fatal("not one pool")
		}
	}
}
