// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// graph holds the objects, what each publishes and what its translation asked for, so that a change costs the
// translation of those objects alone that it may concern. A reference to an object has no Part here.
type graph struct {
	settings *objects.Settings
	kinds    map[objects.Name]objects.Kind
	filters  map[objects.Name]filter

	mu      sync.Mutex
	store   *objects.Store
	nodes   map[model.Ref]*node
	readers map[question][]*node
	dirty   map[model.Ref]dirt
	known   map[objects.Name]bool // kinds of which all objects are here, or of which there are none to be had
	held    map[model.Ref]dirt    // objects whose translation asked for others
	wanted  map[objects.Name]bool // those kinds
	indexed map[objects.Index]objects.Name
}

// filter says which objects of a kind publish anything.
type filter struct {
	off        bool
	namespaces []string // nil: all
	labels     labels.Selector
}

// node is an object whose translation asked, published or found something.
type node struct {
	ref      model.Ref
	asked    []question // sorted, distinct
	parts    []string   // that it publishes
	steered  []objects.Steered
	problems []objects.PartProblem
	outcome  any
}

// question is one that a translation asked its View.
type question struct {
	of              string // a kind or an index
	namespace, name string // of an index: no namespace, and the key
}

func (q question) compare(o question) int {
	return cmp.Or(strings.Compare(q.of, o.of), strings.Compare(q.namespace, o.namespace), strings.Compare(q.name, o.name))
}

// dirt is why an object is to be translated.
type dirt struct {
	since time.Time // the first news of it
	self  bool      // the object itself has changed, not only what it refers to
}

// news is what a translation gives: what the sink and those who write statuses should know.
type news struct {
	updates  []model.Update
	statuses []model.Ref                         // objects whose status should be looked at
	gone     []model.Ref                         // objects that are not there any more or publish nothing
	problems map[model.Ref][]objects.PartProblem // of objects as a whole, where these have changed
}

func newGraph(settings *objects.Settings, filters map[objects.Name]filter) *graph {
	g := &graph{
		settings: settings, filters: filters, kinds: map[objects.Name]objects.Kind{}, store: objects.NewStore(),
		nodes: map[model.Ref]*node{}, readers: map[question][]*node{}, dirty: map[model.Ref]dirt{},
		known: map[objects.Name]bool{}, held: map[model.Ref]dirt{}, wanted: map[objects.Name]bool{}, indexed: map[objects.Index]objects.Name{},
	}
	for _, i := range objects.Indexes() {
		g.indexed[i.Index] = i.Kind
	}
	for _, k := range objects.Kinds() {
		g.kinds[k.Name] = k
	}
	return g
}

// put takes the newest state of an object, drop that it is gone.
func (g *graph) put(kind objects.Name, o client.Object, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.read(kind, o) {
		g.replaced(kind, g.store.Delete(kind, o.GetNamespace(), o.GetName()), nil, now)
		return
	}
	g.replaced(kind, g.store.Put(kind, o), o, now)
}

func (g *graph) drop(kind objects.Name, namespace, name string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.replaced(kind, g.store.Delete(kind, namespace, name), nil, now)
}

// clear takes away all objects of a kind.
func (g *graph) clear(kind objects.Name, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.store.All(kind) {
		g.replaced(kind, g.store.Delete(kind, o.GetNamespace(), o.GetName()), nil, now)
	}
}

// learn notes that all objects of a kind are here, or that there are none to be had. What waited for that is translated.
func (g *graph) learn(kind objects.Name) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known[kind] {
		return
	}
	g.known[kind] = true
	delete(g.wanted, kind)
	for ref, why := range g.held {
		g.soil(ref, why)
	}
	clear(g.held)
}

// knows reports whether a kind was learned.
func (g *graph) knows(kind objects.Name) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known[kind]
}

// first are the kinds to watch from the start: those whose objects may publish anything, and what Services ask for,
// which are many.
func (g *graph) first() []objects.Name {
	var out []objects.Name
	for name, k := range g.kinds {
		if k.Translate != nil && !g.filters[name].off {
			out = append(out, name)
		}
	}
	if slices.Contains(out, objects.Service) {
		out = append(out, objects.EndpointSlice, objects.SteeringPolicy)
	}
	slices.Sort(out)
	return out
}

