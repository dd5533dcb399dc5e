// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// near runs a node's commands on this machine, at whose loopback, on another port, the only pod is.
type near struct {
	address string
	deleted bool
}

func (n *near) Shell(ctx context.Context, _, line string, stdin io.Reader) ([]byte, error) {
	switch {
	case strings.HasPrefix(line, "kubectl get pods"):
		return []byte(`{"items":[{"metadata":{"namespace":"bench","name":"backend-7"},"spec":{"nodeName":"here"},
 "status":{"podIP":"::1","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"b","containerID":"containerd://c"}]}}]}`), nil
	case strings.HasPrefix(line, "kubectl delete pod"):
		n.deleted = true
		return nil, nil
	}
	// The pod's port is another here.
	line = strings.Replace(line, "'[::1]:"+backendAdmin+"'", "'"+n.address+"'", 1)
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, &stderr)
	}
	return out, nil
}

func TestPodSlow(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		needRoot(t, "no python3, which every node has")
	}
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 loopback: ", err)
	}
	var asked []string
	status := http.StatusOK
	pod := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI)
		w.WriteHeader(status)
		fmt.Fprintln(w, "as told")
	}))
	pod.Listener.Close()
	pod.Listener = l
	pod.Start()
	defer pod.Close()
	shell := &near{address: l.Addr().String()}
	healthy := 0
	aimed := func() Fault {
		t.Helper()
		f, err := New(PodSlow, Env{
			Shell: shell, Inventory: here(), Backend: "app=backend",
			Healthy: func(context.Context) error { healthy++; return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		target, err := f.Aim(t.Context(), rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		if want := (Target{Node: "here", Name: "bench/backend-7"}); !cmp.Equal(want, target) {
			t.Errorf("target %v, want %v", target, want)
		}
		return f
	}

	f := aimed()
	if i, err := f.End(t.Context(), time.Now()); err != nil || i != (Instant{}) {
		t.Errorf("End before Begin: %v, %v", i, err)
	}
	at := time.Now().Add(500 * time.Millisecond)
	i, err := f.Begin(t.Context(), at)
	if err != nil || i.Before.Before(at) || i.After.Before(i.Before) || i.Clock != "here" {
		t.Fatalf("Begin at %s: %v, %v", at, i, err)
	}
	if _, err := f.End(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := f.Recover(t.Context()); err != nil || !shell.deleted || healthy != 1 {
		t.Errorf("Recover: %v, deleted %t", err, shell.deleted)
	}
	if i, err := f.End(t.Context(), time.Now()); err != nil || i != (Instant{}) {
		t.Errorf("End a second time: %v, %v", i, err)
	}
	if got := strings.Join(asked, ", "); got != "PUT /slow?delay=300ms, PUT /slow?delay=0s" {
		t.Errorf("asked %s", got)
	}

	// A pod that does not do as it is told is replaced as well.
	f = aimed()
	shell.deleted = false
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	status = http.StatusTeapot
	if _, err := f.End(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "making bench/backend-7 slower by 0s: ") || !strings.Contains(err.Error(), "the pod says 418 as told") {
		t.Errorf("End: %v", err)
	}
	if err := f.Recover(t.Context()); err != nil || !shell.deleted || healthy != 2 {
		t.Errorf("Recover: %v, deleted %t", err, shell.deleted)
	}
	if err := aimed().Recover(t.Context()); err != nil || healthy != 2 {
		t.Errorf("Recover of what was never done: %v", err)
	}
}
