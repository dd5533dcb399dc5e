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

// unpack writes the manifests for a scenario's backend below a directory.
func unpack(t *testing.T) string {
	t.Helper()
	archive, err := manifests(repo, facts{whole: twin(t), member: twin(t), backend: scenario.Backend{Replicas: 4, ResponseBytes: 2048, ServiceTime: 3 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
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

// Every system's manifests can be rendered, and hold what the runner counts on.
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
	for _, want := range []string{"replicas: 4", "- --size=2048", "- --delay=3ms", "external-dns.kubernetes.io/hostname: backend.apps.test\n", "clusterIP: None"} {
		if !strings.Contains(backend, want) {
			t.Errorf("the backend's manifests lack %q:\n%s", want, backend)
		}
	}
	for _, s := range All() {
		if s.Dir == "" {
			continue
		}
		type template struct {
			Metadata struct{ Labels map[string]string }
		}
		dec := yaml.NewDecoder(strings.NewReader(render(s.Dir)))
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
				t.Fatalf("%s: %v", s.Name, err)
			}
			switch object.Kind {
			case "Namespace":
				if object.Metadata.Name == "bench" {
					t.Errorf("%s declares namespace bench, and would take the backend with it", s.Name)
				}
			case "Deployment", "DaemonSet", "StatefulSet":
				workloads++
				labels := object.Spec.Template.Metadata.Labels
				if labels[SystemLabel] != s.Product() || labels[ComponentLabel] == "" {
					t.Errorf("%s: pods of %s have labels %v", s.Name, object.Metadata.Name, labels)
				}
			}
		}
		if workloads == 0 {
			t.Errorf("%s has no workload", s.Name)
		}
	}
}

// findKubectl returns the kubectl that the test bed builds.
func findKubectl(t *testing.T) string {
	t.Helper()
	cache, err := cluster.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "kube/*/kubectl"))
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("KUBE_BIN_DIR"); dir != "" {
		found = []string{filepath.Join(dir, "kubectl")}
	}
	if len(found) > 0 {
		return found[len(found)-1]
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
		if d := cmp.Diff(want, b.Target(s, pods)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if _, ok := ByName("apache"); ok {
		t.Error("there is a system apache")
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
