// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

// local runs a node's commands on this machine, and answers kubectl with a list of pods.
type local struct {
	pods    string
	deleted bool
}

func (l *local) Shell(ctx context.Context, _, line string, _ io.Reader) ([]byte, error) {
	switch {
	case strings.HasPrefix(line, "kubectl get pods"):
		return []byte(l.pods), nil
	case strings.HasPrefix(line, "kubectl delete pod"):
		l.deleted = true
		return nil, nil
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, &stderr)
	}
	return out, nil
}

// pidsRoot is where this machine has a hierarchy with the pids controller.
func pidsRoot(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		needRoot(t, "making cgroups needs root")
	}
	if _, err := os.Stat("/sys/fs/cgroup/pids/cgroup.procs"); err == nil {
		return "/sys/fs/cgroup/pids"
	}
	if c, err := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control"); err == nil && strings.Contains(string(c), "pids") {
		return "/sys/fs/cgroup"
	}
	needRoot(t, "no cgroup hierarchy with the pids controller")
	return ""
}

func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip("NOT TESTED: " + why)
}

// pod makes a cgroup as the kubelet does: kubepods/besteffort/pod<uid>/{sandbox,container}, with a process in each.
func pod(t *testing.T, root string) (uid, id, dir string, container, sandbox *exec.Cmd) {
	t.Helper()
	uid, id = fmt.Sprintf("fa017e57-0000-4000-8000-%012d", os.Getpid()), fmt.Sprintf("c%063d", os.Getpid())
	top := filepath.Join(root, fmt.Sprintf("dnsingress-fault-test-%d", os.Getpid()))
	dir = filepath.Join(top, "pod"+uid)
	start := func(name string) *exec.Cmd {
		child := filepath.Join(dir, name)
		if err := os.MkdirAll(child, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(child) })
		cmd := exec.Command("sh", "-c", `echo $$ > `+child+`/cgroup.procs; echo; exec sleep 600`)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if cmd.ProcessState == nil {
				cmd.Process.Kill()
				cmd.Wait()
			}
		})
		if n, err := out.Read(make([]byte, 1)); n != 1 {
			t.Fatal("the process did not reach its cgroup: ", err)
		}
		return cmd
	}
	t.Cleanup(func() { os.Remove(dir); os.Remove(top) })
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if root == "/sys/fs/cgroup" {
		for _, d := range []string{top, dir} {
			if err := os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+pids"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return uid, id, dir, start(id), start("sandbox")
}

func TestPodKill(t *testing.T) {
	root := pidsRoot(t)
	uid, id, dir, container, sandbox := pod(t, root)
	shell := &local{pods: fmt.Sprintf(`{"items":[
{"metadata":{"namespace":"bench","name":"gone","uid":"x"},"status":{"conditions":[{"type":"Ready","status":"False"}]}},
{"metadata":{"namespace":"bench","name":"backend","uid":%q},"spec":{"nodeName":"here"},
 "status":{"conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"b","containerID":"containerd://%s"}]}}]}`, uid, id)}
	healthy := false
	f, err := New(PodSIGKILL, Env{
		Shell: shell, Inventory: here(), Backend: "app=backend", HeldDir: t.TempDir(),
		Healthy: func(context.Context) error { healthy = true; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	target, err := f.Aim(ctx, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Target{Node: "here", Name: "bench/backend"}); !cmp.Equal(want, target) {
		t.Errorf("target %v, want %v", target, want)
	}
	if i, err := f.End(ctx, time.Now()); err != nil || i != (Instant{}) {
		t.Errorf("End before Begin: %v, %v", i, err)
	}

	at := time.Now().Add(300 * time.Millisecond)
	began := make(chan error, 1)
	var instant Instant
	go func() {
		var err error
		instant, err = f.Begin(ctx, at)
		began <- err
	}()
	err = container.Wait() // reaps it, as containerd's shim does
	if end := (*exec.ExitError)(nil); !errors.As(err, &end) || end.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the container's process ended with %v", err)
	}
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	if instant.Before.Before(at) || instant.After.Before(instant.Before) || instant.Clock != "here" {
		t.Errorf("instant %v, want at or after %s", instant, at)
	}
	if err := sandbox.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error("the sandbox died: ", err)
	}
	limit := filepath.Join(dir, "pids.max")
	if got := read(t, limit); got != "0" {
		t.Errorf("pids.max is %s while the fault holds", got)
	}
	if err := exec.Command("sh", "-c", fmt.Sprintf("echo $$ > %s/%s/cgroup.procs && (true) && sleep 0", dir, id)).Run(); err == nil {
		t.Error("a process forked in the pod while the fault held")
	}

	if i, err := f.End(ctx, time.Now()); err != nil || i.Before.IsZero() {
		t.Fatalf("End: %v, %v", i, err)
	}
	if got := read(t, limit); got != "max" {
		t.Errorf("pids.max is %s after the end", got)
	}
	if err := f.Recover(ctx); err != nil || !shell.deleted || !healthy {
		t.Errorf("Recover: %v; pod deleted: %t, waited: %t", err, shell.deleted, healthy)
	}
	if i, err := f.End(ctx, time.Now()); err != nil || i != (Instant{}) {
		t.Errorf("End a second time: %v, %v", i, err)
	}
}

func TestPodThatIsNotHeldIsFound(t *testing.T) {
	root := pidsRoot(t)
	uid, id, dir, container, _ := pod(t, root)
	shell := &local{}
	f := &podKill{
		env: Env{Shell: shell, HeldDir: t.TempDir()}, cgroup: dir, sandbox: []string{"sandbox"},
		pod: kubectl.Pod{Node: "here", UID: uid, Containers: []kubectl.Container{{Name: "b", ID: id}}},
	}
	go container.Wait()
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	// A runtime that got a new container into the pod all the same.
	again := filepath.Join(dir, "again")
	if err := os.Mkdir(again, 0o755); err != nil {
		t.Fatal(err)
	}
	intruder := exec.Command("sleep", "600")
	if err := intruder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { intruder.Process.Kill(); intruder.Wait(); os.Remove(again) }()
	if err := os.WriteFile(filepath.Join(again, "cgroup.procs"), []byte(strconv.Itoa(intruder.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.End(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "the pod was not held") {
		t.Errorf("got %v, want that the pod was not held", err)
	}
	if got := read(t, filepath.Join(dir, "pids.max")); got != "max" {
		t.Errorf("pids.max is %s after the end", got)
	}
}

func TestReleasePodsAfterACrash(t *testing.T) {
	root := pidsRoot(t)
	uid, id, dir, container, _ := pod(t, root)
	f := &podKill{
		env: Env{Shell: &local{}, HeldDir: t.TempDir()}, cgroup: dir, sandbox: []string{"sandbox"},
		pod: kubectl.Pod{Node: "here", UID: uid, Containers: []kubectl.Container{{Name: "b", ID: id}}},
	}
	go container.Wait()
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if got, err := releasePods(t.Context(), f.env, "here"); err != nil || got != want {
			t.Errorf("released %t, %v, want %t", got, err, want)
		}
	}
	if got := read(t, filepath.Join(dir, "pids.max")); got != "max" {
		t.Errorf("pids.max is %s after the release", got)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
