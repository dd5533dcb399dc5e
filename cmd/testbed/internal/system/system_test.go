// SPDX-License-Identifier: Apache-2.0

package system

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

const repo = "../../../.."

func twin(t *testing.T) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.Load(filepath.Join(repo, "pi-cluster/inventory.twin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// someFacts are those of a scenario's backend on the twin.
func someFacts(t *testing.T) facts {
	t.Helper()
	pair, err := newCertificate(twin(t), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return facts{
		whole: twin(t), member: twin(t), secret: "c2VjcmV0", certificate: pair,
		backend: scenario.Backend{Replicas: 4, ResponseBytes: 2048, ServiceTime: 3 * time.Millisecond},
	}
}

// unpack writes the manifests for a scenario's backend below a directory.
func unpack(t *testing.T) string {
	t.Helper()
	packed, err := manifests(repo, someFacts(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unpackTo(t, packed, dir)
	return dir
}

func unpackTo(t *testing.T, packed []byte, dir string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(packed)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManifestsHoldWhatTheInventorySays(t *testing.T) {
	dir := unpack(t)
	data, err := os.ReadFile(filepath.Join(dir, "dnsingress/config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Zones []struct {
			Origin      string
			Nameservers []struct {
				Name      string
				Addresses []string
			}
		}
		Prometheus struct{ URLs []string }
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Zones) != 1 || config.Zones[0].Origin != "apps.test." || len(config.Zones[0].Nameservers) != 3 {
		t.Fatalf("zones: %+v", config.Zones)
	}
	if ns := config.Zones[0].Nameservers[2]; ns.Name != "worker-3.apps.test." || !cmp.Equal(ns.Addresses, []string{"fd6e:7369:0:1::13"}) {
		t.Errorf("third name server: %+v", ns)
	}
	if want := []string{"http://[fd6e:7369:0:1::1]:9090"}; !cmp.Equal(config.Prometheus.URLs, want) {
		t.Errorf("prometheus: %v", config.Prometheus.URLs)
	}
	if _, err := os.Stat(filepath.Join(dir, "images")); err == nil {
		t.Error("the images' sources are among the manifests")
	}
}

// forms are setups in which systems stand otherwise than by default.
func forms() []scenario.Setup {
	return []scenario.Setup{
		{},
		{Pack: packTuned},
		{TLS: true},
		{Retry: retryNone},
		{Retry: retryBoth},
		{Retry: retryProxy, TLS: true, Pack: packTuned},
		{Front: frontKeepalived, TLS: true},
		{Services: 10, TLS: true},
		{TTL: 30 * time.Second},
		{DynamicTTL: true},
	}
}

// possible says whether a system can stand in a setup.
func possible(s System, u scenario.Setup) bool {
	if u.DynamicTTL && s.Product() != "dnsingress" {
		return false
	}
	return s.Check(repo, u) == nil
}

// Every system's manifests can be rendered in every setup, and hold what the runner counts on.
func TestKustomizations(t *testing.T) {
	program := findKubectl(t)
	dir := unpack(t)
	render := func(rel string) string {
		out, err := exec.Command(program, "kustomize", filepath.Join(dir, rel)).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", rel, err, out)
		}
		return string(out)
	}
	backend := render("run/backend")
	for _, want := range []string{
		"replicas: 4", "- --size=2048", "- --delay=3ms", "external-dns.kubernetes.io/hostname: backend.apps.test\n", "clusterIP: None",
		"- --tls=[::]:443", "secretName: backend-tls", "type: kubernetes.io/tls", "name: dnsendpoints.externaldns.k8s.io",
	} {
		if !strings.Contains(backend, want) {
			t.Errorf("the backend's manifests lack %q:\n%s", want, backend)
		}
	}
	rendered := map[string]string{}
	for _, s := range All() {
		for _, u := range forms() {
			name := s.Form(u)
			if s.Dir == "" || !possible(s, u) || rendered[name] != "" {
				continue
			}
			files, err := s.overlay(someFacts(t), u)
			if err != nil {
				t.Fatal(err)
			}
			packed, err := archive(files)
			if err != nil {
				t.Fatal(err)
			}
			unpackTo(t, packed, filepath.Join(dir, formDir(name)))
			rendered[name] = render(formDir(name))
			checkRendered(t, s, name, rendered[name])
		}
	}
	for form, wants := range map[string][]string{
		"nginx--tuned":                      {"- --upstream-keepalive=64", "- --connect-timeout=250ms"},
		"nginx--retry-none":                 {"- --tries=1"},
		"nginx--tls--services--10":          {"- --hosts=nginx.proxies.test", "- --tls-listen=[::]:443"},
		"nginx--tls--keepalived":            {"fd6e:7369:0:1::ff01/128", "http://[::1]:9113/readyz", "image: testbed.local/keepalived:2.2.7"},
		"nginx-controller--tuned":           {`keepalive: "64"`, "proxy-connect-timeout: 250ms", `access-log-off: "True"`},
		"nginx-controller--retry-none":      {"server-snippets: proxy_next_upstream_tries 1;"},
		"nginx-controller--tls--10":         {"host: backend-10.nginx-controller.proxies.test", "ingressClassName: nginx"},
		"nginx-controller--tls--keepalived": {"http://[::1]:8081/nginx-ready", "secretName: backend-tls", `ssl-redirect: "False"`},
		"traefik--tuned--tls--retry-proxy--retry-proxy-tls": {
			"- --providers.providersThrottleDuration=100ms", "- --entryPoints.websecure.http.middlewares=retry@file", "attempts: 2",
			"- --entryPoints.web.http.middlewares=retry@file", "name: traefik-retry", "secretName: backend-tls",
		},
		"traefik--tls--10":         {"host: backend-10.traefik.proxies.test"},
		"envoy--tuned":             {"max-pending-requests: 100000"},
		"envoy--retry-proxy":       {`projectcontour.io/num-retries: "1"`},
		"envoy--tls--10":           {"host: backend-10.envoy.proxies.test", "host: envoy.proxies.test"},
		"external-dns--tuned":      {"- --min-event-sync-interval=1s"},
		"coredns-k8s-gateway":      {"ttl 5\n"},
		"coredns-k8s-gateway--30s": {"ttl 30\n"},
		"dnsingress--dynamic-ttl":  {"name: dynamic-ttl"},
	} {
		if rendered[form] == "" {
			t.Errorf("there is no form %s", form)
		}
		for _, want := range wants {
			if !strings.Contains(rendered[form], want) {
				t.Errorf("%s lacks %q:\n%s", form, want, rendered[form])
			}
		}
	}
}

// checkRendered holds a form of a system to what removing, attributing and placing it count on.
func checkRendered(t *testing.T, s System, form, text string) {
	t.Helper()
	type template struct {
		Metadata struct{ Labels map[string]string }
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	workloads := 0
	for {
		var object struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
			Spec     struct{ Template template }
		}
		err := dec.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		switch object.Kind {
		case "Namespace":
			if object.Metadata.Name == "bench" {
				t.Errorf("%s declares namespace bench, and would take the backend with it", form)
			}
		case "Deployment", "DaemonSet", "StatefulSet":
			workloads++
			labels := object.Spec.Template.Metadata.Labels
			if labels[SystemLabel] != s.Product() || labels[ComponentLabel] == "" {
				t.Errorf("%s: pods of %s have labels %v", form, object.Metadata.Name, labels)
			}
			if object.Kind != "DaemonSet" && labels["testbed.dnsingress.dev/role"] == "" {
				t.Errorf("%s: %s %s is no replica on every worker, and no part with a role of its own", form, object.Kind, object.Metadata.Name)
			}
		}
	}
	if workloads == 0 {
		t.Errorf("%s has no workload", form)
	}
	if len(Images([]byte(text))) == 0 {
		t.Errorf("%s: no image found", form)
	}
}

// findKubectl returns the kubectl that the test bed builds.
func findKubectl(t *testing.T) string {
	t.Helper()
	cache, err := cluster.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	store, err := bundle.Open(cache, repo)
	if err != nil {
		t.Fatal(err)
	}
	kubernetes := new(bundle.Kubernetes)
	key, err := kubernetes.Key(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	program := kubernetes.Place(key) // in the cache, or in KUBE_BIN_DIR
	if !filepath.IsAbs(program) {
		program = filepath.Join(cache, program)
	}
	program = filepath.Join(program, "kubectl")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no kubectl")
	}
	t.Skip("NOT TESTED: no kubectl (hint: make kube-binaries)")
	return ""
}

func TestTarget(t *testing.T) {
	b := &Bench{Inventory: twin(t)}
	pods := []kubectl.Pod{{Address: "fd00::1", Ready: true}, {Address: "fd00::2"}, {Address: "fd00::3", Ready: true}}
	for name, want := range map[string]Target{
		"direct":     {URL: "http://backend.apps.test/", Addresses: []string{"fd00::1", "fd00::3"}},
		"dnsingress": {URL: "http://backend.apps.test/"},
		"traefik":    {URL: "http://traefik.proxies.test/"},
	} {
		s, ok := ByName(name)
		if !ok {
			t.Fatalf("no system %q", name)
		}
		want.Args = []string{"--attempts", "1"}
		if d := cmp.Diff(want, b.Target(s, scenario.Setup{}, pods)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if _, ok := ByName("apache"); ok {
		t.Error("there is a system apache")
	}
	envoy, _ := ByName("envoy")
	want := Target{
		URL: "https://backend-1.envoy.proxies.test/?size=1048576", Hosts: []string{"backend-1.envoy.proxies.test", "backend-2.envoy.proxies.test"},
		Args: []string{"--attempts", "2", "--failed-for", "5s", "--ca", "/opt/testbed/tls/ca.pem"},
	}
	if d := cmp.Diff(want, b.Target(envoy, scenario.Setup{TLS: true, Services: 2, ResponseBytes: 1 << 20, Retry: retryBoth}, pods)); d != "" {
		t.Error(d)
	}
}

// The probe says what is missing until all is there.
func TestProbe(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("port 80 needs root")
		}
		t.Skip("NOT TESTED: port 80 needs root")
	}
	l, err := net.Listen("tcp", "[::1]:80")
	if err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "nginx.proxies.test" {
			http.Error(w, "another host", http.StatusNotFound)
		}
	})}}
	server.Start()
	defer server.Close()
	ask := func(q question) (string, error) {
		asked, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("python3", "-", string(asked))
		cmd.Stdin = strings.NewReader(probeProgram)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := ask(question{Host: "nginx.proxies.test", Addresses: []string{"::1"}, Seconds: 30}); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	for want, q := range map[string]question{
		"GET http://[::1]/: status 404":                            {Host: "other", Addresses: []string{"::1"}},
		"no address to ask":                                        {Host: "other"},
		fmt.Sprintf("asking %s for x.test: ", "fd00:dead:beef::1"): {Host: "x.test", Servers: []string{"fd00:dead:beef::1"}},
	} {
		if out, err := ask(q); err == nil || !strings.Contains(out, want) {
			t.Errorf("%+v: %v, %q, want %q", q, err, out, want)
		}
	}
}

// An answer of dnsingress is drawn; other systems give all pods that they know of.
func TestGiven(t *testing.T) {
	for _, test := range []struct {
		system               string
		pods, clusters, want int
	}{
		{"dnsingress", 6, 1, 6},
		{"dnsingress", 12, 1, 8},
		{"dnsingress-weighted", 10, 1, 5},
		{"dnsingress-peers", 12, 3, 8},
		{"coredns-k8s-gateway", 12, 1, 12},
		{"external-dns", 12, 1, 12},
		{"external-dns", 12, 3, 4},
	} {
		s, ok := ByName(test.system)
		if got := s.given(test.pods, test.clusters); !ok || got != test.want {
			t.Errorf("%s with %d pods in %d clusters gives %d, want %d", test.system, test.pods, test.clusters, got, test.want)
		}
	}
}
