// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// Slowness is how much longer every request of a slow pod takes.
const Slowness = 300 * time.Millisecond

// backendAdmin is the port of the backend's administrative address.
const backendAdmin = "9100"

// podSlow makes one backend pod slow: it stays ready and answers every request, Slowness later. So it is with a pod
// whose disk, cache or neighbour fails it: nothing in Kubernetes takes it out of service.
type podSlow struct {
	env          Env
	pod          kubectl.Pod
	begun, ended bool
}

func (f *podSlow) Aim(ctx context.Context, rng *rand.Rand) (Target, error) {
	ready, err := readyBackends(ctx, f.env, PodSlow)
	if err != nil {
		return Target{}, err
	}
	f.pod = ready[rng.IntN(len(ready))]
	return Target{Node: f.pod.Node, Name: f.pod.FullName()}, nil
}

// readyBackends lists the pods that a fault can be aimed at.
func readyBackends(ctx context.Context, e Env, kind string) ([]kubectl.Pod, error) {
	pods, err := e.pods(ctx, e.Backend)
	if err != nil {
		return nil, err
	}
	ready := running(pods)
	if len(ready) == 0 {
		return nil, fmt.Errorf("aiming %s: none of %d backend pods is ready", kind, len(pods))
	}
	return ready, nil
}

// running picks the pods that are ready and not about to end.
func running(pods []kubectl.Pod) []kubectl.Pod {
	var ready []kubectl.Pod
	for _, p := range pods {
		if p.Ready && !p.Terminating && len(p.Containers) > 0 {
			ready = append(ready, p)
		}
	}
	return ready
}

// slowProgram asks the pod at argv[2] to be slower by argv[3] at the instant argv[1] on a connection that stands before
// that, and prints the instants before and after.
const slowProgram = `import http.client, sys, time
at, address, delay = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def until(at):
    time.sleep(max(0, (at - time.time_ns()) / 1e9))


host, port = address.rsplit(":", 1)
c = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=10)
until(at - 10**9)  # no server waits for a request for ever
c.connect()
until(at)
before = time.time_ns()
c.request("PUT", "/slow?delay=" + delay)
r = c.getresponse()
said = r.read().decode().strip()
after = time.time_ns()
if r.status != 200:
    sys.exit("the pod says %d %s" % (r.status, said))
print(before, after)
`

// set makes the pod slower by a delay, by a request from its own node: the instant is that node's.
func (f *podSlow) set(ctx context.Context, at time.Time, delay time.Duration) (Instant, error) {
	line := fmt.Sprintf("python3 - %d %s %s", at.UnixNano(), kubectl.Quote(net.JoinHostPort(f.pod.Address, backendAdmin)), delay)
	out, err := f.env.Shell.Shell(ctx, f.pod.Node, line, strings.NewReader(slowProgram))
	if err != nil {
		return Instant{}, fmt.Errorf("making %s slower by %s: %w", f.pod.FullName(), delay, err)
	}
	return parseInstant(out, f.pod.Node)
}

func (f *podSlow) Begin(ctx context.Context, at time.Time) (Instant, error) {
	f.begun = true
	return f.set(ctx, at, Slowness)
}

func (f *podSlow) End(ctx context.Context, at time.Time) (Instant, error) {
	if !f.begun || f.ended {
		return Instant{}, nil
	}
	i, err := f.set(ctx, at, 0)
	f.ended = err == nil
	return i, err
}

// Recover replaces the pod, also one that is fast again: a policy rebuilds what it knows of a pod from Prometheus, and would
// hold this trial against it in the next.
func (f *podSlow) Recover(ctx context.Context) error {
	if !f.begun {
		return nil
	}
	if _, err := f.env.kubectl(f.pod.Node).Run(ctx, "delete", "pod", "-n", f.pod.Namespace, f.pod.Name, "--grace-period=1", "--ignore-not-found", "--timeout=60s"); err != nil {
		return fmt.Errorf("replacing %s: %w", f.pod.FullName(), err)
	}
	return f.env.Healthy(ctx)
}
