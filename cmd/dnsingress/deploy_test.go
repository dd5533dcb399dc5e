// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
)

// leastValues are those without which the chart is refused.
const leastValues = `config.zones=[{"origin":"apps.test","nameservers":[{"name":"ns1.apps.test","addresses":["fd6e:7369:0:1::11"]}]}]`

// deployTool runs helm or kustomize of tools/deploy. The error holds what it complains of.
func deployTool(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"-C", "../../tools/deploy", "tool"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(args[:2], " "), err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

func chart(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	return deployTool(t, append([]string{
		"helm", "template", "dnsingress", "../../deploy/helm/dnsingress", "--namespace", "dnsingress", "--kube-version", kubeVersion,
	}, args...)...)
}

// decodeAll reads the objects of a stream of YAML documents, by kind and name.
func decodeAll(t *testing.T, data []byte) map[string]*unstructured.Unstructured {
	t.Helper()
	all := map[string]*unstructured.Unstructured{}
	for doc := range bytes.SplitSeq(data, []byte("\n---\n")) {
		o := new(unstructured.Unstructured)
		if err := yaml.Unmarshal(doc, &o.Object); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if len(o.Object) > 0 {
			all[o.GetKind()+" "+o.GetName()] = o
		}
	}
	return all
}

func TestChartRefusesBadValues(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string // in the complaint
	}{
		{"no zone", nil, "zones"},
		{"kind that is none", []string{"--set", "kind=StatefulSet"}, "kind"},
		{"port out of range", []string{"--set", "dnsPort=70000"}, "dnsPort"},
		{"unknown value", []string{"--set", "replica=3"}, "replica"},
		{"listen beside dnsPort", []string{"--set-json", `config.listen=["[::]:53"]`}, "listen"},
		{"zone without nameservers", []string{"--set-json", `config.zones=[{"origin":"apps.test"}]`}, "nameservers"},
		{"budget that is no number", []string{"--set", "podDisruptionBudget.maxUnavailable=some"}, "maxUnavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			if tt.name != "no zone" && !strings.Contains(strings.Join(args, " "), "config.zones") {
				args = append([]string{"--set-json", leastValues}, args...)
			}
			_, err := chart(t, args...)
			if err == nil || !strings.Contains(err.Error(), "schema") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want a complaint of the schema about %s, got %v", tt.want, err)
			}
		})
	}
}

// Zones can all be objects, if the values say that this is meant.
func TestChartWithoutZones(t *testing.T) {
	if _, err := chart(t, "--set", "config.kubernetes.sources.dnsZones.enabled=true"); err != nil {
		t.Error(err)
	}
}

