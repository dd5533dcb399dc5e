// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// hierarchy is where this machine has cgroups with a controller.
func hierarchy(t *testing.T, controller string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		needRoot(t, "making cgroups needs root")
	}
	if root := "/sys/fs/cgroup/" + controller; exists(root + "/cgroup.procs") {
		return root
	}
	c, err := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control")
	if err == nil && (controller == "freezer" || strings.Contains(string(c), controller)) {
		return "/sys/fs/cgroup"
	}
	needRoot(t, "no cgroup hierarchy with the controller "+controller)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// container is a pod with a container and a sandbox, a process in each, in cgroups as the kubelet makes them:
// pod<uid>/{sandbox,container}.
type container struct {
	uid, id, dir string
	*exec.Cmd
	reap    func() error // Wait, for several
	sandbox *exec.Cmd
}

func newContainer(t *testing.T, controller string) container {
	t.Helper()
	root := hierarchy(t, controller)
	own := rand.Uint32()
	c := container{uid: fmt.Sprintf("fa017e57-0000-4000-8000-%012d", own), id: fmt.Sprintf("c%063d", own)}
	top := filepath.Join(root, fmt.Sprintf("dnsingress-fault-test-%d", own))
	c.dir = filepath.Join(top, "pod"+c.uid)
	start := func(name string) (*exec.Cmd, func() error) {
		child := filepath.Join(c.dir, name)
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
		reap := sync.OnceValue(cmd.Wait)
		t.Cleanup(func() {
			cmd.Process.Kill()
			reap()
		})
		if n, err := out.Read(make([]byte, 1)); n != 1 {
			t.Fatal("the process did not reach its cgroup: ", err)
		}
		return cmd, reap
	}
	t.Cleanup(func() { os.Remove(c.dir); os.Remove(top) })
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if root == "/sys/fs/cgroup" && controller != "freezer" {
		for _, d := range []string{top, c.dir} {
			if err := os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.Cmd, c.reap = start(c.id)
	c.sandbox, _ = start("sandbox")
	return c
}

// struck makes a fault of the machine's only pod.
func struck(t *testing.T, m *machine, kind string, hold time.Duration, with map[string]string) Fault {
	t.Helper()
	e := m.environment(here())
	e.Hold, e.With = hold, with
	f, err := New(kind, e)
	if err != nil {
		t.Fatal(err)
	}
	want := Target{Node: "here", Name: "bench/backend", Members: []netip.Prefix{netip.MustParsePrefix("::1/128")}}
	if diff := cmp.Diff(want, aimed(t, f), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("target (-want +got):\n%s", diff)
	}
	return f
}

func TestPodSIGKILL(t *testing.T) {
	t.Parallel()
	pod := newContainer(t, "pids")
	m := newMachine(t)
	m.write(t, "pods", onlyPod(pod.uid, pod.id, "::1"))
	f := struck(t, m, PodSIGKILL, time.Second, nil)
	at := time.Now().Add(800 * time.Millisecond)
	began := make(chan error, 1)
	var instant Instant
	go func() {
		var err error
		instant, err = f.Begin(t.Context(), at)
		began <- err
	}()
	err := pod.reap() // as containerd's shim does
	if end := (*exec.ExitError)(nil); !errors.As(err, &end) || end.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the container's process ended with %v", err)
	}
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	if instant.Before.Before(at) || instant.After.Before(instant.Before) || instant.Clock != "here" {
		t.Errorf("instant %v, want at or after %s", instant, at)
	}
	if err := pod.sandbox.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error("the sandbox died: ", err)
	}
	limit := filepath.Join(pod.dir, "pids.max")
	if got := read(t, limit); got != "0" {
		t.Errorf("pids.max is %s while the fault holds", got)
	}
	if err := exec.Command("sh", "-c", fmt.Sprintf("echo $$ > %s/%s/cgroup.procs && (true) && sleep 0", pod.dir, pod.id)).Run(); err == nil {
		t.Error("a process forked in the pod while the fault held")
	}
	if i, err := f.End(t.Context(), at.Add(time.Second)); err != nil || i.Before.IsZero() {
		t.Fatalf("End: %v, %v", i, err)
	}
	if got := read(t, limit); got != "max" {
		t.Errorf("pids.max is %s after the end", got)
	}
	if err := f.Recover(t.Context()); err != nil || !strings.Contains(m.asked(t), "delete pod -n bench backend --grace-period=1") {
		t.Errorf("Recover: %v; asked %s", err, m.asked(t))
	}
}

