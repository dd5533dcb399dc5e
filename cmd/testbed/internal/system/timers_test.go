// SPDX-License-Identifier: Apache-2.0

package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The drop-ins are written, replaced and removed by a real shell; units are restarted when something changed, and not else.
func TestTimers(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/systemd/system/kubelet.service", "[Unit]\nDescription=Kubelet\n\n[Service]\nExecStart=/opt/kubelet \\\n  --config=/etc/kubernetes/kubelet.yaml --kubeconfig=k \\\n  --node-ip=::1\nRestart=always\n", 0o644)
	write("etc/systemd/system/kube-controller-manager.service", "[Service]\nExecStart=/opt/manager \\\n  --bind-address=::1 \\\n  --node-monitor-period=1s --node-monitor-grace-period=8s \\\n  --profiling=false\n", 0o644)
	write("etc/kubernetes/kubelet.yaml", "kind: KubeletConfiguration\nnodeStatusUpdateFrequency: 2s\nnodeLeaseDurationSeconds: 4\nport: 10250\n", 0o644)
	write("bin/systemctl", "#!/bin/sh\necho \"$@\" >>"+filepath.Join(root, "done")+"\n", 0o755)

	run := func(line string) (done string) {
		t.Helper()
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(line, "/etc/", filepath.Join(root, "etc")+"/"))
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s\n%s", err, out, line)
		}
		text, err := os.ReadFile(filepath.Join(root, "done"))
		if err == nil {
			err = os.Remove(filepath.Join(root, "done"))
		}
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(text)
	}
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(text)
	}
	const kubelet, manager = "daemon-reload\nrestart kubelet\n", "daemon-reload\nrestart kube-controller-manager\n"
	const kubeletDropIn, managerDropIn = "etc/systemd/system/kubelet.service.d/timers.conf", "etc/systemd/system/kube-controller-manager.service.d/timers.conf"
	for i, step := range []struct {
		line, done, file, want string
	}{
		{kubeletTimers(timersShort, true), "", kubeletDropIn, ""},
		{kubeletTimers(timersStock, false), kubelet, "etc/kubernetes/kubelet-timers.yaml", "kind: KubeletConfiguration\nport: 10250\n"},
		{kubeletTimers(timersStock, false), "", kubeletDropIn, "[Service]\nExecStart=\nExecStart=/opt/kubelet   --config=" + root + "/etc/kubernetes/kubelet-timers.yaml --kubeconfig=k   --node-ip=::1\n"},
		{kubeletTimers(timersShort, false), kubelet, "etc/kubernetes/kubelet-timers.yaml", "kind: KubeletConfiguration\nport: 10250\n" + shortKubelet},
		{kubeletTimers("", true), kubelet, kubeletDropIn, ""},
		{kubeletTimers("", true), "", kubeletDropIn, ""},
		{managerTimers(timersStock, false), manager, managerDropIn, "[Service]\nExecStart=\nExecStart=/opt/manager   --bind-address=::1       --profiling=false\n"},
		{managerTimers(timersShort, false), manager, managerDropIn, "[Service]\nExecStart=\nExecStart=/opt/manager   --bind-address=::1       --profiling=false " + shortManager + "\n"},
		{managerTimers(timersShort, true), manager, managerDropIn, ""},
	} {
		if done := run(step.line); done != step.done {
			t.Errorf("step %d did %q, want %q", i, done, step.done)
		}
		got := read(step.file)
		if comment, rest, ok := strings.Cut(got, "\n"); ok && strings.HasPrefix(comment, "# ") {
			got = rest // a hash
		}
		if got != step.want {
			t.Errorf("step %d: %s is %q, want %q", i, step.file, got, step.want)
		}
	}
}
