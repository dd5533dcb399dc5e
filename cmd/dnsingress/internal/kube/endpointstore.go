// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
)

const (
	endpointPage    = 1000 // objects of one answer
	endpointWriters = 8    // writes at once
	endpointTries   = 5    // of a batch, where somebody else writes at the same time
	mostErrors      = 10   // of a batch are told
)

// EndpointStoreOptions are those of an EndpointStore.
type EndpointStoreOptions struct {
	Kubeconfig string    // a file; empty: in-cluster, else the usual places
	Namespace  string    // where the objects are; empty: that of the pod
	Dry        io.Writer // takes what would be written, which the API server only judges; nil: it is written
	Log        *slog.Logger
}

// EndpointStore keeps the records that others write as DNSEndpoints, one object a name: what names are claimed by. All
// replicas see them by the same watch as other DNSEndpoints. It reads and writes those with its label alone.
type EndpointStore struct {
	options EndpointStoreOptions
	client  client.Client
}

// NewEndpointStore prepares a store; it speaks to nobody yet.
func NewEndpointStore(o EndpointStoreOptions) (*EndpointStore, error) {
	config, err := restConfig(o.Kubeconfig, o.Log)
	if err != nil {
		return nil, err
	}
	config.UserAgent, config.QPS = "dnsingress-webhook", -1 // there are few writes at once, and the API server has its own limits
	if o.Namespace == "" {
		o.Namespace = podNamespace(o.Kubeconfig)
	}
	scheme := runtime.NewScheme()
	if err := externaldns.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("preparing Kubernetes types: %w", err)
	}
	s := &EndpointStore{options: o}
	if s.client, err = client.New(config, client.Options{Scheme: scheme, Mapper: mapper()}); err != nil {
		return nil, fmt.Errorf("preparing the Kubernetes client: %w", err)
	}
	if o.Dry != nil {
		s.client = client.NewDryRunClient(s.client)
	}
	return s, nil
}

// podNamespace is the one that this process runs in, or else that which the configuration of clients names.
func podNamespace(kubeconfig string) string {
	if data, err := os.ReadFile(ownNamespace); err == nil && strings.TrimSpace(string(data)) != "" {
		return strings.TrimSpace(string(data))
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	name, _, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).Namespace()
	if err != nil || name == "" {
		return elseNamespace
	}
	return name
}

// Namespace is where the objects are.
func (s *EndpointStore) Namespace() string { return s.options.Namespace }

// Records are all that have been written, in the order of their names.
func (s *EndpointStore) Records(ctx context.Context) ([]*externaldns.Endpoint, error) {
	objects, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	var all []*externaldns.Endpoint
	for _, o := range objects {
		for _, e := range o.Spec.Endpoints {
			if e != nil {
				all = append(all, e)
			}
		}
	}
	slices.SortStableFunc(all, compareEndpoints)
	return all, nil
}

// list asks for the objects of the store.
func (s *EndpointStore) list(ctx context.Context) ([]externaldns.DNSEndpoint, error) {
	var all []externaldns.DNSEndpoint
	for next := ""; ; {
		var page externaldns.DNSEndpointList
		err := s.client.List(ctx, &page, client.InNamespace(s.options.Namespace), client.MatchingLabels{writtenLabel: writtenValue}, client.Limit(endpointPage), client.Continue(next))
		if err != nil {
			hint := ""
			switch {
			case apierrors.IsNotFound(err):
				hint = " (hint: the CustomResourceDefinition of DNSEndpoint comes with external-dns)"
			case apierrors.IsForbidden(err):
				hint = " (hint: deploy/dnsingress/webhook has the Role)"
			}
			return nil, fmt.Errorf("listing DNSEndpoints of namespace %s: %w%s", s.options.Namespace, err, hint)
		}
		all = append(all, page.Items...)
		if next = page.Continue; next == "" {
			return all, nil
		}
	}
}

