// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/listing"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

func settings() *objects.Settings {
	return &objects.Settings{
		Prefixes: objects.Prefixes{Hostname: []string{"external-dns.kubernetes.io/"}, Policy: "dnsingress.dev/"},
		Check:    func(string) error { return nil },
	}
}

func TestWhatIsWrongHasItsPlace(t *testing.T) {
	const good = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
	for _, c := range []struct{ name, text, want string }{
		{"a good one", good, ""},
		{"another's kind", "apiVersion: apps/v1\nkind: Deployment\nfoo: bar\n", ""},
		{"nothing at all", "# nothing\n---\n", ""},
		{"no kind", "apiVersion: v1\n", "f:1:1: no Kubernetes manifest: apiVersion or kind is missing (hint: apiVersion: v1, kind: Service)"},
		{"an apiVersion that is none", "apiVersion: a/b/c\nkind: Service\n", "f:1:13: apiVersion: unexpected GroupVersion string: a/b/c"},
		{"a version that is not read", "apiVersion: gateway.networking.k8s.io/v1alpha1\nkind: Gateway\n", "f:1:13: apiVersion: Gateway of gateway.networking.k8s.io/v1alpha1 is not read (hint: gateway.networking.k8s.io/v1)"},
		{"an unknown key in an embedded struct", "apiVersion: v1\nkind: Service\nmetadata: {nmae: a, name: b}\n", `f:3:12: metadata: unknown key "nmae" (hint: did you mean "name"?)`},
		{"twice", good + "---\n" + good, "f:7:18: metadata.name: a second Service default/a, after f:3:18 (hint: one of them; the first counts)"},
		{"in a list", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: 5}\n", "f:6:20: metadata.name: want a text, got 5 (hint: \"5\")"},
		{"a list of one kind", "apiVersion: v1\nkind: ServiceList\nitems:\n- {metadata: {name: a}, speck: {}}\n", `f:4:25: unknown key "speck" (hint: did you mean "spec"?)`},
		{"a value that reads itself", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 1, targetPort: [2]}]}\n", "f:4:38: spec.ports[0].targetPort: a list: "},
		{"a SteeringPolicy's own checks", "apiVersion: dnsingress.dev/v1alpha1\nkind: SteeringPolicy\nmetadata: {name: a}\nspec: {hostnames: [a.test], rules: [{signal: x, keep: '8'}]}\n", "f:4:56: spec.rules[0].keep: bound "},
	} {
		s := NewSet(settings())
		s.Add("f", []byte(c.text))
		got := errors.Join(s.Errors()...)
		switch {
		case c.want == "" && got != nil, c.want != "" && (got == nil || !strings.Contains(got.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, got, c.want)
		}
	}
}

func TestOfTwoTheFirstInTheFilesHasAName(t *testing.T) {
	manifest := func(name, more string) []byte {
		return []byte("apiVersion: v1\nkind: Service\nmetadata: {name: " + name + more + ", annotations: {external-dns.kubernetes.io/hostname: x.test, external-dns.kubernetes.io/target: 192.0.2.1}}\n" +
			"spec: {ports: [{name: http, port: 80}]}\n---\n")
	}
	for _, c := range []struct {
		name  string
		files [][]byte
		want  string
	}{
		{"of one file", [][]byte{append(manifest("second-by-name", ""), manifest("first-by-name", "")...)}, "Service default/second-by-name"},
		{"of two files", [][]byte{manifest("b", ""), manifest("a", "")}, "Service default/b"},
		{"what says when it was created is older", [][]byte{manifest("b", ""), manifest("c", ", creationTimestamp: '2026-01-01T00:00:00Z'")}, "Service default/c"},
	} {
		s := NewSet(settings())
		for _, data := range c.files {
			s.Add("f", data)
		}
		publications, _ := s.Publications()
		var pools []listing.Published
		for _, p := range publications {
			pools = append(pools, listing.Published{Pool: p.Pool})
		}
		lines, problems := listing.Lines(pools, 5)
		if len(lines) != 1 || lines[0].Object != c.want {
			t.Errorf("%s: got %v", c.name, lines)
		}
		if len(problems) != 1 || !strings.Contains(problems[0].Message, "x.test. is already published for "+c.want) {
			t.Errorf("%s: problems %v", c.name, problems)
		}
	}
}

// FuzzSet: whatever a file holds, what it publishes can be listed, and each mistake is in the file.
func FuzzSet(f *testing.F) {
	paths, err := filepath.Glob("../../../testdata/objects/*.yaml")
	if err != nil || len(paths) == 0 {
		f.Fatal("no seeds: ", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := NewSet(settings())
		s.Add("f", data)
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
		for _, err := range s.Errors() {
			var p strictyaml.Problem
			if !errors.As(err, &p) || p.Line < 1 || p.Line > lines || p.Column < 1 {
				t.Errorf("a mistake without a place: %v", err)
			}
		}
		publications, _ := s.Publications()
		var pools []listing.Published
		for _, p := range publications {
			pools = append(pools, listing.Published{Pool: p.Pool, Policy: p.Policy})
		}
		found, _ := listing.Lines(pools, 5)
		for _, l := range found {
			if strings.ContainsAny(l.String(), "\r\n") {
				t.Errorf("a line that is more than one: %q", l)
			}
		}
	})
}