// wants gives the kinds that translations wait for.
func (g *graph) wants() []objects.Name {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.wanted))
}

// hold keeps an object as it is while something that its translation asked for is not known yet: the answer "there is
// none" would be wrong.
func (g *graph) hold(ref model.Ref, why dirt, asked []question) bool {
	waiting := false
	for _, q := range asked {
		kind, isIndex := g.indexed[objects.Index(q.of)]
		if !isIndex {
			kind = objects.Name(q.of)
		}
		if !g.known[kind] {
			g.wanted[kind], waiting = true, true
		}
	}
	if waiting {
		g.held[ref] = why
	}
	return waiting
}

// read reports whether translations may see the object. Backends count also where nothing is published by themselves.
func (g *graph) read(kind objects.Name, o client.Object) bool {
	return g.kinds[kind].Backend || g.counts(kind, o)
}

// counts reports whether the object may publish anything.
func (g *graph) counts(kind objects.Name, o client.Object) bool {
	f := g.filters[kind]
	return !f.off && (f.namespaces == nil || slices.Contains(f.namespaces, o.GetNamespace())) && (f.labels == nil || f.labels.Matches(labels.Set(o.GetLabels())))
}

// replaced notes who asked for what has changed.
func (g *graph) replaced(kind objects.Name, old, now client.Object, at time.Time) {
	o := now
	if o == nil {
		o = old
	}
	if o == nil || old != nil && now != nil && kind != objects.EndpointSlice && same(old, now) {
		return
	}
	if g.kinds[kind].Translate != nil || kind == objects.SteeringPolicy {
		g.soil(objects.Ref(o, kind, ""), dirt{since: at, self: true})
	}
	if kind == objects.SteeringPolicy && old != nil && now != nil && old.GetUID() == now.GetUID() && old.GetGeneration() == now.GetGeneration() {
		return // its status alone has changed
	}
	g.answered(question{string(kind), o.GetNamespace(), o.GetName()}, at)
	for _, i := range g.store.Indexes(kind) {
		var before []string
		if old != nil {
			before = i.Keys(old)
		}
		for _, key := range before {
			g.answered(question{of: string(i.Index), name: key}, at)
		}
		if now != nil {
			for _, key := range i.Keys(now) {
				if !slices.Contains(before, key) {
					g.answered(question{of: string(i.Index), name: key}, at)
				}
			}
		}
	}
}

// same reports whether nothing that was kept of an object has changed but its version, as when the informer repeats it.
func same(old, now client.Object) bool {
	if old.GetUID() != now.GetUID() {
		return false
	}
	a, b := reflect.ValueOf(old).Elem(), reflect.New(reflect.TypeOf(now).Elem())
	b.Elem().Set(reflect.ValueOf(now).Elem())
	b.Interface().(client.Object).SetResourceVersion(old.GetResourceVersion())
	return equality.Semantic.DeepEqual(a.Interface(), b.Elem().Interface())
}

// answered has those translated who asked the question: the answer may be another now.
func (g *graph) answered(q question, at time.Time) {
	for _, n := range g.readers[q] {
		g.soil(n.ref, dirt{since: at})
	}
}

func (g *graph) soil(ref model.Ref, d dirt) {
	if old, ok := g.dirty[ref]; ok {
		d.since, d.self = old.since, d.self || old.self
	}
	g.dirty[ref] = d
}

// translate translates everything that changes may concern.
func (g *graph) translate() news {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := news{problems: map[model.Ref][]objects.PartProblem{}}
	dirty := g.dirty
	g.dirty = map[model.Ref]dirt{}
	refs := make([]model.Ref, 0, len(dirty))
	for ref := range dirty {
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, model.Ref.Compare) // all replicas say the same in the same order
	for _, ref := range refs {
		g.one(ref, dirty[ref], &x)
	}
	return x
}

