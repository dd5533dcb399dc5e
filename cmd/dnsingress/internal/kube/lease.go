// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// The Lease of those who write statuses, and its times. Nobody holds it while there is nothing to write.
const (
	leaseName     = "dnsingress-status"
	leaseDuration = 15 * time.Second
	leaseRenew    = 10 * time.Second
	leaseRetry    = 2 * time.Second
	leaseIdle     = 2 * time.Second // without use it is given back
	leaseTimeout  = 3 * time.Second // of one request
	leaseTold     = time.Minute     // at most one thing that fails is told of in it

	// ownNamespace is where a pod finds the name of its namespace, elseNamespace what it is outside one.
	ownNamespace  = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	elseNamespace = "dnsingress"
)

// lease elects the one replica that writes statuses, for as long as it has any to write.
type lease struct {
	elector leaderelection.LeaderElectionConfig
	log     logr.Logger
	wait    sync.WaitGroup

	mu      sync.Mutex
	running bool // it is held or tried for
	held    bool
	news    chan struct{} // closed when held changes
	used    time.Time     // when somebody last wanted it
}

func newLease(config *rest.Config, namespace string, log *slog.Logger) (*lease, error) {
	config = rest.CopyConfig(config)
	config.Timeout = leaseTimeout
	leases, err := coordinationv1.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing leader election: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "dnsingress"
	}
	l := &lease{log: logr.FromSlogHandler(warnings{log.Handler(), new(atomic.Int64)}), news: make(chan struct{})}
	l.elector = leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: leaseName}, Client: leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
		},
		LeaseDuration: leaseDuration, RenewDeadline: leaseRenew, RetryPeriod: leaseRetry, ReleaseOnCancel: true, Name: leaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { l.set(true, true) },
			OnStoppedLeading: func() {},
		},
	}
	return l, nil
}

// leaseNamespace is the one that this process runs in.
func leaseNamespace() string {
	data, err := os.ReadFile(ownNamespace)
	if name := strings.TrimSpace(string(data)); err == nil && name != "" {
		return name
	}
	return elseNamespace
}

// want reports whether this replica holds the lease, and has it tried for if not. changed is closed when that changes.
// ctx is that of the whole work, at whose end the lease is given back.
func (l *lease) want(ctx context.Context) (held bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used = time.Now()
	if !l.running {
		l.running = true
		l.wait.Go(func() { l.run(ctx) })
	}
	return l.held, l.news
}

func (l *lease) set(running, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = running
	if l.held != held {
		l.held = held
		close(l.news)
		l.news = make(chan struct{})
	}
}

// run tries for the lease and holds it until nobody has wanted it for a while.
func (l *lease) run(ctx context.Context) {
	defer l.set(false, false)
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, l.log))
	defer cancel()
	l.wait.Go(func() {
		tick := time.NewTicker(leaseIdle / 2)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			l.mu.Lock()
			idle := time.Since(l.used) > leaseIdle
			l.mu.Unlock()
			if idle {
				cancel()
			}
		}
	})
	elector, err := leaderelection.NewLeaderElector(l.elector)
	if err != nil { // its times are constant
		panic(err)
	}
	elector.Run(ctx)
}

// warnings lets a warning or an error through now and then: elections are too ordinary to tell of, and while the API
// server is away all that they try fails.
type warnings struct {
	slog.Handler
	next *atomic.Int64 // Unix time before which nothing more is told
}

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h warnings) Handle(ctx context.Context, r slog.Record) error {
	next := h.next.Load()
	if r.Time.Unix() < next || !h.next.CompareAndSwap(next, r.Time.Add(leaseTold).Unix()) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs), h.next}
}

func (h warnings) WithGroup(name string) slog.Handler {
	return warnings{h.Handler.WithGroup(name), h.next}
}
