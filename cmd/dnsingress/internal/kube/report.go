// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
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

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Events are written at eventRate a second at most, after a burst; what does not fit in the queue is only logged.
const (
	eventRate     = 1.0
	eventBurst    = 20
	reportsQueued = 256
	eventTimeout  = 10 * time.Second
	eventAgain    = 5 * time.Second // after nobody has answered
	maxMessage    = 1024            // bytes, the API server's limit
)

// Reporter tells the owners of objects what is wrong with them: a log line and an event for each problem that
// is new. Report never blocks.
type Reporter struct {
	client   client.Client
	log      *slog.Logger
	queue    chan report
	versions map[objects.Name]string // of kinds' APIs

	object  func(model.Ref) client.Object // nil: it is not there
	changed func(model.Ref)               // is called when the problems of an object have changed

	mu    sync.Mutex
	known map[model.Ref][]wrong // by object, without a Part
}

// wrong is a problem of a part of an object.
type wrong struct {
	objects.PartProblem
	whole bool // it is the object's as a whole
}

type report struct {
	ref     model.Ref
	version string // of the object's API
	uid     types.UID
	problem model.Problem
}

// Report makes problems all that is wrong with what the object publishes as ref's Part. Those that were there before
// are not told again.
func (r *Reporter) Report(ref model.Ref, problems []model.Problem) {
	now := make([]wrong, len(problems))
	for i, p := range problems {
		now[i].PartProblem = objects.PartProblem{Part: ref.Part, Problem: p}
	}
	part := ref.Part
	ref.Part = ""
	r.replace(ref, func(w wrong) bool { return !w.whole && w.Part == part }, now)
}

// Tell tells once of something that has just happened to what an object publishes. It never blocks.
func (r *Reporter) Tell(ref model.Ref, p model.Problem) {
	ref.Part = ""
	r.log.Warn("object has a problem", "object", ref.String(), "reason", p.Reason, "message", p.Message)
	o := r.object(ref)
	if o == nil { // it is gone
		return
	}
	select {
	case r.queue <- report{ref, r.versions[objects.Name(ref.Kind)], o.GetUID(), p}:
	default:
	}
}

// whole makes problems all that is wrong with an object as a whole.
func (r *Reporter) whole(ref model.Ref, problems []objects.PartProblem) {
	now := make([]wrong, len(problems))
	for i, p := range problems {
		now[i] = wrong{p, true}
	}
	r.replace(ref, func(w wrong) bool { return w.whole }, now)
}

// replace makes now all the problems of an object that are of a sort.
func (r *Reporter) replace(ref model.Ref, sort func(wrong) bool, now []wrong) {
	r.mu.Lock()
	old := r.known[ref]
	var before, rest []wrong
	for _, w := range old {
		if sort(w) {
			before = append(before, w)
		} else {
			rest = append(rest, w)
		}
	}
	if slices.Equal(before, now) {
		r.mu.Unlock()
		return
	}
	if rest = append(rest, now...); len(rest) == 0 {
		delete(r.known, ref)
	} else {
		r.known[ref] = rest
	}
	r.mu.Unlock()
	var o client.Object
	for _, w := range now {
		p := w.Problem
		// Parts that have the same problem are told of once.
		if slices.ContainsFunc(old, func(o wrong) bool { return o.Problem == p }) {
			continue
		}
		if o == nil {
			if o = r.object(ref); o == nil { // it is gone
				return
			}
		}
		r.log.Warn("object has a problem", "object", ref.String(), "reason", p.Reason, "message", p.Message)
		select {
		case r.queue <- report{ref, r.versions[objects.Name(ref.Kind)], o.GetUID(), p}:
		default:
			r.log.Warn("too many problems at once: no event for this one", "object", ref.String(), "reason", p.Reason)
		}
	}
	r.changed(ref)
}

// all are the problems of an object: what its translation found and what was found when it was to be served.
func (r *Reporter) all(ref model.Ref, translated []objects.PartProblem) []objects.PartProblem {
	out := slices.Clone(translated)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.known[ref] {
		if !slices.Contains(out, w.PartProblem) {
			out = append(out, w.PartProblem)
		}
	}
	slices.SortStableFunc(out, func(a, b objects.PartProblem) int { return strings.Compare(a.Part, b.Part) })
	return out
}

// forget drops what is known of an object that is gone.
func (r *Reporter) forget(ref model.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, ref)
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
			r.tell(ctx, one)
		}
	}
}

// tell writes an event, again and again while nobody answers.
func (r *Reporter) tell(ctx context.Context, one report) {
	for {
		err := r.write(ctx, one)
		if err == nil || ctx.Err() != nil {
			return
		}
		if status := apierrors.APIStatus(nil); errors.As(err, &status) {
			r.log.Warn("writing an event", "object", one.ref.String(), "error", err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(eventAgain):
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
	name, namespace := one.ref.Name, cmp.Or(one.ref.Namespace, metav1.NamespaceDefault) // of what is in no namespace
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s.%x", name[:min(len(name), 200)], sum[:8])},
		InvolvedObject: corev1.ObjectReference{APIVersion: one.version, Kind: one.ref.Kind, Namespace: one.ref.Namespace, Name: name, UID: one.uid},
		Reason:         one.problem.Reason,
		Message:        message,
		Type:           corev1.EventTypeWarning,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		Source:              corev1.EventSource{Component: "dnsingress"},
		ReportingController: "dnsingress.dev/dnsingress",
	}
}