// one translates an object.
func (g *graph) one(ref model.Ref, why dirt, x *news) {
	kind := g.kinds[objects.Name(ref.Kind)]
	o := g.store.Get(kind.Name, ref.Namespace, ref.Name)
	before := g.nodes[ref]
	if before == nil {
		before = &node{ref: ref}
	}
	if h, ok := g.held[ref]; ok {
		why.since, why.self = h.since, why.self || h.self
		delete(g.held, ref)
	}
	if kind.Name == objects.SteeringPolicy {
		if o != nil {
			x.statuses = append(x.statuses, ref)
		}
		return
	}
	now := &node{ref: ref}
	var result objects.Result
	if o != nil && g.counts(kind.Name, o) && kind.Translate != nil {
		view := &recorder{store: g.store}
		result = kind.Translate(o, view, g.settings)
		now.steered = objects.Steer(o, kind.Name, &result, view, g.settings)
		if now.asked = view.questions(); g.hold(ref, why, now.asked) {
			return
		}
	}
	now.outcome = result.Outcome
	for _, p := range result.Problems {
		now.problems = append(now.problems, objects.PartProblem{Problem: p})
	}
	whole := len(now.problems)
	for i := range result.Pools {
		pool := &result.Pools[i]
		x.updates = append(x.updates, model.Update{Ref: pool.Ref, Pool: pool, Triggered: result.Triggered, Received: why.since})
		now.parts = append(now.parts, pool.Ref.Part)
		for _, p := range pool.Problems {
			now.problems = append(now.problems, objects.PartProblem{Part: pool.Ref.Part, Problem: p})
		}
	}
	for _, part := range before.parts {
		if !slices.Contains(now.parts, part) {
			withdrawn := ref
			withdrawn.Part = part
			x.updates = append(x.updates, model.Update{Ref: withdrawn, Received: why.since})
		}
	}
	g.remember(before, now)
	if o == nil || len(now.parts) == 0 && len(now.problems) == 0 {
		x.gone = append(x.gone, ref)
	}
	if whole > 0 || len(before.problems) > 0 {
		x.problems[ref] = now.problems[:whole]
	}
	// Of very many nothing is ever said: what the sink finds wrong it tells the reporter.
	plain := kind.Plain != nil && o != nil && kind.Plain(o)
	if kind.Status != nil && (why.self && !plain || !slices.Equal(before.problems, now.problems) || !reflect.DeepEqual(before.outcome, now.outcome)) {
		x.statuses = append(x.statuses, ref)
	}
	x.statuses = append(x.statuses, g.policies(kind.Name, before, now, why)...)
}

// remember keeps a node in place of another, and who asks what.
func (g *graph) remember(before, now *node) {
	if len(now.asked) == 0 && len(now.parts) == 0 && len(now.problems) == 0 && now.outcome == nil {
		delete(g.nodes, now.ref)
	} else {
		g.nodes[now.ref] = now
	}
	for _, q := range before.asked {
		readers := g.readers[q]
		if i := slices.Index(readers, before); i >= 0 {
			if _, still := slices.BinarySearchFunc(now.asked, q, question.compare); still {
				readers[i] = now
				continue
			}
			if readers = slices.Delete(readers, i, i+1); len(readers) == 0 {
				delete(g.readers, q)
			} else {
				g.readers[q] = readers
			}
		}
	}
	for _, q := range now.asked {
		if _, already := slices.BinarySearchFunc(before.asked, q, question.compare); !already {
			g.readers[q] = append(g.readers[q], now)
		}
	}
}

// policies are those whose status may be another after an object was translated: they name it or a name that it
// publishes, or did.
func (g *graph) policies(kind objects.Name, before, now *node, why dirt) []model.Ref {
	var refs []model.Ref
	add := func(namespace, name string) {
		ref := model.Ref{Kind: string(objects.SteeringPolicy), Namespace: namespace, Name: name}
		if !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	if why.self {
		for _, o := range g.store.Find(objects.SteeringPoliciesTarget, string(kind)+"/"+objects.Key(now.ref.Namespace, now.ref.Name)) {
			add(o.GetNamespace(), o.GetName())
		}
	}
	if !why.self && slices.EqualFunc(before.steered, now.steered, objects.Steered.Equal) {
		return refs
	}
	for _, n := range []*node{before, now} {
		for _, s := range n.steered {
			for _, p := range s.Policies {
				add(p.Namespace, p.Name)
			}
		}
	}
	return refs
}

// policyOf is the policy that steers a pool; false: none does.
func (g *graph) policyOf(ref model.Ref) (model.Ref, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	part := ref.Part
	ref.Part = ""
	if n := g.nodes[ref]; n != nil {
		for _, s := range n.steered {
			if s.Part == part && len(s.Policies) > 0 {
				return model.Ref{Kind: string(objects.SteeringPolicy), Namespace: s.Policies[0].Namespace, Name: s.Policies[0].Name}, true
			}
		}
	}
	return model.Ref{}, false
}

// object gives an object with what its translation found; nil: it is not there.
func (g *graph) object(ref model.Ref) (o client.Object, outcome any, problems []objects.PartProblem) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o = g.store.Get(objects.Name(ref.Kind), ref.Namespace, ref.Name); o == nil {
		return nil, nil, nil
	}
	if n := g.nodes[ref]; n != nil {
		outcome, problems = n.outcome, n.problems
	}
	return o, outcome, problems
}

