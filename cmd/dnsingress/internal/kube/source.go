// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// loggers sets the libraries' own loggers, which would else print in formats of their own. They are global and must
// not be set again while a source runs.
var loggers sync.Once

// syncLook is how often it is looked whether a watch has told of all that there is, while one has not.
const syncLook = 10 * time.Millisecond

// Sink takes what the source sees. Its methods must not block.
type Sink interface {
	// Apply gives the newest state of what the objects that changed publish.
	Apply(updates []model.Update)
	// Synced says that all objects there were at the start have been given.
	Synced()
}

// Filter says which objects of a kind publish anything. The zero value: all.
type Filter struct {
	Off        bool
	Namespaces []string // empty: all
	Labels     string   // a selector; empty: all
}

// Options of a Source.
type Options struct {
	Kubeconfig string   // a file; empty: in-cluster, else the usual places
	Namespaces []string // to watch; empty: all
	Sources    map[objects.Name]Filter
	Settings   objects.Settings
	Sink       Sink
	Pools      func(model.Ref) (model.Status, bool) // what was decided on a pool; false: nothing yet
	Serving    <-chan struct{}                      // closed when what the sink was given is served: statuses wait for it
	Log        *slog.Logger
}

// Source watches the objects that publish names, and those that they refer to. It asks the API server for nothing
// else and writes only events and statuses.
type Source struct {
	options  Options
	cache    cache.Cache
	graph    *graph
	watches  *watches
	reporter *Reporter
	statuses *statuses
	wake     chan struct{}
}

// New prepares a source; it speaks to nobody yet.
func New(o Options) (*Source, error) {
	config, err := restConfig(o.Kubeconfig, o.Log)
	if err != nil {
		return nil, err
	}
	filters := map[objects.Name]filter{}
	for kind, f := range o.Sources {
		out := filter{off: f.Off, namespaces: f.Namespaces}
		if len(f.Namespaces) == 0 {
			out.namespaces = nil
		}
		if f.Labels != "" {
			if out.labels, err = labels.Parse(f.Labels); err != nil {
				return nil, fmt.Errorf("reading the label filter of %s: %w", kind, err)
			}
		}
		filters[kind] = out
	}
	o.Settings.Policies, o.Settings.Shared = &objects.Policies{}, objects.NewShared()
	s := &Source{options: o, wake: make(chan struct{}, 1)}
	s.graph = newGraph(&s.options.Settings, filters)
	s.watches = &watches{
		kinds: s.graph.kinds, events: s, log: o.Log, wanted: map[objects.Name]bool{}, watched: map[objects.Name]toolscache.ResourceEventHandlerRegistration{},
		defined: map[string]bool{}, missing: map[objects.Name]bool{}, denied: map[objects.Name]time.Time{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[objects.Name](firstLook, lastLook)),
	}
	scheme := runtime.NewScheme()
	byObject := map[client.Object]cache.ByObject{definition(): {Transform: stripDefinition}}
	versions := map[objects.Name]string{}
	for name, k := range s.graph.kinds {
		if err := k.Install(scheme); err != nil {
			return nil, fmt.Errorf("preparing Kubernetes types: %w", err)
		}
		byObject[k.New()] = cache.ByObject{Transform: s.keep(k)}
		versions[name] = k.Version.String()
	}
	namespaces := map[string]cache.Config{}
	for _, n := range o.Namespaces {
		namespaces[n] = cache.Config{}
	}
	inPlace := true
	s.cache, err = cache.New(config, cache.Options{
		Scheme:            scheme,
		Mapper:            mapper(),
		DefaultNamespaces: namespaces,
		// Objects are read and never changed. Watch errors are retried by the informer and end here as logs.
		DefaultUnsafeDisableDeepCopy: &inPlace,
		DefaultWatchErrorHandler: func(_ context.Context, r *toolscache.Reflector, err error) {
			s.watches.failed(r.TypeDescription(), err)
		},
		ByObject:    byObject,
		NewInformer: (&persistence{log: o.Log}).informer,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the Kubernetes cache: %w", err)
	}
	s.watches.cache = s.cache
	if s.watches.discovery, err = discovery.NewDiscoveryClientForConfig(config); err != nil {
		return nil, fmt.Errorf("preparing the Kubernetes client: %w", err)
	}
	writer, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper()})
	if err != nil {
		return nil, fmt.Errorf("preparing the Kubernetes client: %w", err)
	}
	lease, err := newLease(config, leaseNamespace(), o.Log)
	if err != nil {
		return nil, err
	}
	s.statuses = newStatuses(s, writer, lease, o.Log)
	s.reporter = &Reporter{
		client: writer, log: o.Log, queue: make(chan report, reportsQueued), versions: versions, known: map[model.Ref][]wrong{},
		object: func(ref model.Ref) client.Object { o, _, _ := s.graph.object(ref); return o },
		changed: func(ref model.Ref) {
			if s.graph.kinds[objects.Name(ref.Kind)].Status != nil {
				s.statuses.touch(ref)
			}
		},
	}
	return s, nil
}

