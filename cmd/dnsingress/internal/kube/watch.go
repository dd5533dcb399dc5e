// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
)

// watches are the kinds that are watched: those that may publish something from the start, others from the first time
// on that a translation asks for one. A kind that a CustomResourceDefinition makes is watched while there is one.
type watches struct {
	cache     cache.Cache
	discovery discovery.ServerResourcesInterface
	kinds     map[objects.Name]objects.Kind
	events    watchEvents
	log       *slog.Logger
	queue     workqueue.TypedRateLimitingInterface[objects.Name]

	mu      sync.Mutex
	wanted  map[objects.Name]bool
	watched map[objects.Name]toolscache.ResourceEventHandlerRegistration
	defined map[string]bool            // definitions of custom kinds, by PLURAL.GROUP
	denied  map[objects.Name]time.Time // kinds that the API server refuses to give, since when
	missing map[objects.Name]bool      // kinds that cannot be had
}

// watchEvents are what watches tell of.
type watchEvents interface {
	put(kind objects.Name, o client.Object, now time.Time)
	drop(kind objects.Name, namespace, name string, now time.Time)
	clear(kind objects.Name, now time.Time)
}

// How long after a definition was seen its kind is looked for, again and again, and how often where definitions
// cannot be had.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 30 * time.Second
	blindLook = 5 * time.Minute
	looks     = 12

	// deniedFor is how long a kind has to be refused to be taken for one that cannot be had. An API server that has
	// just started refuses for a while what it will give.
	deniedFor = 10 * time.Second
)

func definition() *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(definitions().WithKind("CustomResourceDefinition"))
	return o
}

func definitions() schema.GroupVersion {
	return schema.GroupVersion{Group: "apiextensions.k8s.io", Version: "v1"}
}

// stripDefinition keeps the name alone.
func stripDefinition(o any) (any, error) {
	if d, ok := o.(*metav1.PartialObjectMetadata); ok {
		out := definition()
		out.Name, out.UID, out.ResourceVersion = d.Name, d.UID, d.ResourceVersion
		return out, nil
	}
	return o, nil
}

// definedBy is the name of the definition that makes a kind.
func definedBy(k objects.Kind) string { return k.Resource + "." + k.Version.Group }

// begin watches the definitions.
func (w *watches) begin(ctx context.Context) error {
	informer, err := w.cache.GetInformer(ctx, definition(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching CustomResourceDefinitions: %w", err)
	}
	note := func(o any, there bool) {
		if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		d, ok := o.(*metav1.PartialObjectMetadata)
		if !ok {
			return
		}
		w.mu.Lock()
		if w.defined[d.Name] = there; !there {
			delete(w.defined, d.Name)
		}
		w.mu.Unlock()
		for _, k := range w.kinds {
			if k.Custom && definedBy(k) == d.Name {
				w.queue.Forget(k.Name)
				w.queue.Add(k.Name)
			}
		}
	}
	handler, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { note(o, true) }, UpdateFunc: func(_, o any) { note(o, true) }, DeleteFunc: func(o any) { note(o, false) },
	})
	if err != nil {
		return fmt.Errorf("watching CustomResourceDefinitions: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched[definitionKind] = handler
	return nil
}

// definitionKind stands for definitions among the kinds that are watched.
const definitionKind objects.Name = "CustomResourceDefinition"

// want has a kind watched.
func (w *watches) want(kind objects.Name) {
	w.mu.Lock()
	news := !w.wanted[kind]
	w.wanted[kind] = true
	w.mu.Unlock()
	if news {
		w.queue.Add(kind)
	}
}

// run begins and ends watches until ctx ends.
func (w *watches) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, w.queue.ShutDown)
	defer stop()
	for {
		kind, ending := w.queue.Get()
		if ending {
			return
		}
		switch err := w.look(ctx, w.kinds[kind]); {
		case err == nil:
			w.queue.Forget(kind)
		case errors.Is(err, errUndecided):
			w.queue.AddAfter(kind, firstLook)
		case errors.Is(err, errNotServed) && !w.sees():
			w.queue.AddAfter(kind, blindLook)
		case errors.Is(err, errNotServed) && w.queue.NumRequeues(kind) < looks:
			w.queue.AddRateLimited(kind)
		case errors.Is(err, errNotServed): // until its definition changes
			w.log.Warn("a kind is not served in the version that is read; all others count (hint: update its CustomResourceDefinition)",
				"kind", kind, "version", w.kinds[kind].Version.String())
		case ctx.Err() == nil:
			w.log.Warn("looking for a kind in the API server", "kind", kind, "error", err)
			w.queue.AddRateLimited(kind)
		}
		w.queue.Done(kind)
	}
}

// Why a kind is not watched yet.
var (
	errUndecided = errors.New("kube: it is not known yet which kinds are defined")
	errNotServed = errors.New("kube: the API server does not answer for the kind")
)

