// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// clusterDNSDir is where the cluster's CoreDNS, which stands beside a system in a setup that wants it, is rendered.
var clusterDNSDir = path.Join(overlayDir, "cluster-dns")

// clusterDNSFiles are the templates of that directory.
func clusterDNSFiles() map[string]string {
	return map[string]string{
		path.Join(clusterDNSDir, "kustomization.yaml"): clusterDNSOverlay,
		path.Join(clusterDNSDir, "Corefile"):           clusterDNSConfig,
	}
}

const clusterDNSOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: kube-system
resources: [../../cluster-dns]
labels:
  - {pairs: {app: cluster-dns}}
configMapGenerator:
  - {name: cluster-dns, files: [Corefile]}
patches:
  - target: {kind: Service, name: cluster-dns}
    patch: |-
      - {op: add, path: /spec/clusterIP, value: "{{.ClusterDNS}}"}
`

// clusterDNSConfig has the cache of kubeadm's, and asks the servers of the zone as deploy/coredns says.
const clusterDNSConfig = `{{.Zone}}.:53 {
    errors
    prometheus :9153
    health :8080
    ready :8181
    cache 30
    forward .{{range .Workers}} [{{.Address}}]:53{{end}} {
        policy round_robin
        health_check 500ms domain {{.Zone}}.
        max_fails 2
    }
}
`

// clusterDNSExtra is what "testbed up --with" makes its image by.
const clusterDNSExtra = "cluster-dns"

// PresentClusterDNS finds out whether the cluster's own DNS can stand.
func (b *Bench) PresentClusterDNS(ctx context.Context) error {
	if len(b.sites()) > 1 {
		return errSeveralDNS
	}
	return b.each(func(s site) error {
		return s.images(ctx, "the cluster's DNS", "kubectl kustomize "+path.Join(deployDir, clusterDNSDir), clusterDNSExtra)
	})
}

var errSeveralDNS = errors.New("which cluster's DNS a client asks is not said where there are several (hint: an inventory of one cluster, or cached: yes and no)")

// RoutingTable is how kube-proxy calls its tables of nftables.
const RoutingTable = "kube-proxy"

// startRouting returns when kube-proxy has written its rules.
const startRouting = `systemctl daemon-reload && systemctl start kube-proxy || exit
for i in $(seq 100); do curl -gsf --max-time 1 -o /dev/null 'http://[::1]:10256/healthz' && exit; sleep .1; done
journalctl -u kube-proxy -n 5 --no-pager -o cat >&2; exit 1`

// clusterDNS has the cluster's CoreDNS stand behind its Service, and the clients' nodes route to that, or none of both.
func (s site) clusterDNS(ctx context.Context, on bool) error {
	routing, line := startRouting, fmt.Sprintf(`set -e
kubectl apply --server-side --force-conflicts -k %s >&2
kubectl -n kube-system rollout status deployment/cluster-dns --timeout=%s >&2`, path.Join(deployDir, clusterDNSDir), rolloutTimeout)
	if !on {
		routing, line = "if systemctl -q is-active kube-proxy; then systemctl stop kube-proxy; fi", fmt.Sprintf(`set -e
kubectl -n kube-system delete deployment,service,configmap -l app=cluster-dns --ignore-not-found >&2
kubectl -n kube-system wait pod -l app=cluster-dns --for=delete --timeout=%s >&2`, removeTimeout)
	}
	if _, err := s.Shell.Shell(ctx, s.kubectl.Node, line, nil); err != nil {
		return fmt.Errorf("bringing the cluster's DNS %s: %w", map[bool]string{true: "up", false: "down"}[on], err)
	}
	return s.onNodes(ctx, s.member.Group(inventory.Client), routing, "", "having %s route to Services, or no more")
}
