// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// serviceIndex finds EndpointSlices by the Service that they belong to.
const serviceIndex = "service"

// loggers sets the libraries' own loggers, which would else print in formats of their own. They are global and must
// not be set again while a source runs.
var loggers sync.Once

// Sink takes what the source sees. Its methods must not block.
type Sink interface {
	// Apply gives the newest state of the objects that changed.
	Apply(updates []model.Update)
	// Synced says that all objects there were at the start have been given.
	Synced()
}

// Options of a Source.
type Options struct {
	Kubeconfig string // a file; empty: in-cluster, else the usual places
	Namespaces []string
	Settings   objects.Settings // of translations
	Sink       Sink
	Pools      func(model.Ref) (model.Status, bool) // what was decided on a Service's pool; false: nothing yet
	Log        *slog.Logger
}

// Source watches Services, EndpointSlices and SteeringPolicies. It asks the API server for nothing else and writes
// only events and the status of policies.
type Source struct {
	options  Options
	cache    cache.Cache
	reporter *Reporter
	policies policies
	statuses *statuses

	mu      sync.Mutex
	dirty   map[client.ObjectKey]time.Time // Services to look at, and when the first news of each came
	steered map[string]time.Time           // namespaces whose policies or their targets have changed, likewise
	wake    chan struct{}
}

// New prepares a source; it speaks to nobody yet.
func New(o Options) (*Source, error) {
	config, err := restConfig(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	loggers.Do(func() {
		logger := logr.FromSlogHandler(o.Log.Handler())
		ctrllog.SetLogger(logger)
		klog.SetLogger(logger)
	})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("preparing Kubernetes types: %w", err)
		}
	}
	s := &Source{options: o, dirty: map[client.ObjectKey]time.Time{}, steered: map[string]time.Time{}, wake: make(chan struct{}, 1)}
	s.policies.known, s.policies.had = map[types.UID]reading{}, map[string]map[string]version{}
	inPlace := true
	namespaces := map[string]cache.Config{}
	for _, n := range o.Namespaces {
		namespaces[n] = cache.Config{}
	}
	s.cache, err = cache.New(config, cache.Options{
		Scheme:            scheme,
		Mapper:            mapper(),
		DefaultNamespaces: namespaces,
		// Objects are read and never changed. Watch errors are retried by the informer and end here as logs.
		DefaultUnsafeDisableDeepCopy: &inPlace,
		DefaultWatchErrorHandler: func(_ context.Context, r *toolscache.Reflector, err error) {
			if strings.HasSuffix(r.TypeDescription(), ".SteeringPolicy") && missing(err) {
				if s.policies.miss() {
					o.Log.Info("no SteeringPolicies to be had: annotations alone count until there are (hint: deploy/dnsingress/crd.yaml and rbac.yaml)", "error", err)
				}
				return
			}
			o.Log.Warn("watching the API server; the last state stays", "kind", r.TypeDescription(), "error", err)
		},
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Service{}:            {Transform: s.keep(objects.Service)},
			&discoveryv1.EndpointSlice{}: {Transform: s.keep(objects.EndpointSlice)},
			&v1alpha1.SteeringPolicy{}:   {Transform: s.keep(objects.SteeringPolicy)},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the Kubernetes cache: %w", err)
	}
	writer, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper()})
	if err != nil {
		return nil, fmt.Errorf("preparing the Kubernetes client: %w", err)
	}
	s.reporter = &Reporter{client: writer, log: o.Log, queue: make(chan report, reportsQueued), known: map[model.Ref][]model.Problem{}, uids: map[model.Ref]types.UID{}}
	s.statuses = newStatuses(s, writer, o.Log)
	return s, nil
}

// Decided says that something has changed of what Options.Pools gives for a Service. It does not block.
func (s *Source) Decided(ref model.Ref) { s.statuses.decided(ref) }

// Reporter returns what tells objects' owners of problems.
func (s *Source) Reporter() *Reporter { return s.reporter }

func restConfig(path string) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if path != "" {
		config, err = clientcmd.BuildConfigFromFlags("", path)
	} else {
		config, err = ctrlconfig.GetConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("finding the Kubernetes API server: %w (hint: run in a pod with a service account, or set kubernetes.kubeconfig)", err)
	}
	config.UserAgent = "dnsingress"
	return config, nil
}

// mapper knows the kinds that are used, so that no discovery is needed and the start survives a missing API server.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(corev1.SchemeGroupVersion.WithKind("Service"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	m.Add(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), meta.RESTScopeNamespace)
	m.AddSpecific(v1alpha1.GroupVersion().WithKind("SteeringPolicy"), v1alpha1.GroupVersion().WithResource("steeringpolicies"), v1alpha1.GroupVersion().WithResource("steeringpolicy"), meta.RESTScopeNamespace)
	return m
}

// keep leaves of a kind's objects what is read of them.
func (s *Source) keep(name objects.Name) toolscache.TransformFunc {
	kind, _ := objects.KindOf(name)
	return func(o any) (any, error) {
		if x, ok := o.(client.Object); ok {
			return kind.Keep(x, &s.options.Settings), nil
		}
		return o, nil
	}
}

// refOf names a Service.
func refOf(namespace, name string) model.Ref {
	return model.Ref{Kind: string(objects.Service), Namespace: namespace, Name: name}
}

