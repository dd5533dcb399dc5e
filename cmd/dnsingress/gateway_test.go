// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/statustest"
)

// standing is what the statuses of a scenario's objects should say: by "KIND NAMESPACE/NAME", the lines of
// internal/kube/objects/testdata/NAME.txt that are of statuses. Scenarios without that file say nothing of them.
func (s scenario) standing(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile("internal/kube/objects/testdata/" + s.name + ".txt")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	object := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "pool "):
			object = line
			want[object] = nil
		case strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "  listener ") || strings.HasPrefix(line, "  parent "):
			want[object] = append(want[object], line)
		}
	}
	return want
}

// stands reports whether the statuses in the API server are as they should be.
func (c *cluster) stands(t *testing.T, want map[string][]string) error {
	for object, lines := range want {
		name, key, _ := strings.Cut(object, " ")
		kind, ok := objects.KindOf(objects.Name(name))
		if !ok {
			t.Fatalf("kind of %q is unknown", object)
		}
		namespace, name, namespaced := strings.Cut(key, "/")
		if !namespaced {
			namespace, name = "", key
		}
		raw := &unstructured.Unstructured{}
		raw.SetGroupVersionKind(kind.GVK())
		if err := c.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, raw); err != nil {
			return err
		}
		o := kind.New()
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, o); err != nil {
			return err
		}
		if got := statustest.Lines(o, objects.DefaultController); !slices.Equal(got, lines) {
			return fmt.Errorf("the status of %s says\n%s\nnot\n%s", object, strings.Join(got, "\n"), strings.Join(lines, "\n"))
		}
	}
	return nil
}
