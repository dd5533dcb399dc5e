// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// proxyProgram stands for kubectl: "proxy" serves the API on the socket that it is told, "get" and "wait" say what became of
// the pod. What was deleted is in the file DELETED.
const proxyProgram = `#!/usr/bin/env python3
import http.server, json, os, socketserver, sys
deleted = os.environ["DELETED"]
if sys.argv[1] == "get":
    meta = {"namespace": "bench", "name": "backend-7", "uid": "u7"}
    if os.path.exists(deleted) and not os.environ.get("DEAF"):
        meta["deletionTimestamp"] = "2026-11-22T00:00:00Z"
    print(json.dumps({"items": [{"metadata": meta, "spec": {"nodeName": "here"}, "status": {"podIP": "fd00::7",
        "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{"name": "b", "containerID": "containerd://c"}]}}]}))
elif sys.argv[1] == "proxy":
    if os.environ.get("BROKEN"):
        sys.exit("no API server")
    class API(http.server.BaseHTTPRequestHandler):
        def do_DELETE(self):
            with open(deleted, "a") as f:
                f.write(self.path + "\n")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
        def address_string(self): return "socket"
        def log_message(self, *a): pass
    socketserver.UnixStreamServer(sys.argv[2].split("=", 1)[1], API).serve_forever()
`

// localShell runs a node's commands here, with kubectl from a directory of the test's.
type localShell struct{ env []string }

func (l localShell) Shell(ctx context.Context, _, line string, stdin io.Reader) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Env, cmd.Stdin = l.env, stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, &stderr)
	}
	return out, nil
}

func TestPodDelete(t *testing.T) {
	for _, program := range []string{"python3", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			needRoot(t, "no "+program+", which every node has")
		}
	}
	for name, test := range map[string]struct{ env, want string }{
		"deleted": {"", ""},
		"deaf":    {"DEAF=1", "deleting bench/backend-7: the API server took the request, but the pod is not ending"},
		"broken":  {"BROKEN=1", "no API server"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(proxyProgram), 0o755); err != nil {
				t.Fatal(err)
			}
			deleted := filepath.Join(dir, "deleted")
			env := append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TMPDIR="+dir, "DELETED="+deleted, test.env)
			healthy := 0
			f, err := New(PodDelete, Env{
				Shell: localShell{env}, Backend: "app=backend",
				Inventory: &inventory.Inventory{Nodes: []inventory.Node{{Name: "here", Groups: []string{inventory.Control}}}},
				Healthy:   func(context.Context) error { healthy++; return nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			target, err := f.Aim(t.Context(), rand.New(rand.NewPCG(1, 2)))
			if err != nil {
				t.Fatal(err)
			}
			if target.Node != "here" || target.Name != "bench/backend-7" || len(target.Members) != 1 || target.Members[0].String() != "fd00::7/128" {
				t.Errorf("aimed at %+v", target)
			}
			at := time.Now().Add(300 * time.Millisecond)
			in, err := f.Begin(t.Context(), at)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %s", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if in.Before.Before(at) || in.After.Before(in.Before) || in.Clock != "here" {
				t.Errorf("asked for %s, was between %s and %s by the clock of %s", at, in.Before, in.After, in.Clock)
			}
			if b, err := os.ReadFile(deleted); err != nil || string(b) != "/api/v1/namespaces/bench/pods/backend-7\n" {
				t.Errorf("the API server was told to delete %q, %v", b, err)
			}
			if _, err := f.End(t.Context(), time.Now()); err != nil {
				t.Error(err)
			}
			if err := f.Recover(t.Context()); err != nil || healthy != 1 {
				t.Errorf("recovered with %v; asked %d times whether all is well", err, healthy)
			}
		})
	}
}
