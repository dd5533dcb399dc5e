// SPDX-License-Identifier: Apache-2.0

package system

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

// A shape changes what it is about in the backend's pods and nothing else, and the one without levels brings back what deploy/backend has.
func TestTemplate(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repo, "deploy/backend/deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	patched := func(deployment []byte, want shape) (out []byte, d appsv1.Deployment) {
		t.Helper()
		out, err := strategicpatch.StrategicMergePatch(deployment, []byte(want.template()), appsv1.Deployment{})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &d); err != nil {
			t.Fatal(err)
		}
		return out, d
	}
	var stands appsv1.Deployment
	if err := json.Unmarshal(plain, &stands); err != nil {
		t.Fatal(err)
	}

	draining, d := patched(plain, shape{drain: 8 * time.Second})
	spec := d.Spec.Template.Spec
	hook := spec.Containers[0].Lifecycle
	if hook == nil || hook.PreStop.Sleep.Seconds != 8 || *spec.TerminationGracePeriodSeconds != 13 {
		t.Errorf("8 s to drain: hook %+v, grace period %d s; want a sleep of 8 s in 13 s", hook, *spec.TerminationGracePeriodSeconds)
	}
	if len(spec.Containers) != 1 || !cmp.Equal(spec.Containers[0].Args, stands.Spec.Template.Spec.Containers[0].Args) {
		t.Errorf("containers %+v", spec.Containers)
	}
	if _, d := patched(draining, shape{}); !cmp.Equal(stands, d) {
		t.Error("not as before: ", cmp.Diff(stands, d))
	}
}
