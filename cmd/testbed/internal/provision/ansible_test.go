// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ansibleDir = "../../../../ansible"

// program skips a test where a program is missing, except in CI, which has them all.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v (hint: apt-get install %s)", err, pkg)
		}
		t.Skipf("SKIPPED: %v (hint: apt-get install %s)", err, pkg)
	}
	return path
}

// ansible runs one of Ansible's programs with the repository's roles and modules.
func ansible(t *testing.T, name string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(program(t, name, "ansible-core"), args...)
	config := filepath.Join(t.TempDir(), "ansible.cfg")
	library, err := filepath.Abs(ansibleDir)
	if err == nil {
		err = os.WriteFile(config, []byte("[defaults]\nroles_path="+library+"/roles\nlibrary="+library+"/library\naction_plugins="+library+"/action_plugins\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG="+config, "ANSIBLE_HOME="+t.TempDir(), "ANSIBLE_LOCAL_TEMP="+t.TempDir(), "LC_ALL=C.UTF-8")
	return cmd.CombinedOutput()
}

func TestPlaybookIsSound(t *testing.T) {
	out, err := ansible(t, "ansible-playbook", "--syntax-check", "-i", "testdata/inventory.yaml", filepath.Join(ansibleDir, "site.yml"))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestConfiguredWritesOnlyWhatDiffers runs the module configured on this machine, with files and links only.
func TestConfiguredWritesOnlyWhatDiffers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: the module gives files to root, so the test needs root")
	}
	dir := t.TempDir()
	run := func(content string) string {
		t.Helper()
		args, err := json.Marshal(map[string]any{
			"files": []map[string]any{{"path": dir + "/a/b.conf", "content": content, "mode": "0640"}, {"path": dir + "/same", "content": "s"}},
			"links": []map[string]any{{"path": dir + "/link", "target": "a/b.conf"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := ansible(t, "ansible", "localhost", "-c", "local", "-m", "configured", "-o", "-a", string(args))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		_, result, _ := strings.Cut(string(out), "=> ")
		var r struct {
			Changed bool
			Written []string
		}
		if err := json.Unmarshal([]byte(result), &r); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if r.Changed != (len(r.Written) > 0) {
			t.Errorf("changed %v, written %v", r.Changed, r.Written)
		}
		return strings.ReplaceAll(strings.Join(r.Written, " "), dir, "")
	}
	if got := run("1\n"); got != "/a/b.conf /same /link" {
		t.Errorf("first run wrote %q", got)
	}
	if got := run("1\n"); got != "" {
		t.Errorf("second run wrote %q", got)
	}
	if got := run("2\n"); got != "/a/b.conf" {
		t.Errorf("a change wrote %q", got)
	}
	if err := os.Chmod(dir+"/a/b.conf", 0o666); err != nil {
		t.Fatal(err)
	}
	if got := run("2\n"); got != "/a/b.conf" {
		t.Errorf("another mode wrote %q", got)
	}
	text, err := os.ReadFile(dir + "/link")
	info, err2 := os.Stat(dir + "/a/b.conf")
	if err := errors.Join(err, err2); err != nil || string(text) != "2\n" || info.Mode() != 0o640 {
		t.Errorf("%q through the link, mode %v, error %v", text, info.Mode(), err)
	}
}

// TestPodTargets has the watch of pods read what a kubectl of its own says, and looks at the file for Prometheus.
func TestPodTargets(t *testing.T) {
	python := program(t, "python3", "python3")
	dir := t.TempDir()
	pod := func(kind, uid, phase, ip, port string) string {
		object := map[string]any{"type": kind, "object": map[string]any{
			"metadata": map[string]any{"uid": uid, "name": "pod-" + uid, "namespace": "näme", "annotations": map[string]any{
				"prometheus.io/scrape": "true", "prometheus.io/port": port,
			}},
			"spec":   map[string]any{"nodeName": "w1"},
			"status": map[string]any{"phase": phase, "podIP": ip},
		}}
		text, err := json.MarshalIndent(object, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	events := pod("ADDED", "a", "Running", "fd00::a", "9100") + pod("ADDED", "b", "Running", "fd00::b", "9100") +
		pod("ADDED", "c", "Pending", "", "9100") + pod("ADDED", "d", "Succeeded", "fd00::d", "9100") + pod("ADDED", "e", "Running", "fd00::e", "") +
		pod("MODIFIED", "a", "Running", "fd00::a", "9200") + pod("DELETED", "b", "Running", "fd00::b", "9100")
	kubectl := "#!/bin/sh\ncat " + filepath.Join(dir, "events") + "\nread forever < " + filepath.Join(dir, "fifo") + "\n"
	file := filepath.Join(dir, "pods.json")
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "events"), []byte(events), 0o644),
		os.WriteFile(filepath.Join(dir, "kubectl"), []byte(kubectl), 0o755),
		exec.Command("mkfifo", filepath.Join(dir, "fifo")).Run(),
	)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, filepath.Join(ansibleDir, "roles/prometheus/files/pod_targets.py"), file)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const want = `[{"labels":{"__metrics_path__":"/metrics","namespace":"näme","node":"w1","pod":"pod-a"},"targets":["[fd00::a]:9200"]}]`
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && got != want; time.Sleep(20 * time.Millisecond) {
		var groups any
		if text, err := os.ReadFile(file); err != nil || json.Unmarshal(text, &groups) != nil {
			continue
		}
		text, err := json.Marshal(groups)
		if err != nil {
			t.Fatal(err)
		}
		got = string(text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	// The end of the watch is the end of the program: its unit starts it again.
	if err := os.WriteFile(filepath.Join(dir, "fifo"), []byte("go\n"), 0); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the watch: %v", err)
	}
}
