// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// newPodDelete deletes a backend pod as a scale-down does: it is asked to end, its address leaves the service, and a new pod
// with another address takes its place. Nothing is held broken: the address never comes back.
func newPodDelete(e *Env, p params) Fault { return podDeletion(e, PodDelete, p) }

// newPodDeleteForced deletes it with no grace: the API server forgets it at once, whatever its processes do.
func newPodDeleteForced(e *Env, p params) Fault { return podDeletion(e, PodDeleteForced, p) }

func podDeletion(e *Env, kind string, p params) *held {
	var gone []kubectl.Pod
	f := &held{env: e, kind: kind}
	f.aim = func(ctx context.Context, rng *rand.Rand) (Target, []strike, error) {
		pods, err := e.victims(ctx, rng, p)
		if err != nil {
			return Target{}, nil, err
		}
		var strikes []strike
		for _, pod := range pods {
			strikes = append(strikes, e.deletion(pod, kind == PodDeleteForced))
		}
		gone = pods
		return targetOf(pods), strikes, nil
	}
	// The Deployment counts a pod that is ending as gone; the next trial must not find it.
	f.recovered = func(ctx context.Context) error {
		pods, err := e.pods(ctx, e.Backend)
		if err != nil {
			return err
		}
		for _, pod := range gone {
			if !slices.ContainsFunc(pods, func(p kubectl.Pod) bool { return p.UID == pod.UID && p.Terminating }) {
				continue // it is gone, or was never deleted
			}
			if _, err := e.kubectl(pod.Node).Run(ctx, "wait", "--for=delete", "--timeout=60s", "-n", pod.Namespace, "pod/"+pod.Name); err != nil && !strings.Contains(err.Error(), "NotFound") {
				return fmt.Errorf("waiting for %s to end: %w", pod.FullName(), err)
			}
		}
		return nil
	}
	return f
}

// deletion deletes a pod by one request to the API server, on the control node, by whose clock it is timed.
func (e *Env) deletion(pod kubectl.Pod, forced bool) strike {
	options, force := map[string]any{"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": map[string]string{"uid": pod.UID}}, ""
	if forced {
		options["gracePeriodSeconds"], force = 0, "yes"
	}
	return strike{
		node: e.kubectl(pod.Node).Node, what: pod.FullName(), momentary: true, script: script("api", "pod-delete"),
		vars: map[string]string{
			"method": "DELETE", "path": fmt.Sprintf("/api/v1/namespaces/%s/pods/%s", pod.Namespace, pod.Name), "type": "application/json", "body": text(options),
			"namespace": pod.Namespace, "pod": pod.Name, "uid": pod.UID, "forced": force,
		},
	}
}

// text is a plain value as JSON.
func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values
	}
	return string(b)
}

// newRollout replaces all backend pods as a new version of a service does: the Deployment's template gets another annotation.
func newRollout(e *Env, _ params) Fault {
	type deployment struct{ node, namespace, name string }
	var rolled []deployment
	f := &held{env: e, kind: Rollout}
	f.aim = func(ctx context.Context, _ *rand.Rand) (Target, []strike, error) {
		pods, err := e.pods(ctx, e.Backend)
		if err != nil {
			return Target{}, nil, err
		}
		if pods = readyOf(pods); len(pods) == 0 {
			return Target{}, nil, fmt.Errorf("no backend pod is ready")
		}
		var (
			strikes []strike
			names   []string
		)
		for _, pod := range pods {
			k := e.kubectl(pod.Node)
			name, err := owner(ctx, k, pod)
			if err != nil {
				return Target{}, nil, err
			}
			d := deployment{k.Node, pod.Namespace, name}
			if slices.Contains(rolled, d) {
				continue
			}
			rolled, names = append(rolled, d), append(names, d.namespace+"/"+d.name)
			patch := map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
				"annotations": map[string]string{"testbed.dnsingress.dev/rolled": time.Now().UTC().Format(time.RFC3339Nano)},
			}}}}
			strikes = append(strikes, strike{
				node: k.Node, what: d.namespace + "/" + d.name, momentary: true, script: script("api", "rollout"),
				vars: map[string]string{
					"method": "PATCH", "path": fmt.Sprintf("/apis/apps/v1/namespaces/%s/deployments/%s", d.namespace, d.name),
					"type": "application/strategic-merge-patch+json", "body": text(patch), "namespace": d.namespace, "deployment": d.name,
				},
			})
		}
		t := targetOf(pods)
		t.Name = list(names)
		return t, strikes, nil
	}
	f.recovered = func(ctx context.Context) error {
		for _, d := range rolled {
			k := kubectl.Client{Shell: e.Shell, Node: d.node}
			if err := k.Await(ctx, 2*time.Minute, kubectl.Workload{Kind: "Deployment", Namespace: d.namespace, Name: d.name}); err != nil {
				return err
			}
		}
		return nil
	}
	return f
}

// owner returns the Deployment that selects a pod.
func owner(ctx context.Context, k *kubectl.Client, pod kubectl.Pod) (string, error) {
	out, err := k.Run(ctx, "get", "deployments", "-n", pod.Namespace, "-o", "json")
	if err != nil {
		return "", fmt.Errorf("listing Deployments: %w", err)
	}
	var found struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct {
				Selector struct{ MatchLabels map[string]string }
			}
		}
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return "", fmt.Errorf("parsing the list of Deployments: %w", err)
	}
	for _, d := range found.Items {
		labels := maps.Clone(d.Spec.Selector.MatchLabels)
		maps.DeleteFunc(labels, func(key, value string) bool { return pod.Labels[key] == value })
		if len(d.Spec.Selector.MatchLabels) > 0 && len(labels) == 0 {
			return d.Metadata.Name, nil
		}
	}
	return "", fmt.Errorf("pod %s is of no Deployment", pod.FullName())
}
