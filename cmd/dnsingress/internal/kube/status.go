// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Replicas all come to the same statuses. One of them, which a Lease elects for as long as there is something to write,
// writes them, and only over what it has read; the others see that by their watches and find nothing left to do. On
// pods replicas may differ for as long as they like, as when one does not reach them: each writes once what has changed
// for it, and leaves what others write later. Pods are written of at most every statusEvery.
const (
	statusEvery   = 5 * time.Second
	statusWait    = 200 * time.Millisecond // at most, before an object is looked at: by then all is known of it
	statusTimeout = 10 * time.Second
	statusLook    = time.Second // how often one who waits for the Lease looks whether there is still something to write
	statusMessage = 4096        // bytes of a condition's message
)

// statuses writes the statuses of objects.
type statuses struct {
	source *Source
	client client.Client
	lease  *lease
	log    *slog.Logger
	queue  workqueue.TypedRateLimitingInterface[model.Ref]

	// Only run's.
	written map[model.Ref]written
	seen    map[model.Ref]seen // policies
}

// written is what was last written of an object.
type written struct {
	id      types.UID
	version string // of the object, once it was written
	change  string // what was to change
}

func newStatuses(s *Source, c client.Client, l *lease, log *slog.Logger) *statuses {
	return &statuses{
		source: s, client: c, lease: l, log: log, written: map[model.Ref]written{}, seen: map[model.Ref]seen{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[model.Ref](time.Second, time.Minute)),
	}
}

// touch has the object's status looked at.
func (w *statuses) touch(ref model.Ref) { w.queue.AddAfter(ref, rand.N(statusWait)) }

// run writes until ctx ends, once serving is closed: before, it is not known what becomes of an object.
func (w *statuses) run(ctx context.Context, serving <-chan struct{}) {
	defer w.lease.wait.Wait()
	stop := context.AfterFunc(ctx, w.queue.ShutDown)
	defer stop()
	select {
	case <-ctx.Done():
		return
	case <-serving:
	}
	for {
		ref, ending := w.queue.Get()
		if ending {
			return
		}
		err := w.settle(ctx, ref)
		switch {
		case err == nil:
			w.queue.Forget(ref)
		case apierrors.IsConflict(err): // somebody wrote; the news of it come by the watch
			w.queue.AddRateLimited(ref)
		case ctx.Err() == nil:
			w.log.Warn("writing a status", "object", ref.String(), "error", err)
			w.queue.AddRateLimited(ref)
		}
		w.queue.Done(ref)
	}
}

// settle brings an object's status up to date, if it is not.
func (w *statuses) settle(ctx context.Context, ref model.Ref) error {
	for {
		o, wanted, done := w.wanted(ref)
		if o == nil {
			delete(w.written, ref)
			delete(w.seen, ref)
			return nil
		}
		if wanted == nil || equality.Semantic.DeepEqual(o, wanted) {
			done()
			return nil
		}
		change, err := client.MergeFrom(o).Data(wanted)
		if err != nil {
			return fmt.Errorf("comparing statuses: %w", err)
		}
		// What the API server does not keep would be written for ever.
		if w.written[ref] == (written{o.GetUID(), o.GetResourceVersion(), string(change)}) {
			return nil
		}
		held, changed := w.lease.want(ctx)
		if held {
			return w.write(ctx, ref, o, wanted, string(change), done)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-time.After(statusLook):
		}
	}
}

// wanted gives an object as it is and with the status that it should have; nil: it is not there, or nothing is to be
// written. done is called when that is what it has.
func (w *statuses) wanted(ref model.Ref) (o, wanted client.Object, done func()) {
	o, outcome, problems := w.source.graph.object(ref)
	if o == nil {
		return nil, nil, nil
	}
	if p, ok := o.(*v1alpha1.SteeringPolicy); ok {
		if now, done := w.policy(ref, p); now != nil {
			return o, now, done
		}
		return o, nil, func() {}
	}
	kind := w.source.graph.kinds[objects.Name(ref.Kind)]
	if kind.Status == nil {
		return o, nil, func() {}
	}
	x := objects.Standing{Outcome: outcome, Problems: w.source.reporter.all(ref, problems), Now: metav1.Now().Rfc3339Copy()}
	x.Served, _ = w.source.options.Pools(ref)
	return o, kind.Status(o, x), func() {}
}

// write writes what differs between o and wanted over what was read.
func (w *statuses) write(ctx context.Context, ref model.Ref, o, wanted client.Object, change string, done func()) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	patch := client.MergeFromWithOptions(o, client.MergeFromWithOptimisticLock{})
	if err := w.client.Status().Patch(ctx, wanted, patch); err != nil {
		return client.IgnoreNotFound(err)
	}
	w.written[ref] = written{o.GetUID(), wanted.GetResourceVersion(), change}
	done()
	return nil
}
