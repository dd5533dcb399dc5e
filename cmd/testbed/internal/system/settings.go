// SPDX-License-Identifier: Apache-2.0

package system

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// Settings names, for results, what decides the figures of a system in a setup.
func (b *Bench) Settings(s System, u scenario.Setup) map[string]string {
	workers := len(servers(b.Inventory, u))
	want := b.shapeOf(u)
	out := map[string]string{
		"system":  s.Name,
		"front":   s.Front,
		"pods":    fmt.Sprintf("%d on %d workers in each cluster", want.pods, workers),
		"timers":  timersWords(want.timers, b.Inventory.Kubernetes.Heartbeat),
		"retry":   s.retryWords(u.Retry),
		"budget":  "the same workers carry the system and the backend, whatever the system",
		"version": s.Version,
	}
	if parts := s.parts(u); len(parts) > 0 {
		out["manifest"] = "deploy/" + strings.Join(parts, " + deploy/")
		out["replicas"] = fmt.Sprintf("one on each of %d workers", workers)
	}
	if s.reach == byProxy {
		out["front"] = s.Front + "; " + frontWords(u, workers)
	}
	if s.tuned != "" && u.Pack == packTuned {
		out["tuned.for"] = s.tuned
	}
	switch {
	case !u.TLS:
		out["tls"] = "none"
	case s.reach == byProxy:
		out["tls"] = "terminated by the proxy, which speaks to pods in the clear; ECDSA P-256, TLS 1.3, no resumption"
	default:
		out["tls"] = "terminated by the pods; ECDSA P-256, TLS 1.3, no resumption"
	}
	switch {
	case s.reach != byZone:
	case u.DynamicTTL:
		out["ttl"] = "chosen by deploy/policies/dynamic-ttl"
	default:
		out["ttl"] = want.ttl.String()
	}
	if s.Difference != "" {
		out["difference"] = s.Difference
	}
	for key, value := range out {
		if value == "" {
			delete(out, key)
		}
	}
	return out
}

// Who tries again, in words.
const (
	clientRetries = "clients try once more at once, at an address that has not failed in the last 5 s if there is one"
	clientsDoNot  = "clients try once"
)

func (s System) retryWords(level string) string {
	client := clientsDoNot
	if level == retryClient || level == retryBoth {
		client = clientRetries
	}
	if s.reach != byProxy {
		return client
	}
	proxy := "the proxy does not"
	switch {
	case level == retryProxy || level == retryBoth:
		proxy = "the proxy tries one pod more after a connection that fails or breaks"
	case level == "" && s.Product() == "nginx":
		proxy = "the proxy tries the next pod after an error or a timeout, until none is left"
	}
	return client + "; " + proxy
}

// retryFlags are those of the load generator.
func retryFlags(level string) []string {
	if level == retryClient || level == retryBoth {
		return []string{"--attempts", "2", "--failed-for", "5s"}
	}
	return []string{"--attempts", "1"}
}

// Images lists the references of the images that the manifests name, each once.
func Images(manifest []byte) []string {
	var refs []string
	for line := range strings.Lines(string(manifest)) {
		key, ref, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "- "), ": ")
		if ref = strings.TrimSpace(ref); ok && key == "image" && !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return refs
}

// renderedPath is where the objects of a form are on a control node.
func renderedPath(form string) string { return path.Join(renderedDir, form) }