// look begins or ends the watch of a kind.
func (w *watches) look(ctx context.Context, k objects.Kind) error {
	w.mu.Lock()
	wanted, watched := w.wanted[k.Name], w.watched[k.Name] != nil
	sees := w.watched[definitionKind].HasSynced()
	blind := !sees && w.missing[definitionKind]
	decided, defined := sees || blind || !k.Custom, blind || !k.Custom || w.defined[definedBy(k)]
	w.mu.Unlock()
	switch {
	case watched && !defined:
		if err := w.cache.RemoveInformer(ctx, k.New()); err != nil {
			return fmt.Errorf("ending the watch: %w", err)
		}
		w.mu.Lock()
		delete(w.watched, k.Name)
		w.missing[k.Name] = true
		w.mu.Unlock()
		w.events.clear(k.Name, time.Now())
		w.log.Info("the kind is gone, with all its objects", "kind", k.Name)
		return nil
	case !wanted || watched:
		return nil
	case !decided:
		return errUndecided
	case !defined:
		w.miss(k.Name)
		return nil
	}
	if k.Custom {
		switch served, err := w.served(k); {
		case err != nil:
			return err
		case !served:
			w.miss(k.Name)
			return errNotServed
		}
	}
	return w.watch(ctx, k)
}

// served reports whether the API server answers for the kind in the version that is read.
func (w *watches) served(k objects.Kind) (bool, error) {
	list, err := w.discovery.ServerResourcesForGroupVersion(k.Version.String())
	if err != nil {
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return false, nil
		}
		return false, err
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == k.Resource }), nil
}

func (w *watches) watch(ctx context.Context, k objects.Kind) error {
	informer, err := w.cache.GetInformer(ctx, k.New(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("beginning a watch: %w", err)
	}
	put := func(o any) {
		now := time.Now()
		if o, ok := o.(client.Object); ok {
			w.events.put(k.Name, o, now)
		}
	}
	handler, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: put, UpdateFunc: func(_, o any) { put(o) },
		DeleteFunc: func(o any) {
			now := time.Now()
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			if o, ok := o.(client.Object); ok {
				w.events.drop(k.Name, o.GetNamespace(), o.GetName(), now)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("beginning a watch: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched[k.Name] = handler
	delete(w.missing, k.Name)
	return nil
}

// miss notes that a kind cannot be had, and reports whether that is news.
func (w *watches) miss(kind objects.Name) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := !w.missing[kind]
	w.missing[kind] = true
	return news
}

// sees reports whether definitions can be had.
func (w *watches) sees() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watched[definitionKind].HasSynced() || !w.missing[definitionKind]
}

// known reports whether all objects of a wanted kind have been told of, or none are to be had.
func (w *watches) known(kind objects.Name) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	handler := w.watched[kind]
	return w.missing[kind] || handler != nil && handler.HasSynced()
}

// unknown are the wanted kinds that are not known by others.
func (w *watches) unknown(known func(objects.Name) bool) []objects.Name {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []objects.Name
	for kind := range w.wanted {
		if !known(kind) {
			out = append(out, kind)
		}
	}
	slices.Sort(out)
	return out
}

// absent are the wanted kinds that cannot be had.
func (w *watches) absent() []objects.Name {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.missing))
}

// failed takes the error of a watch. The informer tries again by itself.
func (w *watches) failed(description string, err error) {
	kind := w.described(description)
	refused := apierrors.IsForbidden(err) || apierrors.IsNotFound(err)
	// Without Services and their endpoints nothing can be said of what there is.
	if kind == "" || !refused || kind == objects.Service || kind == objects.EndpointSlice {
		w.log.Warn("watching the API server; the last state stays", "kind", description, "error", err)
		return
	}
	w.mu.Lock()
	since, known := w.denied[kind]
	if handler := w.watched[kind]; !known || handler != nil && handler.HasSynced() {
		since = time.Now()
		w.denied[kind] = since
	}
	w.mu.Unlock()
	if time.Since(since) >= deniedFor && w.miss(kind) {
		w.log.Warn("a kind is not to be had; all others count (hint: deploy/dnsingress/rbac.yaml)", "kind", kind, "error", err)
	}
}

// described is the kind that a watch describes itself with; empty: none that is known.
func (w *watches) described(description string) objects.Name {
	if strings.Contains(description, string(definitionKind)) || strings.Contains(description, "PartialObjectMetadata") {
		return definitionKind
	}
	name := objects.Name(description[strings.LastIndexByte(description, '.')+1:])
	if _, ok := w.kinds[name]; ok {
		return name
	}
	return ""
}

// mapper knows the kinds that are used, so that no discovery is needed and the start survives a missing API server.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	add := func(v schema.GroupVersion, kind, resource string, cluster bool) {
		scope := meta.RESTScopeNamespace
		if cluster {
			scope = meta.RESTScopeRoot
		}
		m.AddSpecific(v.WithKind(kind), v.WithResource(resource), v.WithResource(strings.ToLower(kind)), scope)
	}
	for _, k := range objects.Kinds() {
		add(k.Version, string(k.Name), k.Resource, k.Cluster)
	}
	add(schema.GroupVersion{Version: "v1"}, "Event", "events", false)
	add(schema.GroupVersion{Group: "coordination.k8s.io", Version: "v1"}, "Lease", "leases", false)
	add(definitions(), string(definitionKind), "customresourcedefinitions", true)
	return m
}

// keepLabels leaves o those labels that a filter of its kind asks for, where Keep took them away.
func keepLabels(o client.Object, all map[string]string, by labels.Selector) {
	if by == nil {
		return
	}
	requirements, _ := by.Requirements()
	kept := o.GetLabels()
	for _, r := range requirements {
		if v, ok := all[r.Key()]; ok && kept[r.Key()] != v {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[r.Key()] = v
		}
	}
	o.SetLabels(kept)
}
