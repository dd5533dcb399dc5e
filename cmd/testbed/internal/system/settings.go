// SPDX-License-Identifier: Apache-2.0

package system

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// Settings names, for results, what decides the figures of a system in a setup, beside the levels of its factors: they are the
// same for all setups of one form, but for the words on a level, whose keys have it.
func (b *Bench) Settings(s System, u scenario.Setup) map[string]string {
	out := map[string]string{
		"front":   s.Front,
		"budget":  "the same workers carry the system and the backend, whatever the system",
		"version": s.Version,
		"timers." + cmp.Or(u.Timers, "inventory"): timersWords(u.Timers, b.Inventory.Kubernetes.Heartbeat),
		"retry." + cmp.Or(u.Retry, "stock"):       s.retryWords(u.Retry),
		"difference":                              s.Difference,
	}
	if parts := s.parts(u); len(parts) > 0 {
		out["manifest"] = "deploy/" + strings.Join(parts, " + deploy/")
		out["replicas"] = "one on each worker that the setup uses"
	}
	if s.reach == byProxy {
		out["front"] = s.Front + "; " + frontWords(u)
	}
	if s.tuned != "" && u.Pack == packTuned {
		out["tuned.for"] = s.tuned
	}
	switch {
	case u.TLS && s.reach == byProxy:
		out["tls.on"] = "terminated by the proxy, which speaks to pods in the clear; ECDSA P-256, TLS 1.3, no resumption"
	case u.TLS:
		out["tls.on"] = "terminated by the pods; ECDSA P-256, TLS 1.3, no resumption"
	}
	if u.DynamicTTL {
		out["ttl.dynamic"] = "chosen by deploy/policies/dynamic-ttl"
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
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
