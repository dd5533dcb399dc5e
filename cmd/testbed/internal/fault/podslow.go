// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"cmp"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// Slowness is how much longer every request of a slow pod takes, unless it is said.
const Slowness = 300 * time.Millisecond

// backendAdmin is the port of the backend's administrative address.
const backendAdmin = "9100"

// newPodSlow makes one backend pod slow: it stays ready and answers every request later. So it is with a pod
// whose disk, cache or neighbour fails it: nothing in Kubernetes takes it out of service. The pod is replaced
// afterwards: a policy rebuilds what it knows of a pod from Prometheus.
func newPodSlow(e *Env, p params) Fault {
	return onPods(e, PodSlow, p, []string{"pod-slow"}, func(pod kubectl.Pod) (map[string]string, error) {
		return map[string]string{"address": pod.Address, "port": backendAdmin, "delay": cmp.Or(p.by, Slowness).String()}, nil
	}).replacing(e)
}
