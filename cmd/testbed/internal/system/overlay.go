// SPDX-License-Identifier: Apache-2.0

package system

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// overlay returns the files of the kustomization that puts the system's parts together, by name.
func (s System) overlay(of facts, u scenario.Setup) (map[string][]byte, error) {
	parts := s.parts(u)
	o := overlay{
		Resources: []string{parts[0]}, Components: parts[1:], Product: s.Product(), Namespace: "bench",
		Host: s.Host(of.whole), Alive: s.alive, Address: VirtualAddress(of.whole), Zone: strings.TrimSuffix(of.whole.Zone, "."),
	}
	files := map[string]string{"kustomization.yaml": overlayKustomization}
	if s.reach == byProxy && u.Front == frontKeepalived {
		o.Resources = append(o.Resources, "baselines/keepalived")
		o.Keepalived = true
		files["keepalived.conf"] = keepalivedConfig
	}
	if u.Services > 1 && s.class != "" {
		o.Class, o.TLS = s.class, u.TLS
		for i := range u.Services {
			o.Services = append(o.Services, ServiceName(i+1))
		}
		files["services.yaml"] = serviceIngresses
	}
	if s.ownTTL {
		o.TTL = int((u.TTL + time.Second - 1) / time.Second)
		if o.TTL == 0 {
			o.TTL = int(scenario.DefaultTTL / time.Second)
		}
		files["Corefile"] = gatewayCorefile
	}
	out := map[string][]byte{}
	for name, text := range files {
		data, err := execute(text, o)
		if err != nil {
			return nil, err
		}
		out[name] = data
	}
	return out, nil
}

// overlay is what its templates know.
type overlay struct {
	Resources, Components []string // below deploy/
	Product, Namespace    string
	Zone                  string

	Keepalived bool
	Address    netip.Addr // the virtual one
	Alive      string     // URL on the node that answers as long as the proxy serves

	Host, Class string
	Services    []string // that have an Ingress each
	TLS         bool

	TTL int // in seconds, of a system that has it in its own configuration
}

const overlayKustomization = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
{{- range .Resources}}
  - ../../../{{.}}
{{- end}}
{{- if .Services}}
  - services.yaml
{{- end}}
{{- if .Components}}
components:
{{- range .Components}}
  - ../../../{{.}}
{{- end}}
{{- end}}
{{- if .Keepalived}}
configMapGenerator:
  - {name: keepalived, namespace: {{.Namespace}}, files: [keepalived.conf]}
patches:
  - target: {kind: DaemonSet, name: keepalived}
    patch: |-
      - {op: replace, path: /spec/template/metadata/labels/testbed.dnsingress.dev~1system, value: {{.Product}}}
{{- end}}
{{- if .TTL}}
configMapGenerator:
  - {name: k8s-gateway, namespace: k8s-gateway, behavior: replace, files: [Corefile]}
patches:
  - target: {kind: Service, name: backend-gateway}
    patch: |-
      - {op: replace, path: /metadata/annotations/coredns.io~1hostname, value: backend.{{.Zone}}}
{{- end}}
`

// serviceIngresses gives every service of several a host name of its own.
const serviceIngresses = `{{range .Services}}---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: {{.}}, namespace: {{$.Namespace}}}
spec:
  ingressClassName: {{$.Class}}
{{- if $.TLS}}
  tls: [{hosts: [{{.}}.{{$.Host}}], secretName: backend-tls}]
{{- end}}
  rules:
    - host: {{.}}.{{$.Host}}
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: {{.}}, port: {number: 80}}}}]}
{{end}}`

// archive packs files as a tar archive, sorted by name, all as old as the epoch.
func archive(files map[string][]byte) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0)}); err != nil {
			return nil, fmt.Errorf("packing manifests: %w", err)
		}
		if _, err := w.Write(data); err != nil {
			return nil, fmt.Errorf("packing manifests: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing manifests: %w", err)
	}
	return buf.Bytes(), nil
}

// formDir is where the overlay of a form is, below deploy/.
func formDir(form string) string { return path.Join(overlayDir, "forms", form) }

// servers are the workers that a setup uses: the first so many of all clusters together.
func servers(inv *inventory.Inventory, u scenario.Setup) []inventory.Node {
	workers := inv.Group(inventory.Worker)
	if u.Workers > 0 {
		workers = workers[:min(u.Workers, len(workers))]
	}
	return workers
}
