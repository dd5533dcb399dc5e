// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/dnsingress/dnsingress/api/v1alpha1"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestReadsEveryKey(t *testing.T) {
	policies, err := Load("testdata/whole.yaml")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "whole.json", policies)

	data, err := os.ReadFile("testdata/whole.yaml")
	if err != nil {
		t.Fatal(err)
	}
	object, err := sigsyaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	p, err := FromObject(object)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(show(t, policies[0]), show(t, p)); d != "" {
		t.Errorf("the object reads otherwise than the file: %s", d)
	}
	// The types of the API hold all of it, and nothing is lost on the way through them.
	var typed v1alpha1.SteeringPolicy
	if err := sigsyaml.UnmarshalStrict(data, &typed); err != nil {
		t.Fatal(err)
	}
	if object, err = json.Marshal(typed); err != nil {
		t.Fatal(err)
	}
	if p, err = FromObject(object); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(show(t, policies[0]), show(t, p)); d != "" {
		t.Errorf("the typed object reads otherwise than the file: %s", d)
	}
}

func show(t *testing.T, v any) string {
	t.Helper()
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

func golden(t *testing.T, name string, v any) {
	t.Helper()
	path, got := filepath.Join("testdata", name), show(t, v)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (hint: -update): %s", path, d)
	}
}

// The reader and the CustomResourceDefinition's types know the same keys.
func TestKeysAreThoseOfTheAPI(t *testing.T) {
	if d := cmp.Diff(keys(reflect.TypeFor[v1alpha1.SteeringPolicySpec]()), keys(reflect.TypeFor[spec]())); d != "" {
		t.Errorf("api (-), reader (+): %s", d)
	}
}

// keys lists the keys of a document's type by their paths. Texts that read themselves are leaves.
func keys(t reflect.Type) map[string]bool {
	all := map[string]bool{}
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()) {
			all[path] = true
			return
		}
		for i := range t.NumField() {
			if key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); key != "" && key != "-" {
				walk(t.Field(i).Type, path+"."+key)
			}
		}
	}
	walk(t, "spec")
	return all
}

func TestDefaults(t *testing.T) {
	policies, err := Parse("p.yaml", []byte(`
apiVersion: dnsingress.dev/v1alpha1
kind: SteeringPolicy
metadata: {name: p}
spec:
  hostnames: [a.test]
  healthChecks: [{name: alive, protocol: http, port: 80}, {name: quick, protocol: tcp, port: 81, interval: 500ms}]
`))
	if err != nil {
		t.Fatal(err)
	}
	p := policies[0]
	want := []model.HealthCheck{
		{Name: "alive", Protocol: model.HTTP, Port: 80, Path: "/", Status: [2]int{200, 399}, Interval: 5 * time.Second, UnhealthyInterval: time.Second, Timeout: time.Second, Up: 2, Down: 3},
		{Name: "quick", Protocol: model.TCP, Port: 81, Status: [2]int{200, 399}, Interval: 500 * time.Millisecond, UnhealthyInterval: 500 * time.Millisecond, Timeout: time.Second, Up: 2, Down: 3},
	}
	if d := cmp.Diff(want, p.Checks); d != "" {
		t.Error(d)
	}
	if len(p.Steer.Rules) != 2 || p.Steer.Rules[0].Signal != "alive" || p.Steer.Rules[0].Keep.String() != "> 0" {
		t.Errorf("checks that nothing reads give the rules %+v", p.Steer.Rules)
	}
	if d := cmp.Diff(steer.Defaults().Guards, p.Steer.Guards); d != "" {
		t.Error(d)
	}
	if p.Hostnames[0] != "a.test." {
		t.Errorf("host name %s", p.Hostnames[0])
	}
}

// Each file in testdata/bad has the errors that stand beside it.
func TestRefuses(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, got := Parse(filepath.Base(path), data)
			if got == nil {
				t.Fatal("taken as if it were in order")
			}
			want := strings.TrimSuffix(path, ".yaml") + ".errors"
			if *update {
				if err := os.WriteFile(want, []byte(got.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			expected, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(expected), got.Error()+"\n"); d != "" {
				t.Errorf("(hint: -update): %s", d)
			}
		})
	}
}

func TestObjectErrorsHavePathsAndNoLines(t *testing.T) {
	_, err := FromObject([]byte(`{"apiVersion": "dnsingress.dev/v1alpha1", "kind": "SteeringPolicy", "metadata": {"name": "p"}, "spec": {"signals": [{"name": "load", "query": "sum(("}], "rules": [{"signal": "load", "keep": "< 8"}]}}`))
	want := "spec.targetRefs: the policy is on nothing (hint: targetRefs: [{kind: Service, name: web}])\nspec.signals[0].query: PromQL"
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "object:1") {
		t.Errorf("got %v, want %s…", err, want)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	bad, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, bad...) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		policies, err := Parse("p.yaml", data)
		if err != nil {
			if !strings.Contains(err.Error(), "p.yaml:") {
				t.Errorf("an error without a place: %v", err)
			}
			return
		}
		for _, p := range policies {
			if p.Name == "" || len(p.Targets)+len(p.Hostnames) == 0 {
				t.Errorf("taken: %+v", p)
			}
		}
	})
}