// Run watches until ctx ends. While the API server is away it keeps trying and the sink keeps what it has.
func (s *Source) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	index := func(o client.Object) []string { return []string{o.GetLabels()[discoveryv1.LabelServiceName]} }
	if err := s.cache.IndexField(ctx, &discoveryv1.EndpointSlice{}, serviceIndex, index); err != nil {
		return fmt.Errorf("indexing EndpointSlices: %w", err)
	}
	var handlers []toolscache.ResourceEventHandlerRegistration
	for _, o := range []client.Object{&corev1.Service{}, &discoveryv1.EndpointSlice{}, &v1alpha1.SteeringPolicy{}} {
		informer, err := s.cache.GetInformer(ctx, o, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watching %T: %w", o, err)
		}
		handler, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: s.touch, DeleteFunc: s.touch,
			// The old one too: a slice may have been of another Service.
			UpdateFunc: func(old, o any) { s.touch(old); s.touch(o) },
		})
		if err != nil {
			return fmt.Errorf("watching %T: %w", o, err)
		}
		handlers = append(handlers, handler)
	}
	steering := handlers[len(handlers)-1]
	s.policies.synced = steering.HasSynced
	var wait sync.WaitGroup
	defer wait.Wait()
	failed := make(chan error, 1)
	wait.Go(func() { failed <- s.cache.Start(ctx) })
	wait.Go(func() { s.reporter.run(ctx) })
	wait.Go(func() { s.statuses.run(ctx) })

	for _, h := range handlers {
		// Of policies it may turn out that there is no such kind; they are read when there is.
		known := func() bool { return h.HasSynced() || h == steering && s.policies.missed() }
		if !toolscache.WaitForCacheSync(ctx.Done(), known) {
			return ctx.Err()
		}
	}
	s.drain(ctx)
	s.options.Sink.Synced()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return fmt.Errorf("watching the API server: %w", err)
		case <-s.wake:
			s.drain(ctx)
		}
	}
}

// touch notes that a Service, one of its slices, or a policy has changed.
func (s *Source) touch(o any) {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	var key client.ObjectKey
	var namespace string
	switch o := o.(type) {
	case *corev1.Service:
		key, namespace = client.ObjectKeyFromObject(o), o.Namespace
	case *discoveryv1.EndpointSlice:
		key = client.ObjectKey{Namespace: o.Namespace, Name: o.Labels[discoveryv1.LabelServiceName]}
	case *v1alpha1.SteeringPolicy:
		namespace = o.Namespace
	}
	now := time.Now()
	s.mu.Lock()
	if _, ok := s.dirty[key]; !ok && key.Name != "" {
		s.dirty[key] = now
	}
	if _, ok := s.steered[namespace]; !ok && namespace != "" {
		s.steered[namespace] = now
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// drain translates everything that was touched and gives it to the sink in one piece.
func (s *Source) drain(ctx context.Context) {
	s.mu.Lock()
	dirty, steered := s.dirty, s.steered
	s.dirty, s.steered = map[client.ObjectKey]time.Time{}, map[string]time.Time{}
	s.mu.Unlock()
	for namespace, since := range steered {
		if err := s.retarget(ctx, namespace, since, dirty); err != nil {
			s.options.Log.Error("reading from the cache", "namespace", namespace, "error", err)
		}
	}
	updates := make([]model.Update, 0, len(dirty))
	for _, key := range slices.SortedFunc(maps.Keys(dirty), func(a, b client.ObjectKey) int {
		return refOf(a.Namespace, a.Name).Compare(refOf(b.Namespace, b.Name))
	}) {
		u, err := s.read(ctx, key)
		if err != nil {
			// The cache answers from memory: only its end can be the reason.
			s.options.Log.Error("reading from the cache", "service", key, "error", err)
			continue
		}
		u.Received = dirty[key]
		updates = append(updates, u)
	}
	s.options.Sink.Apply(updates)
}

// read translates one Service as the cache has it.
func (s *Source) read(ctx context.Context, key client.ObjectKey) (model.Update, error) {
	u := model.Update{Ref: refOf(key.Namespace, key.Name)}
	var svc corev1.Service
	if err := s.cache.Get(ctx, key, &svc); err != nil {
		s.reporter.forget(u.Ref)
		return u, client.IgnoreNotFound(err)
	}
	if !s.options.Settings.Prefixes.Claimed(svc.Annotations) {
		s.reporter.forget(u.Ref)
		return u, nil
	}
	s.reporter.identify(u.Ref, svc.UID)
	var endpoints discoveryv1.EndpointSliceList
	err := s.cache.List(ctx, &endpoints, client.InNamespace(key.Namespace), client.MatchingFields{serviceIndex: key.Name})
	if err != nil && !apierrors.IsNotFound(err) {
		return u, err
	}
	view := objects.NewStore()
	for i := range endpoints.Items {
		view.Put(objects.EndpointSlice, &endpoints.Items[i])
	}
	kind, _ := objects.KindOf(objects.Service)
	result := kind.Translate(&svc, view, &s.options.Settings)
	u.Pool, u.Triggered = &result.Pools[0], result.Triggered
	return u, s.steer(ctx, &svc, u.Pool)
}