// The chart and the Kustomize base are two ways to one installation.
func TestChartAgreesWithBase(t *testing.T) {
	data, err := chart(t, "--set-json", leastValues, "--include-crds")
	if err != nil {
		t.Fatal(err)
	}
	fromChart := decodeAll(t, data)
	if data, err = deployTool(t, "kustomize", "build", "../../deploy/dnsingress"); err != nil {
		t.Fatal(err)
	}
	fromBase := decodeAll(t, data)
	for name, base := range fromBase {
		o := fromChart[name]
		switch {
		case base.GetKind() == "Namespace": // helm --create-namespace makes it
		case base.GetKind() == "ConfigMap": // the name tells its content; what is in it follows
		case o == nil:
			t.Errorf("the base has %s, the chart has not", name)
		default:
			for _, path := range [][]string{{"rules"}, {"roleRef"}, {"subjects"}, {"spec", "versions"}, {"spec", "maxUnavailable"}, {"spec", "ingress"}} {
				want, _, _ := unstructured.NestedFieldNoCopy(base.Object, path...)
				got, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
				if a, b := asJSON(t, want), asJSON(t, got); a != b {
					t.Errorf("%s: %s\nbase:  %s\nchart: %s", name, strings.Join(path, "."), a, b)
				}
			}
		}
	}
	for _, o := range fromChart {
		if o.GetKind() != "ConfigMap" {
			continue
		}
		text, _, _ := unstructured.NestedString(o.Object, "data", "config.yaml")
		c, err := config.Parse("config.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if c.Listen[0] != "[::]:53" || c.Admin != "[::]:9153" || c.Zones[0].Origin != "apps.test." {
			t.Errorf("the chart's configuration is not what its values say:\n%s", text)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// testDeploy gives what the chart and the base render to the API server, which refuses what it does not know.
func testDeploy(t *testing.T, c *cluster) {
	testDeployWebhook(t, c)
	everything := []string{
		"--set-json", leastValues, "--set", "kind=Deployment,hostNetwork=false,service.enabled=true,dashboard.enabled=true",
		"--set-json", `podLabels={"a":"b"}`, "--set-json", `tolerations=[{"operator":"Exists"}]`, "--set-json", `nodeSelector={"disk":"ssd"}`,
		"--set-json", `extraVolumes=[{"name":"keys","secret":{"secretName":"keys"}}]`, "--set-json", `extraVolumeMounts=[{"name":"keys","mountPath":"/keys"}]`,
		"--set-json", `networkPolicy.adminFrom=[{"podSelector":{}}]`, "--set-json", `image.pullSecrets=[{"name":"registry"}]`,
		"--set-json", `service.annotations={"a":"b"}`, "--set-json", `serviceAccount.annotations={"a":"b"}`, "--set", "priorityClassName=system-cluster-critical",
		"--set", "webhook.enabled=true,webhook.namespace=dnsingress",
	}
	renders := map[string]func() ([]byte, error){
		"chart":                 func() ([]byte, error) { return chart(t, "--set-json", leastValues) },
		"chart with everything": func() ([]byte, error) { return chart(t, everything...) },
		"base":                  func() ([]byte, error) { return deployTool(t, "kustomize", "build", "../../deploy/dnsingress") },
	}
	for _, name := range slices.Sorted(maps.Keys(renders)) {
		data, err := renders[name]()
		if err != nil {
			t.Fatal(err)
		}
		kinds := map[string]bool{}
		for _, o := range decodeAll(t, data) {
			kinds[o.GetKind()] = true
			if o.GetKind() == "Namespace" || o.GetKind() == "CustomResourceDefinition" {
				continue
			}
			//lint:ignore SA1019 what takes its place checks no fields
			err := c.admin.Patch(t.Context(), o, client.Apply, client.DryRunAll, client.ForceOwnership, client.FieldOwner("test"), strictFields)
			if err != nil {
				t.Errorf("%s: %s %s: %v", name, o.GetKind(), o.GetName(), err)
			}
		}
		for _, kind := range []string{"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"} {
			if !kinds[kind] {
				t.Errorf("%s has no %s", name, kind)
			}
		}
	}
}

// strictFields has the API server refuse fields that it does not know.
var strictFields = client.FieldValidation("Strict")

func TestDashboardShowsMetricsThatThereAre(t *testing.T) {
	data, err := os.ReadFile("../../deploy/dnsingress/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	source := map[string]bool{}
	literal := regexp.MustCompile(`"((?:dnsingress_)?[a-z_]+)"`)
	err = filepath.WalkDir("internal", func(path string, d os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range literal.FindAllSubmatch(text, -1) {
			source[strings.TrimPrefix(string(m[1]), "dnsingress_")] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`dnsingress_([a-z_]+)`)
	shown := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			for _, m := range metric.FindAllStringSubmatch(target.Expr, -1) {
				shown++
				if name := strings.TrimSuffix(m[1], "_bucket"); !source[name] {
					t.Errorf("panel %q shows dnsingress_%s, which nothing exports", p.Title, m[1])
				}
			}
		}
	}
	if shown < 10 {
		t.Errorf("only %d metrics are shown: the reading of the dashboard is broken", shown)
	}
}
