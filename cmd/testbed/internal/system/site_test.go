// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

func clusters(t *testing.T) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.Load(filepath.Join(repo, "pi-cluster/inventory.clusters.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// Each cluster's servers know the other clusters' by their addresses, and none their own; all serve one zone.
func TestPeersConfiguration(t *testing.T) {
	whole := clusters(t)
	want := map[string]string{
		"north": "south [fd6e:7369:0:1::12]:53, west [fd6e:7369:0:1::13]:53",
		"south": "north [fd6e:7369:0:1::11]:53, west [fd6e:7369:0:1::13]:53",
		"west":  "north [fd6e:7369:0:1::11]:53, south [fd6e:7369:0:1::12]:53",
	}
	for _, member := range whole.Clusters() {
		text, err := render(dnsingressConfig+peersConfig, facts{whole: whole, member: member, secret: "c2VjcmV0"})
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Zones []struct {
				Nameservers []struct{ Addresses []netip.Addr }
			}
			Cluster struct{ Name string }
			Peers   struct {
				Zone, Key string
				Clusters  []struct {
					Name           string
					Servers, Hosts []string
				}
			}
			Prometheus struct{ URLs []string }
		}
		if err := yaml.Unmarshal(text, &config); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		var peers []string
		for _, p := range config.Peers.Clusters {
			peers = append(peers, p.Name+" "+strings.Join(p.Servers, " "))
			if !cmp.Equal(p.Hosts, []string{"*.apps.test"}) {
				t.Errorf("%s may have %v", p.Name, p.Hosts)
			}
		}
		if got := strings.Join(peers, ", "); config.Cluster.Name != member.Member || got != want[member.Member] {
			t.Errorf("%s: peers %s", config.Cluster.Name, got)
		}
		if n := len(config.Zones[0].Nameservers); n != 3 {
			t.Errorf("%s: %d name servers, want those of all clusters", member.Member, n)
		}
		if own := member.Group(inventory.Control)[0].Address.String(); !strings.Contains(config.Prometheus.URLs[0], own) {
			t.Errorf("%s asks Prometheus at %v", member.Member, config.Prometheus.URLs)
		}
	}
	key, err := render(peersKey, facts{whole: whole, member: whole.Clusters()[0], secret: "c2VjcmV0"})
	if err != nil || string(key) != "key \"peers.\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };\n" {
		t.Errorf("key file %q, %v", key, err)
	}
}

// apiServers answers kubectl on each control node; south's is down when it is told so.
type apiServers struct{ down bool }

func (a apiServers) Shell(_ context.Context, node, line string, _ io.Reader) ([]byte, error) {
	if a.down && node == "south-1" {
		return nil, errors.New("connection refused")
	}
	if !strings.HasPrefix(line, "kubectl get pods") {
		return nil, fmt.Errorf("unexpected: %s", line)
	}
	return fmt.Appendf(nil, `{"items":[{"metadata":{"namespace":"bench","name":"b"},"spec":{"nodeName":%[1]q}},{"metadata":{"namespace":"bench","name":"a"},"spec":{"nodeName":%[1]q}}]}`, node), nil
}

func TestBenchOnSeveralClusters(t *testing.T) {
	b := &Bench{Inventory: clusters(t), Shell: apiServers{}}
	pods, err := b.Pods(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pods {
		got = append(got, p.Node+"/"+p.Name)
	}
	if want := "north-1/a north-1/b south-1/a south-1/b west-1/a west-1/b"; strings.Join(got, " ") != want {
		t.Errorf("pods %v, want %s", got, want)
	}
	if n := b.Replicas(scenario.Backend{Replicas: 2}); n != 6 {
		t.Errorf("%d replicas in all, want 6", n)
	}
	b.Shell = apiServers{down: true}
	if _, err := b.Pods(t.Context(), ""); err == nil || err.Error() != "cluster south: listing pods: connection refused" {
		t.Errorf("south is down: %v", err)
	}

	peers, _ := ByName("dnsingress-peers")
	one := &Bench{Inventory: twin(t), Shell: apiServers{}, Repo: repo}
	if err := one.Prepare(t.Context(), scenario.Backend{}, []System{peers}); err == nil || !strings.Contains(err.Error(), "needs an inventory with several clusters (hint: ") {
		t.Errorf("peers in one cluster: %v", err)
	}
}
