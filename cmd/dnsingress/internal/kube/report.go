// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Events are written at eventRate a second at most, after a burst; what does not fit in the queue is only logged.
const (
	eventRate     = 1.0
	eventBurst    = 20
	reportsQueued = 256
	eventTimeout  = 10 * time.Second
	maxMessage    = 1024 // bytes, the API server's limit
)

// Reporter tells the owners of objects what is wrong with them: a log line and an event for each problem that
// is new. Report never blocks.
type Reporter struct {
	client client.Client
	log    *slog.Logger
	queue  chan report

	mu    sync.Mutex
	known map[model.Ref][]model.Problem
	uids  map[model.Ref]types.UID
}

type report struct {
	ref     model.Ref
	uid     types.UID
	problem model.Problem
}

// identify remembers the object's UID, which its events refer to.
func (r *Reporter) identify(ref model.Ref, uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uids[ref] = uid
}

// Report makes problems all that is wrong with the object. Those that were there before are not told again.
func (r *Reporter) Report(ref model.Ref, problems []model.Problem) {
	r.mu.Lock()
	old, uid := r.known[ref], r.uids[ref]
	if len(problems) == 0 {
		delete(r.known, ref)
	} else {
		r.known[ref] = slices.Clone(problems)
	}
	r.mu.Unlock()
	for _, p := range problems {
		if slices.Contains(old, p) {
			continue
		}
		r.log.Warn("object has a problem", "object", ref.String(), "reason", p.Reason, "message", p.Message)
		select {
		case r.queue <- report{ref, uid, p}:
		default:
			r.log.Warn("too many problems at once: no event for this one", "object", ref.String(), "reason", p.Reason)
		}
	}
}

// forget drops what is known of an object that is gone.
func (r *Reporter) forget(ref model.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, ref)
	delete(r.uids, ref)
}

// run writes events until ctx ends.
func (r *Reporter) run(ctx context.Context) {
	limit := flowcontrol.NewTokenBucketRateLimiter(eventRate, eventBurst)
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-r.queue:
			if limit.Wait(ctx) != nil {
				return
			}
			if err := r.write(ctx, one); err != nil && ctx.Err() == nil {
				r.log.Warn("writing an event", "object", one.ref.String(), "error", err)
			}
		}
	}
}

func (r *Reporter) write(ctx context.Context, one report) error {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	err := r.client.Create(ctx, eventOf(one, metav1.Now()))
	if apierrors.IsAlreadyExists(err) { // another replica, or this one before its restart
		return nil
	}
	return err
}

// eventOf gives an event the same name on every replica.
func eventOf(one report, now metav1.Time) *corev1.Event {
	message := one.problem.Message
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s", one.uid, one.problem.Reason, one.problem.Message))
	name := one.ref.Name
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: one.ref.Namespace, Name: fmt.Sprintf("%s.%x", name[:min(len(name), 200)], sum[:8])},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: one.ref.Kind, Namespace: one.ref.Namespace, Name: name, UID: one.uid},
		Reason:         one.problem.Reason,
		Message:        message,
		Type:           corev1.EventTypeWarning,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		Source:              corev1.EventSource{Component: "dnsingress"},
		ReportingController: "dnsingress.dev/dnsingress",
	}
}
