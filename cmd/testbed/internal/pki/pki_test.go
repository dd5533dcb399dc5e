// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

func testInventory() *inventory.Inventory {
	return &inventory.Inventory{
		Cluster: "test",
		Network: inventory.Network{Nodes: netip.MustParsePrefix("fd00:1::/64"), Services: netip.MustParsePrefix("fd00:f::/112")},
		Nodes: []inventory.Node{
			{Name: "c1", Groups: []string{"control"}, Address: netip.MustParseAddr("fd00:1::1")},
			{Name: "w1", Groups: []string{"worker"}, Address: netip.MustParseAddr("fd00:1::11"), Pods: netip.MustParsePrefix("fd00:11::/64")},
			{Name: "w2", Groups: []string{"worker"}, Address: netip.MustParseAddr("fd00:1::12"), Pods: netip.MustParsePrefix("fd00:12::/64")},
		},
	}
}

func TestEnsureChangesOnlyWhatMustChange(t *testing.T) {
	everything := []string{
		"admin.crt", "admin.key", "admin.kubeconfig", "apiserver.crt", "apiserver.key", "ca.crt", "ca.key",
		"controller-manager.crt", "controller-manager.key", "controller-manager.kubeconfig", "kube-proxy.crt", "kube-proxy.key", "kube-proxy.kubeconfig",
		"kubelet-client.crt", "kubelet-client.key",
		"node-w1.crt", "node-w1.key", "node-w1.kubeconfig", "node-w2.crt", "node-w2.key", "node-w2.kubeconfig",
		"prometheus.crt", "prometheus.key", "prometheus.kubeconfig", "proxy-client.crt", "proxy-client.key", "sa.key", "sa.pub",
		"scheduler.crt", "scheduler.key", "scheduler.kubeconfig",
	}
	now := time.Now()
	later := slices.DeleteFunc(slices.Clone(everything), func(n string) bool { return strings.HasPrefix(n, "ca.") || strings.HasPrefix(n, "sa.") })
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string, inv *inventory.Inventory)
		after  time.Duration
		want   []string
	}{
		{"nothing", func(*testing.T, string, *inventory.Inventory) {}, 0, nil},
		{"a day later", func(*testing.T, string, *inventory.Inventory) {}, 24 * time.Hour, nil},
		{"leaves end soon", func(*testing.T, string, *inventory.Inventory) {}, leafLife - renewal + time.Hour, later},
		{"a node's address", func(_ *testing.T, _ string, inv *inventory.Inventory) {
			inv.Nodes[1].Address = netip.MustParseAddr("fd00:1::19")
		}, 0, []string{"node-w1.crt", "node-w1.key", "node-w1.kubeconfig"}},
		{"the API server's address", func(_ *testing.T, _ string, inv *inventory.Inventory) {
			inv.Nodes[0].Address = netip.MustParseAddr("fd00:1::2")
		}, 0, []string{"admin.kubeconfig", "apiserver.crt", "apiserver.key", "controller-manager.kubeconfig", "kube-proxy.kubeconfig", "node-w1.kubeconfig", "node-w2.kubeconfig", "prometheus.kubeconfig", "scheduler.kubeconfig"}},
		{"a key of another certificate", func(t *testing.T, dir string, _ *inventory.Inventory) {
			copyFile(t, filepath.Join(dir, "admin.key"), filepath.Join(dir, "prometheus.key"))
		}, 0, []string{"prometheus.crt", "prometheus.key", "prometheus.kubeconfig"}},
		{"a truncated file", func(t *testing.T, dir string, _ *inventory.Inventory) {
			if err := os.WriteFile(filepath.Join(dir, "ca.crt"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, 0, slices.DeleteFunc(slices.Clone(everything), func(n string) bool { return strings.HasPrefix(n, "sa.") })},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, inv := filepath.Join(t.TempDir(), "pki"), testInventory()
			first, err := Ensure(dir, inv, now)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(first)
			if diff := cmp.Diff(everything, first); diff != "" {
				t.Fatalf("files of a new directory (-want +got):\n%s", diff)
			}
			test.change(t, dir, inv)
			got, err := Ensure(dir, inv, now.Add(test.after))
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("files written again (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPairsAuthenticateBothWays has a TLS server and a client with the pairs of the API server and of a node.
func TestPairsAuthenticateBothWays(t *testing.T) {
	dir := t.TempDir()
	if _, err := Ensure(dir, testInventory(), time.Now()); err != nil {
		t.Fatal(err)
	}
	load := func(name string) tls.Certificate {
		c, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no CA", err)
	}
	var user, group string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		user, group = r.TLS.PeerCertificates[0].Subject.CommonName, r.TLS.PeerCertificates[0].Subject.Organization[0]
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{load("apiserver")}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	defer server.Close()
	for _, name := range []string{"127.0.0.1", "fd00:1::1", "fd00:f::1", "kubernetes.default.svc"} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: roots, Certificates: []tls.Certificate{load("node-w1")}, ServerName: name,
		}}}
		response, err := client.Get(server.URL)
		if err != nil {
			t.Fatalf("as %s: %v", name, err)
		}
		response.Body.Close()
		client.CloseIdleConnections()
	}
	if user != "system:node:w1" || group != "system:nodes" {
		t.Errorf("the server saw user %q of group %q", user, group)
	}
}

func TestEnsureWantsOneControlNode(t *testing.T) {
	inv := testInventory()
	inv.Nodes = inv.Nodes[1:]
	if _, err := Ensure(t.TempDir(), inv, time.Now()); err == nil || !strings.Contains(err.Error(), "control") {
		t.Errorf("error %v, want one about control nodes", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
