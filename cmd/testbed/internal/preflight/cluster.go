// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// clusterChecks are about what runs on the nodes once they are a cluster.
func clusterChecks(inv *inventory.Inventory) []Check {
	checks := []Check{
		{
			Name: Programs, Reads: "which images of the node's have been started on its kernel", Bound: "all",
			Cure:   "testbed up starts each once",
			On:     func(n inventory.Node) bool { return n.In(inventory.Worker) },
			Kernel: true, Late: true,
			Script: startedScript,
			Judge: func(v string) (string, bool) {
				if v == "" {
					return "all started", true
				}
				return "never started here: " + strings.Join(strings.Fields(v), ", "), false
			},
		},
	}
	for _, m := range inv.Clusters() {
		checks = append(checks, memberChecks(m)...)
	}
	return checks
}

// memberChecks are those of one cluster of the inventory's.
func memberChecks(m *inventory.Inventory) []Check {
	is := func(node inventory.Node) func(inventory.Node) bool {
		return func(n inventory.Node) bool { return n.Name == node.Name }
	}
	return []Check{
		{
			Name: "kubelets", Reads: "kubectl get nodes", Bound: "every worker is Ready",
			Cure:   "testbed logs NODE -u kubelet",
			On:     is(m.ControlPlane()),
			Late:   true,
			Script: `kubectl get nodes --no-headers --request-timeout=10s -o 'custom-columns=N:.metadata.name,R:.status.conditions[?(@.type=="Ready")].status'`,
			Judge:  func(v string) (string, bool) { return judgeKubelets(v, m) },
		},
		{
			Name: "pods", Reads: "kubectl get pods -A", Bound: "each runs; none of an experiment's while none runs",
			Cure:   "kubectl get pods -A on the control node; what an experiment left, testbed up removes",
			On:     is(m.ControlPlane()),
			Late:   true,
			Script: `kubectl get pods -A --no-headers --request-timeout=10s && echo end`,
			Judge:  judgePods,
		},
		{
			Name: "scrapes", Reads: "Prometheus: up", Bound: "every target is up",
			Cure:   "testbed logs NODE -u prometheus; its page of targets says why",
			On:     is(m.Prometheus()),
			Late:   true,
			Script: `curl --silent --globoff --max-time 10 "http://[$address]:9090/api/v1/query?query=up"`,
			Judge:  judgeScrapes,
		},
	}
}

// judgeKubelets reads lines "NODE True".
func judgeKubelets(v string, inv *inventory.Inventory) (string, bool) {
	ready := map[string]bool{}
	for line := range strings.Lines(v) {
		if f := strings.Fields(line); len(f) == 2 {
			ready[f[0]] = f[1] == "True"
		}
	}
	var wrong []string
	count := 0
	for _, n := range inv.Group(inventory.Worker) {
		is, known := ready[n.Name]
		switch {
		case is:
			count++
		case known:
			wrong = append(wrong, n.Name+" is not Ready")
		default:
			wrong = append(wrong, n.Name+" is unknown to Kubernetes")
		}
	}
	if len(wrong) == 0 && count > 0 {
		return fmt.Sprintf("%d Ready", count), true
	}
	if len(ready) == 0 {
		return "the API server does not answer", false
	}
	return strings.Join(wrong, ", "), false
}

// judgePods reads the table of all pods: namespace, name, ready, status.
func judgePods(v string) (string, bool) {
	table, whole := strings.CutSuffix(v, "end")
	if !whole {
		return "the API server does not answer", false
	}
	var wrong []string
	count := 0
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		switch {
		case len(f) < 4:
		case f[0] == "bench":
			wrong = append(wrong, f[0]+"/"+f[1]+" of an experiment")
		case f[3] != "Running" && f[3] != "Completed":
			wrong = append(wrong, f[0]+"/"+f[1]+" "+f[3])
		default:
			count++
		}
	}
	if len(wrong) > 3 {
		wrong = append(wrong[:3], fmt.Sprintf("%d more", len(wrong)-3))
	}
	if len(wrong) > 0 {
		return strings.Join(wrong, ", "), false
	}
	return fmt.Sprintf("%d run", count), true
}

// judgeScrapes reads Prometheus's answer to the query "up".
func judgeScrapes(v string) (string, bool) {
	var answer struct {
		Status string
		Data   struct {
			Result []struct {
				Metric struct{ Job, Instance string }
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(v), &answer); err != nil || answer.Status != "success" {
		return "Prometheus does not answer", false
	}
	var down []string
	for _, r := range answer.Data.Result {
		if r.Value[1] != "1" {
			down = append(down, r.Metric.Job+" "+r.Metric.Instance)
		}
	}
	switch {
	case len(answer.Data.Result) == 0:
		return "no target at all", false
	case len(down) > 0:
		return "down: " + strings.Join(down, ", "), false
	}
	return fmt.Sprintf("%d targets up", len(answer.Data.Result)), true
}
