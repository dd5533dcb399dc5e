// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// services are units of one control node of a cluster, in the order in which they start.
type services struct {
	units []string
	on    func(cluster *inventory.Inventory) inventory.Node
	// ready is a line that ends well when they do their work; $address is their node's.
	ready string
}

// apiReady asks the API server, which asks etcd.
const apiReady = "kubectl get --raw /readyz >/dev/null"

func ofControlPlane(units ...string) services {
	return services{units, (*inventory.Inventory).ControlPlane, apiReady}
}

func apiserver() services { return ofControlPlane("kube-apiserver") }
func etcd() services      { return ofControlPlane("etcd") }
func controlPlane() services {
	return ofControlPlane("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
}

func prometheus() services {
	return services{[]string{"prometheus"}, (*inventory.Inventory).Prometheus, `curl -gsf --max-time 5 "http://[$address]:9090/-/ready" >/dev/null`}
}

// readyTimeout bounds what a service may take from its start to its work.
const readyTimeout = 90

// unitKiller kills services of a cluster.
func unitKiller(kind string, s services) func(e *Env, _ params) Fault {
	return func(e *Env, _ params) Fault {
		f := &held{env: e, kind: kind}
		var struck inventory.Node
		f.aim = func(ctx context.Context, rng *rand.Rand) (Target, []strike, error) {
			cluster, err := e.choose(ctx, rng)
			if err != nil {
				return Target{}, nil, err
			}
			struck = s.on(cluster)
			units := strings.Join(s.units, " ")
			t := Target{Node: struck.Name, Name: list(s.units) + " of " + nameOf(cluster)}
			return t, []strike{{node: struck.Name, what: units, script: script("units"), vars: map[string]string{"units": units}}}, nil
		}
		f.recovered = func(ctx context.Context) error {
			line := fmt.Sprintf("address=%s; for i in $(seq %d); do %s && exit 0; sleep 1; done; exit 1", struck.Address, readyTimeout, s.ready)
			ctx, cancel := context.WithTimeoutCause(ctx, 3*readyTimeout*time.Second, fmt.Errorf("%s is not ready again", list(s.units)))
			defer cancel()
			if _, err := e.Shell.Shell(ctx, struck.Name, line, nil); err != nil {
				return fmt.Errorf("waiting for %s: %w", list(s.units), err)
			}
			if s.units[0] == "prometheus" {
				return nil
			}
			// While nobody wrote down that nodes live, some were taken for dead.
			return e.ready(ctx, e.Inventory.Group(inventory.Worker))
		}
		return f
	}
}
