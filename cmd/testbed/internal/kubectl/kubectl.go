// SPDX-License-Identifier: Apache-2.0

// Package kubectl runs kubectl on a control node. Testbed links no Kubernetes client: what it does
// to the cluster is what a person at the control node could type.
package kubectl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// Shell runs a command line on a node and returns what it printed.
type Shell interface {
	Shell(ctx context.Context, node, line string, stdin io.Reader) (stdout []byte, err error)
}

// Client runs kubectl on one node.
type Client struct {
	Shell Shell
	Node  string
}

// Run runs kubectl with args.
func (c *Client) Run(ctx context.Context, args ...string) ([]byte, error) {
	quoted := make([]string, 0, len(args)+1)
	quoted = append(quoted, "kubectl")
	for _, a := range args {
		quoted = append(quoted, Quote(a))
	}
	return c.Shell.Shell(ctx, c.Node, strings.Join(quoted, " "), nil)
}

// Quote makes s one word of a POSIX shell.
func Quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Pod is what the test bed wants to know of a pod.
type Pod struct {
	Namespace, Name, UID string
	Node                 string
	Address              string // empty before it has one
	Ready, Terminating   bool
	HostNetwork          bool
	Labels               map[string]string
	Containers           []Container // those of the application; the sandbox is none of them
	Images               []string
}

// Container is one container of a pod.
type Container struct {
	Name    string
	ID      string    // without the runtime's scheme; empty before it was created
	Started time.Time // to the second; zero while it does not run
}

// StartedSince says whether all containers run, and were started at the instant or after it.
func (p *Pod) StartedSince(t time.Time) bool {
	return len(p.Containers) > 0 && !slices.ContainsFunc(p.Containers, func(c Container) bool {
		return c.Started.Before(t.Truncate(time.Second)) // which a container that does not run is, too
	})
}

// FullName is namespace/name.
func (p *Pod) FullName() string { return p.Namespace + "/" + p.Name }

// Pods lists the pods of all namespaces that selector matches; an empty selector matches all.
func (c *Client) Pods(ctx context.Context, selector string) ([]Pod, error) {
	args := []string{"get", "pods", "-A", "-o", "json"}
	if selector != "" {
		args = append(args, "-l", selector)
	}
	out, err := c.Run(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	return parsePods(out)
}

func parsePods(data []byte) ([]Pod, error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Namespace, Name, UID string
				Labels               map[string]string
				DeletionTimestamp    *time.Time
			}
			Spec struct {
				NodeName    string
				HostNetwork bool
				Containers  []struct{ Image string }
			}
			Status struct {
				PodIP             string
				Conditions        []struct{ Type, Status string }
				ContainerStatuses []struct {
					Name, ContainerID string
					State             struct{ Running struct{ StartedAt time.Time } }
				}
			}
		}
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("parsing the list of pods: %w", err)
	}
	pods := make([]Pod, 0, len(list.Items))
	for _, i := range list.Items {
		p := Pod{
			Namespace: i.Metadata.Namespace, Name: i.Metadata.Name, UID: i.Metadata.UID, Labels: i.Metadata.Labels,
			Node: i.Spec.NodeName, HostNetwork: i.Spec.HostNetwork, Address: i.Status.PodIP,
			Terminating: i.Metadata.DeletionTimestamp != nil,
		}
		for _, c := range i.Status.Conditions {
			p.Ready = p.Ready || c.Type == "Ready" && c.Status == "True"
		}
		for _, c := range i.Status.ContainerStatuses {
			_, id, _ := strings.Cut(c.ContainerID, "://")
			p.Containers = append(p.Containers, Container{c.Name, id, c.State.Running.StartedAt})
		}
		for _, c := range i.Spec.Containers {
			p.Images = append(p.Images, c.Image)
		}
		pods = append(pods, p)
	}
	return pods, nil
}

// Workload is an object that makes pods.
type Workload struct{ Kind, Namespace, Name string }

// Apply applies the manifests in a file or directory of the node and returns the workloads among them.
func (c *Client) Apply(ctx context.Context, dir string) ([]Workload, error) {
	out, err := c.Run(ctx, "apply", "-f", dir, "-o", "json")
	if err != nil {
		return nil, fmt.Errorf("applying %s: %w", path.Base(dir), err)
	}
	return parseWorkloads(out)
}

func parseWorkloads(data []byte) ([]Workload, error) {
	type object struct {
		Kind     string
		Metadata struct{ Namespace, Name string }
	}
	var list struct {
		object
		Items []object
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("parsing what was applied: %w", err)
	}
	if list.Items == nil {
		list.Items = []object{list.object}
	}
	var out []Workload
	for _, i := range list.Items {
		switch i.Kind {
		case "Deployment", "DaemonSet", "StatefulSet":
			out = append(out, Workload{i.Kind, i.Metadata.Namespace, i.Metadata.Name})
		}
	}
	return out, nil
}

// Await waits until the workloads are rolled out: all their pods are of the last template and ready.
func (c *Client) Await(ctx context.Context, timeout time.Duration, workloads ...Workload) error {
	lines := make([]string, 0, len(workloads))
	for _, w := range workloads {
		lines = append(lines, fmt.Sprintf("kubectl -n %s rollout status %s/%s --timeout=%s",
			Quote(w.Namespace), strings.ToLower(w.Kind), Quote(w.Name), timeout))
	}
	if len(lines) == 0 {
		return nil
	}
	if _, err := c.Shell.Shell(ctx, c.Node, strings.Join(lines, " && "), nil); err != nil {
		return fmt.Errorf("waiting for pods to become ready: %w", err)
	}
	return nil
}

// Delete deletes what the manifests in dir name and waits until no pod that selector matches is left.
func (c *Client) Delete(ctx context.Context, timeout time.Duration, dir, selector string) error {
	line := fmt.Sprintf("if [ -e %[1]s ]; then kubectl delete -f %[1]s --ignore-not-found --timeout=%[2]s; fi && "+
		"kubectl wait pod -A -l %[3]s --for=delete --timeout=%[2]s", Quote(dir), timeout, Quote(selector))
	if _, err := c.Shell.Shell(ctx, c.Node, line, nil); err != nil {
		return fmt.Errorf("removing %s: %w", path.Base(dir), err)
	}
	return nil
}

// Version returns the versions of the client and of the API server.
func (c *Client) Version(ctx context.Context) (client, server string, err error) {
	out, err := c.Run(ctx, "version", "-o", "json")
	if err != nil {
		return "", "", fmt.Errorf("asking for versions: %w", err)
	}
	var v struct{ ClientVersion, ServerVersion struct{ GitVersion string } }
	if err := json.Unmarshal(out, &v); err != nil {
		return "", "", fmt.Errorf("parsing versions: %w", err)
	}
	return v.ClientVersion.GitVersion, v.ServerVersion.GitVersion, nil
}
