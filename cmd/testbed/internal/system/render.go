// SPDX-License-Identifier: Apache-2.0

package system

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"
	"time"

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

// manifests packs the repository's deploy/ directory as a tar archive, with the overlay of the
// backend and dnsingress's configuration rendered from the inventory and the scenario.
func manifests(repo string, inv *inventory.Inventory, b scenario.Backend) ([]byte, error) {
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
	if files["dnsingress/config.yaml"], err = render(dnsingressConfig, inv, b); err != nil {
		return nil, err
	}
	if files[path.Join(overlayDir, "backend/kustomization.yaml")], err = render(backendOverlay, inv, b); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, data := range files {
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

func render(text string, inv *inventory.Inventory, b scenario.Backend) ([]byte, error) {
	t, err := template.New("manifest").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("rendering manifests: %w", err)
	}
	var buf bytes.Buffer
	err = t.Execute(&buf, map[string]any{
		"Zone":    strings.TrimSuffix(inv.Zone, "."),
		"Workers": inv.Group(inventory.Worker),
		"Control": inv.Group(inventory.Control)[0],
		"Backend": b,
	})
	if err != nil {
		return nil, fmt.Errorf("rendering manifests: %w", err)
	}
	return buf.Bytes(), nil
}

// A lame duck is of no use in a trial's set-up, and costs its length twice a trial.
const dnsingressConfig = `zones:
  - origin: {{.Zone}}.
    nameservers:
{{- range .Workers}}
      - {name: {{.Name}}.{{$.Zone}}., addresses: ["{{.Address}}"]}
{{- end}}
lameDuck: 0s
prometheus:
  urls: ["http://[{{.Control.Address}}]:9090"]
`

const backendOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../backend]
replicas: [{name: backend, count: {{.Backend.Replicas}}}]
patches:
  - target: {kind: Deployment, name: backend}
    patch: |-
      - op: replace
        path: /spec/template/spec/containers/0/args
        value: ["--size={{.Backend.ResponseBytes}}", "--delay={{.Backend.ServiceTime}}"]
  - target: {kind: Service, name: backend}
    patch: |-
      - op: replace
        path: /metadata/annotations/external-dns.kubernetes.io~1hostname
        value: backend.{{.Zone}}
`