// Apply makes the records as a batch says, and writes no object that is so already. Kubernetes knows no transactions:
// where it fails, the error says how much has been written, and the same batch again does the rest. Until then no record
// is without the note by which external-dns knows it as its own.
func (s *EndpointStore) Apply(ctx context.Context, changes *externaldns.Changes, publish func(*externaldns.Endpoint) bool) error {
	done := 0
	for try := 1; ; try++ {
		objects, err := s.list(ctx)
		if err != nil {
			return err
		}
		writes := endpointWrites(objects, s.options.Namespace, changes, publish)
		all := done + len(writes)
		n, errs := s.write(ctx, writes)
		done += n
		switch {
		case len(errs) == 0:
			return nil
		case try == endpointTries || !raced(errs):
			return &partialError{done, all, errs}
		}
	}
}

// raced reports whether all that failed did so because others wrote at the same time.
func raced(errs []error) bool {
	return !slices.ContainsFunc(errs, func(err error) bool {
		return !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && !apierrors.IsAlreadyExists(err)
	})
}

// partialError says how far a batch has come.
type partialError struct {
	done, all int
	errs      []error
}

func (e *partialError) Error() string {
	text := fmt.Sprintf("%d of %d objects are written; the same batch again writes the rest: %v", e.done, e.all, errors.Join(e.errs[:min(len(e.errs), mostErrors)]...))
	if more := len(e.errs) - mostErrors; more > 0 {
		text += fmt.Sprintf("\nand %d more", more)
	}
	return text
}

// write does what is to be done, stage by stage, and says how many of the writes are done. After an error no further
// stage begins.
func (s *EndpointStore) write(ctx context.Context, writes []endpointWrite) (done int, errs []error) {
	var mu sync.Mutex
	for len(writes) > 0 && len(errs) == 0 {
		n := len(writes)
		if i := slices.IndexFunc(writes, func(w endpointWrite) bool { return w.stage != writes[0].stage }); i >= 0 {
			n = i
		}
		var wait sync.WaitGroup
		queue := make(chan endpointWrite, n)
		for _, w := range writes[:n] {
			queue <- w
		}
		close(queue)
		for range min(n, endpointWriters) {
			wait.Go(func() {
				for w := range queue {
					err := s.one(ctx, w)
					mu.Lock()
					if err != nil {
						errs = append(errs, err)
					} else {
						done++
					}
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		writes = writes[n:]
	}
	return done, errs
}

// one writes one object and tells of it.
func (s *EndpointStore) one(ctx context.Context, w endpointWrite) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", w, err)
	}
	var err error
	switch w.verb {
	case "create":
		err = s.client.Create(ctx, w.object)
	case "update":
		err = s.client.Update(ctx, w.object)
	case "delete":
		version, uid := w.object.ResourceVersion, w.object.UID
		err = s.client.Delete(ctx, w.object, client.Preconditions{UID: &uid, ResourceVersion: &version})
		if s.options.Dry == nil && apierrors.IsNotFound(err) {
			err = nil
		}
	}
	switch {
	case apierrors.IsAlreadyExists(err):
		err = fmt.Errorf("%s: %w (hint: the object there has no label %s=%s: rename it, or use another --namespace)", w, err, writtenLabel, writtenValue)
	case err != nil:
		err = fmt.Errorf("%s: %w", w, err)
	case s.options.Dry != nil:
		fmt.Fprintf(s.options.Dry, "would %s\n", w)
	default:
		s.options.Log.Info("written", "verb", w.verb, "object", s.options.Namespace+"/"+w.object.Name, "records", w.records())
	}
	return err
}

// alikeEndpoints reports whether two endpoints say the same.
func alikeEndpoints(a, b *externaldns.Endpoint) bool { return equality.Semantic.DeepEqual(a, b) }

// alike reports whether two objects need no write between them.
func alike(a, b *externaldns.DNSEndpoint) bool {
	return equality.Semantic.DeepEqual(a.Spec, b.Spec) && equality.Semantic.DeepEqual(a.Annotations, b.Annotations)
}
