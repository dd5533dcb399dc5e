// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

func TestAnsibleInventoryHasWhatTheRolesNeed(t *testing.T) {
	for file, golden := range map[string]string{
		"inventory.twin.yaml":     "testdata/inventory.yaml",
		"inventory.clusters.yaml": "testdata/clusters.yaml",
	} {
		inv, err := inventory.Load("../../../../pi-cluster/" + file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(ansibleInventory(inv, "/state", "/kube"))
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(golden, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(text)); diff != "" {
			t.Errorf("%s (-want +got; UPDATE=1 go test writes it):\n%s", file, diff)
		}
	}
}

func TestFollowTellsProgressAndFailures(t *testing.T) {
	const events = `{"event": "play", "name": "Every node"}
{"event": "task", "task": "Write the names", "role": "common"}
{"event": "result", "host": "a", "task": "Write the names", "role": "common", "status": "changed"}
{"event": "result", "host": "b", "task": "Write the names", "role": "common", "status": "ok"}
 [WARNING]: something that Ansible says itself
{"event": "task", "task": "Skip this", "role": "common"}
{"event": "result", "host": "a", "task": "Skip this", "role": "common", "status": "skipped"}
{"event": "task", "task": "Start etcd", "role": "etcd"}
{"event": "result", "host": "a", "task": "Start etcd", "role": "etcd", "status": "failed", "message": "Unable to start service etcd\nsee journalctl"}
{"event": "result", "host": "c", "task": "Start etcd", "role": "etcd", "status": "unreachable", "message": "no route"}
{"event": "result", "host": "b", "task": "Start etcd", "role": "etcd", "status": "unreachable", "message": "no route"}
{"event": "stats", "hosts": {}}
`
	var out bytes.Buffer
	f := &follower{out: &out, log: slog.New(slog.DiscardHandler)}
	if err := f.follow(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("      common: Write the names … 1 of 2 changed\n", out.String()); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	const want = `a: task "etcd: Start etcd" failed: Unable to start service etcd
    see journalctl
b, c: task "etcd: Start etcd" unreachable: no route`
	if err := f.err(); err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
}

func TestMissingImages(t *testing.T) {
	const list = `REF                     TYPE                                       DIGEST        SIZE    PLATFORMS   LABELS
testbed.local/pause:1   application/vnd.docker.distribution.v2+json sha256:aa 1.4 MiB linux/amd64 dnsingress.dev/bundle-key=k1,io.cri-containerd.image=managed
testbed.local/nginx:1   application/vnd.docker.distribution.v2+json sha256:bb 9.4 MiB linux/amd64 dnsingress.dev/bundle-key=old,io.cri-containerd.image=managed
sha256:cc               application/vnd.docker.distribution.v2+json sha256:aa 1.4 MiB linux/amd64 io.cri-containerd.image=managed
`
	pause, nginx, envoy := image{"testbed.local/pause:1", "k1", "pause"}, image{"testbed.local/nginx:1", "new", "nginx"}, image{"testbed.local/envoy:1", "k3", "envoy"}
	got := missingImages([]image{pause, nginx, envoy}, list)
	if diff := cmp.Diff([]image{nginx, envoy}, got, cmp.AllowUnexported(image{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseTargets(t *testing.T) {
	const answer = `{"status":"success","data":{"activeTargets":[
		{"scrapePool":"prometheus","scrapeUrl":"http://[fd00::1]:9090/metrics","health":"up","lastError":""},
		{"scrapePool":"kubelet","scrapeUrl":"https://[fd00::11]:10250/metrics/resource","health":"down","lastError":"connection refused"},
		{"scrapePool":"cadvisor","scrapeUrl":"https://[fd00::11]:10250/metrics/cadvisor","health":"unknown","lastError":""},
		{"scrapePool":"pods","scrapeUrl":"http://[fd00::99]:9100/metrics","health":"down","lastError":"gone"}]}}`
	up, down, err := parseTargets([]byte(answer), func(string) bool { return false })
	want := []string{
		"https://[fd00::11]:10250/metrics/resource: down connection refused",
		"https://[fd00::11]:10250/metrics/cadvisor: unknown ",
	}
	if diff := cmp.Diff(want, down); err != nil || up != 1 || diff != "" {
		t.Errorf("%d up, error %v, down (-want +got):\n%s", up, err, diff)
	}
	// Nodes that `up` does without may be down.
	if _, down, err := parseTargets([]byte(answer), func(host string) bool { return host == "fd00::11" }); err != nil || len(down) > 0 {
		t.Errorf("down %q, error %v", down, err)
	}
	if _, _, err := parseTargets([]byte("<html>"), nil); err == nil {
		t.Error("no error for an answer that is no JSON")
	}
}

func TestSocketDirIsShortAndEmpty(t *testing.T) {
	state, err := os.MkdirTemp("/tmp", "state") // as short as people's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	for range 2 {
		dir, err := socketDir(state)
		if err != nil || !strings.HasPrefix(dir, state) {
			t.Fatalf("%s, error %v", dir, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Errorf("in it: %v, error %v", files, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := socketDir(filepath.Join(t.TempDir(), strings.Repeat("long", 20)))
	if err != nil || len(dir) > 79 {
		t.Errorf("%s, error %v", dir, err)
	}
	os.RemoveAll(dir)
}
