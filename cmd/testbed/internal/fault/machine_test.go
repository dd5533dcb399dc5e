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
	"slices"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// machine runs the commands of nodes on this one, whose systemd and kubectl are testdata/bin's.
type machine struct {
	dir    string
	env    []string
	prefix string // of the network namespaces that nodes have, if they have any
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	needPrograms(t, map[string]string{"bash": "bash", "setsid": "util-linux"})
	bin, err := filepath.Abs("testdata/bin")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := &machine{dir: dir, env: append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "UNITS="+dir+"/units",
		"PODS="+dir+"/pods", "FOUND="+dir+"/found", "ASKED="+dir+"/asked")}
	m.write(t, "asked", "")
	return m
}

func (m *machine) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// asked is what kubectl was asked to do.
func (m *machine) asked(t *testing.T) string { return read(t, filepath.Join(m.dir, "asked")) }

func (m *machine) Shell(ctx context.Context, node, line string, stdin io.Reader) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	if m.prefix != "" {
		cmd = exec.CommandContext(ctx, "nsenter", "--net=/run/netns/"+m.prefix+node, "bash", "-c", line)
	}
	cmd.Env, cmd.Stdin = slices.Concat(m.env, []string{"FAULTS=" + m.faults(node)}), stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, &stderr)
	}
	return out, nil
}

// environment is a cluster whose nodes are on this machine.
func (m *machine) environment(inv *inventory.Inventory) Env {
	return Env{Inventory: inv, Shell: m, Backend: "app=backend", Dir: "$FAULTS"}
}

// faults is where a node keeps its own.
func (m *machine) faults(node string) string { return filepath.Join(m.dir, "faults-"+node) }

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func needRoot(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip("NOT TESTED: " + why)
}

func needPrograms(t *testing.T, packages map[string]string) {
	t.Helper()
	for program, pkg := range packages {
		if _, err := exec.LookPath(program); err != nil {
			needRoot(t, program+" is missing (hint: apt-get install "+pkg+")")
		}
	}
}

// here is an inventory whose only node is this machine.
func here() *inventory.Inventory {
	return &inventory.Inventory{Cluster: "small", Nodes: []inventory.Node{{Name: "here", Groups: []string{inventory.Control, inventory.Worker}}}}
}

func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// onlyPod is a list with one ready pod.
func onlyPod(uid, id, address string) string {
	return fmt.Sprintf(`{"items":[
{"metadata":{"namespace":"bench","name":"gone","uid":"x"},"status":{"conditions":[{"type":"Ready","status":"False"}]}},
{"metadata":{"namespace":"bench","name":"backend","uid":%q,"labels":{"app":"backend"}},"spec":{"nodeName":"here"},
 "status":{"podIP":%q,"conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"b","containerID":"containerd://%s"}]}}]}`, uid, address, id)
}
