// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// podDelete deletes one backend pod, as a rollout or a scale-down does: it is asked to end, its address leaves the service,
// and a new pod with another address takes its place. Nothing is held broken: the address never comes back.
type podDelete struct {
	env   Env
	pod   kubectl.Pod
	begun bool
	ended bool
}

func (f *podDelete) Aim(ctx context.Context, rng *rand.Rand) (Target, error) {
	ready, err := readyBackends(ctx, f.env, PodDelete)
	if err != nil {
		return Target{}, err
	}
	f.pod = ready[rng.IntN(len(ready))]
	target := Target{Node: f.pod.Node, Name: f.pod.FullName()}
	if a, err := netip.ParseAddr(f.pod.Address); err == nil {
		target.Members = []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}
	}
	return target, nil
}

// deleteScript tells the API server to delete a pod at the instant $at, by one request through a kubectl proxy that stands
// before that, and prints the instants before and after.
const deleteScript = `
socket=$(mktemp -u); kubectl proxy --unix-socket="$socket" >/dev/null & proxy=$!; trap 'kill $proxy; rm -f "$socket"' EXIT
until [ -S "$socket" ]; do kill -0 $proxy || exit 1; sleep 0.05; done
d=$((at - $(date +%%s%%N))); [ $d -gt 0 ] && sleep "$((d / 1000000000)).$(printf %%09d $((d %% 1000000000)))"
before=$(date +%%s%%N)
curl -sS --fail --unix-socket "$socket" -X DELETE "http://localhost/api/v1/namespaces/%s/pods/%s" >/dev/null || exit 1
echo "$before $(date +%%s%%N)"
`

func (f *podDelete) Begin(ctx context.Context, at time.Time) (Instant, error) {
	f.begun = true
	line := fmt.Sprintf("at=%d\n"+deleteScript, at.UnixNano(), f.pod.Namespace, f.pod.Name)
	k := f.env.kubectl(f.pod.Node)
	out, err := f.env.Shell.Shell(ctx, k.Node, line, nil)
	if err != nil {
		return Instant{}, fmt.Errorf("deleting %s: %w", f.pod.FullName(), err)
	}
	in, err := parseInstant(out, k.Node)
	if err != nil {
		return in, err
	}
	pods, err := k.Pods(ctx, f.env.Backend)
	if err != nil {
		return in, err
	}
	for _, p := range pods {
		if p.UID == f.pod.UID && !p.Terminating {
			return in, fmt.Errorf("deleting %s: the API server took the request, but the pod is not ending", f.pod.FullName())
		}
	}
	return in, nil
}

// End has nothing to undo; the instant at is the one that it was asked for.
func (f *podDelete) End(ctx context.Context, at time.Time) (Instant, error) {
	if !f.begun || f.ended {
		return Instant{}, nil
	}
	f.ended = true
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return Instant{}, ctx.Err()
	case <-timer.C:
	}
	now := time.Now()
	return Instant{Before: now, After: now}, nil
}

// Recover waits until another pod has taken its place.
func (f *podDelete) Recover(ctx context.Context) error {
	if !f.begun {
		return nil
	}
	// The Deployment counts a pod that is ending as gone; the next trial must not find it.
	if _, err := f.env.kubectl(f.pod.Node).Run(ctx, "wait", "--for=delete", "--timeout=60s", "-n", f.pod.Namespace, "pod/"+f.pod.Name); err != nil {
		if !strings.Contains(err.Error(), "NotFound") {
			return fmt.Errorf("waiting for %s to end: %w", f.pod.FullName(), err)
		}
	}
	return f.env.Healthy(ctx)
}
