// SPDX-License-Identifier: Apache-2.0

package system

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// Directories on the control node.
const (
	deployDir   = "/opt/testbed/deploy"
	renderedDir = "/opt/testbed/rendered"
)

// overlayDir holds, in the copy of deploy/, what depends on the scenario.
const overlayDir = "run"

// facts is what manifests are rendered from.
type facts struct {
	whole   *inventory.Inventory
	member  *inventory.Inventory // the cluster that they are for
	backend scenario.Backend
	secret  string // that the clusters' name servers share

	certificate certificate
}

// newSecret makes a key for HMAC-SHA256, in base64.
func newSecret() (string, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("making a key for the peers: %w", err)
	}
	return base64.StdEncoding.EncodeToString(key), nil
}

// manifests packs the repository's deploy/ directory as a tar archive, with what is rendered from the
// facts: the overlays of the backend and of peers, and dnsingress's configuration.
func manifests(repo string, of facts) ([]byte, error) {
	files := map[string][]byte{}
	root := filepath.Join(repo, "deploy")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == "images" { // programs and image definitions, no manifests
				return fs.SkipDir
			}
			return nil
		}
		files[filepath.ToSlash(rel)], err = os.ReadFile(p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading manifests: %w", err)
	}
	templates := map[string]string{
		"dnsingress/config.yaml":                            dnsingressConfig,
		path.Join(overlayDir, "backend/kustomization.yaml"): backendOverlay,
		path.Join(overlayDir, "backend/tls.yaml"):           backendTLS,
		path.Join(overlayDir, "peers/kustomization.yaml"):   peersOverlay,
		path.Join(overlayDir, "peers/config.yaml"):          dnsingressConfig + peersConfig,
		path.Join(overlayDir, "peers/peers.key"):            peersKey,
	}
	maps.Copy(templates, externalDNSFiles())
	maps.Copy(templates, clusterDNSFiles())
	for name, text := range templates {
		if files[name], err = render(text, of); err != nil {
			return nil, err
		}
	}
	return archive(files)
}

func render(text string, of facts) ([]byte, error) {
	var peers []*inventory.Inventory
	for _, m := range of.whole.Clusters() {
		if m.Member != of.member.Member {
			peers = append(peers, m)
		}
	}
	return execute(text, map[string]any{
		"Zone":       strings.TrimSuffix(of.whole.Zone, "."),
		"Servers":    of.whole.Group(inventory.Worker), // of the zone, in all clusters
		"Workers":    of.member.Group(inventory.Worker),
		"Control":    of.member.ControlPlane(),
		"Metrics":    of.member.Prometheus(),
		"Cluster":    of.member.Member,    // empty where there is one
		"Peers":      peers,               // the other clusters: their Member, and {{.Group "worker"}}
		"Clusters":   of.whole.Clusters(), // all of them, likewise
		"ClusterDNS": of.member.ClusterDNS(),
		"Secret":     of.secret,
		"Backend":    of.backend,
		"Key64":      base64.StdEncoding.EncodeToString(of.certificate.Key),
		"Cert64":     base64.StdEncoding.EncodeToString(of.certificate.Cert),
	})
}

// execute fills in a template.
func execute(text string, data any) ([]byte, error) {
	t, err := template.New("manifest").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("rendering manifests: %w", err)
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, data); err != nil {
		return nil, fmt.Errorf("rendering manifests: %w", err)
	}
	return buf.Bytes(), nil
}

// A lame duck is of no use in a trial's set-up, and costs its length twice a trial.
const dnsingressConfig = `zones:
  - origin: {{.Zone}}.
    nameservers:
{{- range .Servers}}
      - {name: {{.Name}}.{{$.Zone}}., addresses: ["{{.Address}}"]}
{{- end}}
lameDuck: 0s
prometheus:
  urls: ["http://[{{.Metrics.Address}}]:9090"]
`

// peersConfig is what the configuration of a cluster with peers has besides.
const peersConfig = `tsigKeys: [/etc/dnsingress/peers.key]
cluster: {name: "{{.Cluster}}"}
peers:
  zone: peers.test.
  key: peers.
  clusters:
{{- range .Peers}}
    - name: {{.Member}}
      servers: [{{range $i, $w := .Group "worker"}}{{if $i}}, {{end}}"[{{$w.Address}}]:53"{{end}}]
      hosts: ["*.{{$.Zone}}"]
{{- end}}
`

const peersKey = `key "peers." { algorithm hmac-sha256; secret "{{.Secret}}"; };
`

const peersOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: dnsingress
resources: [../../dnsingress]
configMapGenerator:
  - name: dnsingress
    behavior: replace
    files: [config.yaml, peers.key]
`

const backendOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../backend, ../../baselines/dnsendpoint, tls.yaml]
replicas: [{name: backend, count: {{.Backend.Replicas}}}]
patches:
  - target: {kind: Deployment, name: backend}
    patch: |-
      - op: replace
        path: /spec/template/spec/containers/0/args
        value: ["--size={{.Backend.ResponseBytes}}", "--delay={{.Backend.ServiceTime}}", "--tls=[::]:443", --tls-cert=/tls/tls.crt, --tls-key=/tls/tls.key]
      - {op: add, path: /spec/template/spec/containers/0/volumeMounts, value: [{name: tls, mountPath: /tls, readOnly: true}]}
      - {op: add, path: /spec/template/spec/volumes, value: [{name: tls, secret: {secretName: backend-tls}}]}
  - target: {kind: Service, name: backend}
    patch: |-
      - op: replace
        path: /metadata/annotations/external-dns.kubernetes.io~1hostname
        value: backend.{{.Zone}}
`

const backendTLS = `apiVersion: v1
kind: Secret
metadata: {name: backend-tls, namespace: bench}
type: kubernetes.io/tls
data: {tls.crt: {{.Cert64}}, tls.key: {{.Key64}}}
`