// recorder is a View that remembers what was asked.
type recorder struct {
	store *objects.Store
	asked []question
}

func (r *recorder) Get(kind objects.Name, namespace, name string) client.Object {
	r.asked = append(r.asked, question{string(kind), namespace, name})
	return r.store.Get(kind, namespace, name)
}

func (r *recorder) Find(index objects.Index, key string) []client.Object {
	r.asked = append(r.asked, question{of: string(index), name: key})
	return r.store.Find(index, key)
}

// questions are those that were asked, each once.
func (r *recorder) questions() []question {
	slices.SortFunc(r.asked, question.compare)
	return slices.Clone(slices.Compact(r.asked)) // no larger than it must be: it is kept
}

// target is what a policy is on.
type target struct {
	kind, name string
	pools      []steeredPool
	missing    string // why it cannot be steered; empty: it can
}

// steeredPool is one that a policy is on, and the policy that steers it.
type steeredPool struct {
	ref model.Ref
	by  *v1alpha1.SteeringPolicy
}

// targets lists what a policy is on: the objects that it names, and those that publish its host names.
func (g *graph) targets(o *v1alpha1.SteeringPolicy) []target {
	g.mu.Lock()
	defer g.mu.Unlock()
	var targets []target
	for _, ref := range o.Spec.TargetRefs {
		t := target{kind: ref.Kind, name: ref.Name}
		t.pools = g.steered(question{of: string(objects.SteeringPoliciesTarget), name: ref.Kind + "/" + objects.Key(o.Namespace, ref.Name)}, o)
		switch {
		case g.store.Get(objects.Name(ref.Kind), o.Namespace, ref.Name) == nil:
			t.missing = "there is no such " + ref.Kind
		case len(t.pools) == 0:
			t.missing = "the " + ref.Kind + " publishes no name"
		}
		targets = append(targets, t)
	}
	for i, key := range objects.PolicyHosts(o) {
		pools := g.steered(question{of: string(objects.SteeringPoliciesHost), name: key}, o)
		if len(pools) == 0 {
			targets = append(targets, target{kind: "Hostname", name: o.Spec.Hostnames[i], missing: "nothing in this namespace publishes it"})
		}
		for _, p := range pools {
			if !slices.ContainsFunc(targets, func(t target) bool { return t.kind == p.ref.Kind && t.name == p.ref.Name }) {
				targets = append(targets, target{kind: p.ref.Kind, name: p.ref.Name, pools: []steeredPool{p}})
			}
		}
	}
	slices.SortFunc(targets, func(a, b target) int { return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.kind, b.kind)) })
	return targets
}

// steered are the pools that asked the question and were told of the policy.
func (g *graph) steered(q question, o *v1alpha1.SteeringPolicy) []steeredPool {
	var pools []steeredPool
	for _, n := range g.readers[q] {
		for _, s := range n.steered {
			if slices.ContainsFunc(s.Policies, func(p *v1alpha1.SteeringPolicy) bool { return p.UID == o.UID }) {
				ref := n.ref
				ref.Part = s.Part
				pools = append(pools, steeredPool{ref, s.Policies[0]})
			}
		}
	}
	slices.SortFunc(pools, func(a, b steeredPool) int { return a.ref.Compare(b.ref) })
	return pools
}