// Decided says that something has changed of what Options.Pools gives for a pool. It does not block.
func (s *Source) Decided(ref model.Ref) {
	if policy, ok := s.graph.policyOf(ref); ok {
		s.statuses.touch(policy)
	}
	if kind := objects.Name(ref.Kind); kind == objects.DNSZone || kind == objects.DNSDelegation { // theirs tell of what is served
		s.statuses.touch(ref)
	}
}

// Reporter returns what tells objects' owners of problems.
func (s *Source) Reporter() *Reporter { return s.reporter }

// restConfig finds the API server. From then on the libraries that speak to it log to log.
func restConfig(path string, log *slog.Logger) (*rest.Config, error) {
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
	loggers.Do(func() {
		logger := logr.FromSlogHandler(log.Handler())
		ctrllog.SetLogger(logger)
		klog.SetLogger(logger)
	})
	config.UserAgent = "dnsingress"
	return config, nil
}

// keep leaves of a kind's objects what is read of them, and of those that are filtered out only their names.
func (s *Source) keep(k objects.Kind) toolscache.TransformFunc {
	by := s.graph.filters[k.Name].labels
	return func(x any) (any, error) {
		o, ok := x.(client.Object)
		if !ok {
			return x, nil
		}
		all := o.GetLabels()
		if !s.graph.read(k.Name, o) {
			stub := k.New()
			stub.SetNamespace(o.GetNamespace())
			stub.SetName(o.GetName())
			stub.SetUID(o.GetUID())
			stub.SetResourceVersion(o.GetResourceVersion())
			keepLabels(stub, all, by)
			return stub, nil
		}
		o = k.Keep(o, &s.options.Settings)
		keepLabels(o, all, by)
		return o, nil
	}
}

// Run watches until ctx ends. While the API server is away it keeps trying and the sink keeps what it has.
func (s *Source) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := s.watches.begin(ctx); err != nil {
		return err
	}
	var wait sync.WaitGroup
	defer wait.Wait()
	failed := make(chan error, 1)
	wait.Go(func() { failed <- s.cache.Start(ctx) })
	wait.Go(func() { s.watches.run(ctx) })
	wait.Go(func() { s.reporter.run(ctx) })
	wait.Go(func() { s.statuses.run(ctx, s.options.Serving) })
	for _, kind := range s.graph.first() {
		s.watches.want(kind)
	}
	synced := false
	for {
		waiting := s.learn()
		// At first all is translated at once, not as it comes.
		if synced || !waiting {
			s.drain()
			// What was translated may have asked for more.
			if waiting = s.learn(); !waiting && !synced {
				synced = true
				s.options.Sink.Synced()
				if absent := s.watches.absent(); len(absent) > 0 {
					s.options.Log.Info("kinds that this cluster does not have are watched once it has them", "kinds", absent)
				}
			}
		}
		wake, look := s.wake, (<-chan time.Time)(nil)
		if waiting || !synced {
			look = time.After(syncLook)
		}
		if !synced {
			wake = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return fmt.Errorf("watching the API server: %w", err)
		case <-wake:
		case <-look:
		}
	}
}

// learn has the kinds watched that translations ask for, and reports whether some of all kinds is still unknown.
func (s *Source) learn() (waiting bool) {
	for _, kind := range s.graph.wants() {
		s.watches.want(kind)
	}
	for _, kind := range s.watches.unknown(s.graph.knows) {
		if s.watches.known(kind) {
			s.graph.learn(kind)
			s.signal() // what waited for it
		} else {
			waiting = true
		}
	}
	return waiting
}

func (s *Source) put(kind objects.Name, o client.Object, now time.Time) {
	s.graph.put(kind, o, now)
	s.signal()
}

func (s *Source) drop(kind objects.Name, namespace, name string, now time.Time) {
	s.graph.drop(kind, namespace, name, now)
	s.signal()
}

func (s *Source) clear(kind objects.Name, now time.Time) {
	s.graph.clear(kind, now)
	s.signal()
}

// signal says that something may have to be translated.
func (s *Source) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// drain translates everything that has changed and gives it to the sink in one piece.
func (s *Source) drain() {
	x := s.graph.translate()
	for _, ref := range x.gone {
		s.reporter.forget(ref)
	}
	if len(x.updates) > 0 {
		s.options.Sink.Apply(x.updates)
	}
	for ref, problems := range x.problems {
		s.reporter.whole(ref, problems)
	}
	for _, ref := range x.statuses {
		s.statuses.touch(ref)
	}
}
