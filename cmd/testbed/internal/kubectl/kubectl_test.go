// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePods(t *testing.T) {
	got, err := parsePods([]byte(`{"items":[
{"metadata":{"namespace":"bench","name":"backend-1","uid":"u1","labels":{"app":"backend"}},
 "spec":{"nodeName":"worker-1","containers":[{"name":"backend","image":"testbed.local/backend:1"}]},
 "status":{"podIP":"fd00::2","conditions":[{"type":"Initialized","status":"True"},{"type":"Ready","status":"True"}],
  "containerStatuses":[{"name":"backend","containerID":"containerd://abc","ready":true}]}},
{"metadata":{"namespace":"bench","name":"backend-2","uid":"u2","deletionTimestamp":"2026-01-02T03:04:05Z"},
 "spec":{"nodeName":"worker-2","hostNetwork":true},"status":{"conditions":[{"type":"Ready","status":"False"}]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Pod{
		{
			Namespace: "bench", Name: "backend-1", UID: "u1", Node: "worker-1", Address: "fd00::2", Ready: true,
			Labels: map[string]string{"app": "backend"}, Containers: []Container{{Name: "backend", ID: "abc"}}, Images: []string{"testbed.local/backend:1"},
		},
		{Namespace: "bench", Name: "backend-2", UID: "u2", Node: "worker-2", HostNetwork: true, Terminating: true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := parsePods([]byte("Error from server")); err == nil {
		t.Error("no error for what is no JSON")
	}
}

func TestParseWorkloads(t *testing.T) {
	for in, want := range map[string][]Workload{
		`{"kind":"List","items":[{"kind":"Service","metadata":{"name":"x"}},{"kind":"DaemonSet","metadata":{"namespace":"bench","name":"nginx"}}]}`: {{"DaemonSet", "bench", "nginx"}},
		`{"kind":"Deployment","metadata":{"namespace":"bench","name":"backend"}}`:                                                                   {{"Deployment", "bench", "backend"}},
		`{"kind":"Namespace","metadata":{"name":"bench"}}`:                                                                                          nil,
	} {
		got, err := parseWorkloads([]byte(in))
		if err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%s: %v, %v, want %v", in, got, err, want)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, s := range []string{"", "plain-1.2/x:y=z,a@b", "it's", "a b", "$(reboot)", "a\nb", "`x`", `\`, "*", "!"} {
		out, err := exec.Command("sh", "-c", "printf %s "+Quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("sh made %q of Quote(%q), %v", out, s, err)
		}
	}
}
