// SPDX-License-Identifier: Apache-2.0

package system

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

func TestAccepts(t *testing.T) {
	for _, test := range []struct {
		system, factor, level string
		applies               bool
		why                   string // it cannot be; empty: it can
	}{
		{"nginx", "pack", "tuned", true, ""},
		{"nginx", "pack", "fast", true, `unknown level "fast" (hint: default, tuned)`},
		{"direct", "pack", "tuned", false, ""},
		{"dnsingress", "pack", "tuned", false, ""},
		{"external-dns", "pack", "tuned", true, ""},
		{"nginx-least", "pack", "tuned", false, ""},
		{"traefik", "front", "keepalived", true, ""},
		{"traefik", "front", "l2", true, "kube-proxy"},
		{"traefik", "front", "bgp", true, "needs a router"},
		{"traefik", "front", "anycast", true, "unknown level"},
		{"dnsingress", "front", "keepalived", false, ""},
		{"direct", "tls", "on", true, ""},
		{"envoy", "tls", "on", true, ""},
		{"envoy-least", "tls", "on", true, "no manifest for TLS (hint: envoy has)"},
		{"envoy-least", "tls", "off", true, ""},
		{"direct", "retry", "client", true, ""},
		{"direct", "retry", "both", true, "nothing between client and pod"},
		{"envoy", "retry", "both", true, ""},
		{"dnsingress", "ttl", "30s", true, ""},
		{"dnsingress", "ttl", "dynamic", true, ""},
		{"external-dns", "ttl", "dynamic", true, "only dnsingress"},
		{"nginx", "ttl", "30s", false, ""},
		{"nginx", "timers", "stock", true, ""},
		{"nginx", "timers", "slow", true, "unknown level"},
		{"nginx", "services", "1000", true, ""},
		{"traefik-least", "services", "10", true, "no manifest for several services"},
		{"coredns-k8s-gateway", "services", "10", true, "no manifest for several services"},
		{"direct", "client_ttl", "honour", false, ""},
		{"direct", "pods", "4", true, ""},
	} {
		s, ok := ByName(test.system)
		if !ok {
			t.Fatalf("no system %s", test.system)
		}
		applies, err := s.Accepts(test.factor, test.level)
		why := ""
		if err != nil {
			why = err.Error()
		}
		if applies != test.applies || (test.why == "") != (why == "") || !strings.Contains(why, test.why) {
			t.Errorf("%s, %s %s: %v, %q; want %v, %q", test.system, test.factor, test.level, applies, why, test.applies, test.why)
		}
	}
}

// A system is refused whose manifests are not in the repository, and one that cannot stand as it is asked to.
func TestCheck(t *testing.T) {
	for _, s := range All() {
		if err := s.Check(repo, scenario.Setup{}); err != nil {
			t.Error(err)
		}
	}
	nginx, _ := ByName("nginx")
	empty := t.TempDir()
	if err := nginx.Check(empty, scenario.Setup{}); err == nil ||
		err.Error() != "system nginx has no manifest: deploy/baselines/nginx/default/kustomization.yaml is not there" {
		t.Errorf("no manifest: %v", err)
	}
	at := filepath.Join(empty, "deploy/baselines/nginx/default")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, "kustomization.yaml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := nginx.Check(empty, scenario.Setup{}); err != nil {
		t.Error(err)
	}
	err := nginx.Check(empty, scenario.Setup{Pack: packTuned, TLS: true, Front: frontBGP})
	if err == nil {
		t.Fatal("found nothing wrong")
	}
	for _, want := range []string{
		"deploy/baselines/nginx/tuned/kustomization.yaml is not there", "deploy/baselines/nginx/tls/kustomization.yaml is not there",
		"system nginx, front bgp: BGP ECMP needs a router",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	direct, _ := ByName("direct")
	if err := direct.Check(repo, scenario.Setup{Retry: retryProxy}); err == nil || !strings.Contains(err.Error(), "system direct, retry proxy: ") {
		t.Errorf("direct with a proxy that retries: %v", err)
	}
}

// Manifests that differ have names that differ, and the same ones the same.
func TestForm(t *testing.T) {
	for want, test := range map[string]struct {
		system string
		setup  scenario.Setup
	}{
		"nginx":                         {"nginx", scenario.Setup{Pack: packDefault, Front: frontStatic, Timers: timersStock, Pods: 4, Workers: 2}},
		"nginx--tuned--tls--keepalived": {"nginx", scenario.Setup{Pack: packTuned, TLS: true, Front: frontKeepalived}},
		"nginx--retry-none":             {"nginx", scenario.Setup{Retry: retryClient}},
		"traefik":                       {"traefik", scenario.Setup{Retry: retryNone}},
		"traefik--100":                  {"traefik", scenario.Setup{Services: 100}},
		"dnsingress":                    {"dnsingress", scenario.Setup{TLS: true, Services: 100, Front: frontKeepalived}},
		"coredns-k8s-gateway--1m0s":     {"coredns-k8s-gateway", scenario.Setup{TTL: 60e9}},
		"external-dns--tuned":           {"external-dns", scenario.Setup{Pack: packTuned}},
	} {
		s, ok := ByName(test.system)
		if got := s.Form(test.setup); !ok || got != want {
			t.Errorf("%s: %+v is %s, want %s", test.system, test.setup, got, want)
		}
	}
}

// Results say where a proxy stands, how it is reached, who tries again and in what it is not what its name promises.
func TestSettings(t *testing.T) {
	b := &Bench{Inventory: twin(t)}
	nginx, _ := ByName("nginx")
	got := b.Settings(nginx, scenario.Setup{Pack: packTuned, TLS: true, Retry: retryBoth, Front: frontKeepalived, Timers: timersStock})
	for key, want := range map[string]string{
		"manifest": "deploy/baselines/nginx/tuned + deploy/baselines/nginx/tls + deploy/baselines/nginx/retry-proxy", "front": "virtual address",
		"replicas": "each worker", "difference": "no NGINX controller can be built", "tuned.for": "CPU time", "tls.on": "by the proxy",
		"retry.both": "the proxy tries one pod more", "timers.stock": "50 s", "version": "1.22.1",
	} {
		if !strings.Contains(got[key], want) {
			t.Errorf("%s: %q lacks %q", key, got[key], want)
		}
	}
	direct, _ := ByName("direct")
	if got := b.Settings(direct, scenario.Setup{}); got["manifest"] != "" || got["retry.stock"] != clientsDoNot || got["difference"] != "" {
		t.Errorf("direct: %v", got)
	}
}