func TestPodThatIsNotHeldIsFound(t *testing.T) {
	t.Parallel()
	pod := newContainer(t, "pids")
	m := newMachine(t)
	m.write(t, "pods", onlyPod(pod.uid, pod.id, "::1"))
	f := struck(t, m, PodSIGKILL, time.Hour, nil)
	go pod.reap()
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	// A runtime that got a new container into the pod all the same.
	again := filepath.Join(pod.dir, "again")
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
	if _, err := f.End(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "processes are back") {
		t.Errorf("got %v, want that processes are back", err)
	}
	if got := read(t, filepath.Join(pod.dir, "pids.max")); got != "max" {
		t.Errorf("pids.max is %s after the end", got)
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestContainerKill(t *testing.T) {
	t.Parallel()
	pod := newContainer(t, "pids")
	m := newMachine(t)
	m.write(t, "pods", onlyPod(pod.uid, pod.id, "::1"))
	f := struck(t, m, ContainerKill, time.Hour, map[string]string{"container": "b"})
	go pod.reap()
	at := time.Now().Add(500 * time.Millisecond)
	if i, err := f.Begin(t.Context(), at); err != nil || i.Before.Before(at) {
		t.Fatal(i, err)
	}
	if got := read(t, filepath.Join(pod.dir, "pids.max")); got != "max" {
		t.Errorf("the pod is kept from restarting: pids.max is %s", got)
	}
	if _, err := f.End(t.Context(), time.Now()); err != nil {
		t.Error(err)
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPodFreeze watches a process of the pod that would tell of itself every 10 ms.
func TestPodFreeze(t *testing.T) {
	t.Parallel()
	pod := newContainer(t, "freezer")
	m := newMachine(t)
	m.write(t, "pods", onlyPod(pod.uid, pod.id, "::1"))
	f := struck(t, m, PodFreeze, time.Hour, nil)
	counter := exec.Command("sh", "-c", fmt.Sprintf("echo $$ > %s/%s/cgroup.procs; while :; do echo; sleep 0.01; done", pod.dir, pod.id))
	out, err := counter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := counter.Start(); err != nil {
		t.Fatal(err)
	}
	ticks := make(chan time.Time, 1<<20)
	go func() {
		defer close(ticks)
		b := make([]byte, 1)
		for {
			if _, err := out.Read(b); err != nil {
				return
			}
			ticks <- time.Now()
		}
	}()
	defer func() { counter.Process.Kill(); counter.Wait() }()
	<-ticks
	at := time.Now().Add(500 * time.Millisecond)
	began, err := f.Begin(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // in which a living one would have ticked
	at = time.Now()
	ended, err := f.End(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if tick, ok := <-ticks; !ok {
			t.Fatal("it does not go on")
		} else if tick.After(ended.After) {
			break
		} else if tick.After(began.After.Add(100*time.Millisecond)) && tick.Before(ended.Before) {
			t.Errorf("it ran %s after it was frozen", tick.Sub(began.After))
		}
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Error(err)
	}
}

// serve has an HTTP server listen on loopback, and returns its port.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal("no IPv6 loopback: ", err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestPodSlow(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		told  []string
		state = http.StatusOK
	)
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r.Method+" "+r.RequestURI)
		w.WriteHeader(state)
		fmt.Fprintln(w, "as told")
	})
	m := newMachine(t)
	m.write(t, "pods", onlyPod("u", "c", "::1"))
	slow := func() *recorded {
		t.Helper()
		f := struck(t, m, PodSlow, time.Hour, map[string]string{"by": "120ms"}).(*recorded)
		f.Fault.(*held).strikes[0].vars["port"] = port // the pod's is another here
		return f
	}
	f := slow()
	at := time.Now().Add(500 * time.Millisecond)
	if i, err := f.Begin(t.Context(), at); err != nil || i.Before.Before(at) || i.After.Before(i.Before) {
		t.Fatalf("Begin at %s: %v, %v", at, i, err)
	}
	if _, err := f.End(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := f.Recover(t.Context()); err != nil || !strings.Contains(m.asked(t), "delete pod") {
		t.Errorf("Recover: %v", err)
	}
	if got := strings.Join(told, ", "); got != "PUT /slow?delay=120ms, PUT /slow?delay=0s" {
		t.Errorf("told %s", got)
	}
	// A pod that does not do as it is told is replaced as well.
	mu.Lock()
	state = http.StatusTeapot
	mu.Unlock()
	m.write(t, "asked", "")
	f = slow()
	if _, err := f.Begin(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "the pod says 418: as told") {
		t.Errorf("Begin: %v", err)
	}
	if _, err := f.End(t.Context(), time.Now()); err == nil {
		t.Error("ended what did not begin")
	}
	if err := f.Recover(t.Context()); err != nil || !strings.Contains(m.asked(t), "delete pod") {
		t.Errorf("Recover: %v", err)
	}
}

func TestAPI(t *testing.T) {
	t.Parallel()
	const deleteBody = `{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"u"}}`
	for name, test := range map[string]struct {
		kind, found string
		state       int
		want        string // asked for
		err         string
	}{
		"a pod":             {PodDelete, "u 2026-11-22T00:00:00Z", 200, "DELETE /api/v1/namespaces/bench/pods/backend application/json " + deleteBody, ""},
		"and it is gone":    {PodDelete, "", 200, "DELETE /api/v1/namespaces/bench/pods/backend application/json " + deleteBody, ""},
		"which is another":  {PodDelete, "u ", 409, "", "the API server says 409: sorry"},
		"which stays":       {PodDelete, "u ", 200, "", "the API server took the request, but the pod is not ending"},
		"by force":          {PodDeleteForced, "other ", 200, `DELETE /api/v1/namespaces/bench/pods/backend application/json {"apiVersion":"v1","gracePeriodSeconds":0,"kind":"DeleteOptions","preconditions":{"uid":"u"}}`, ""},
		"by force, in vain": {PodDeleteForced, "u 2026-11-22T00:00:00Z", 200, "", "the pod is still there"},
		"a rollout":         {Rollout, "7 7 2", 200, "PATCH /apis/apps/v1/namespaces/bench/deployments/backend application/strategic-merge-patch+json", ""},
		"that is not begun": {Rollout, "7 6 0", 200, "", "the Deployment does not replace its pods yet: 7 6 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var (
				mu    sync.Mutex
				asked []string
			)
			port := serve(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if r.Method == http.MethodGet {
					fmt.Fprint(w, "ok")
					return
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				asked = append(asked, strings.Join([]string{r.Method, r.URL.Path, r.Header.Get("Content-Type"), string(body)}, " "))
				w.WriteHeader(test.state)
				fmt.Fprint(w, "sorry")
			})
			m := newMachine(t)
			m.env = append(m.env, "API_PORT="+port)
			m.write(t, "pods", onlyPod("u", "c", "::1"))
			m.write(t, "found", test.found)
			e := m.environment(here())
			f, err := New(test.kind, e)
			if err != nil {
				t.Fatal(err)
			}
			if target := aimed(t, f); target.Name != "bench/backend" || len(target.Members) != 1 {
				t.Errorf("aimed at %+v", target)
			}
			f.(*recorded).Fault.(*held).strikes[0].vars["seeing"] = "1"
			at := time.Now().Add(700 * time.Millisecond)
			in, err := f.Begin(t.Context(), at)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if in.Before.Before(at) || in.After.Before(in.Before) || in.Clock != "here" {
				t.Errorf("asked for %s, was between %s and %s by the clock of %s", at, in.Before, in.After, in.Clock)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(asked) != 1 || !strings.HasPrefix(asked[0], test.want) {
				t.Errorf("the API server was asked %q, want %q", asked, test.want)
			}
			if _, err := f.End(t.Context(), time.Now()); err != nil {
				t.Error(err)
			}
			if err := f.Recover(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
