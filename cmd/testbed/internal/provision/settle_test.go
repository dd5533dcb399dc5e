// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// A node that a role fails on is given up with Ansible's own words, and the others have been provisioned; of the control plane it
// is the end.
func TestFailedNodesDoNotStopOthers(t *testing.T) {
	for _, tt := range []struct{ fails, err string }{
		{"worker-2", ""},
		{"control-1", "control-1 was given up, and the cluster cannot stand without it"},
	} {
		t.Run(tt.fails, func(t *testing.T) {
			t.Setenv("TESTBED_STATE_DIR", t.TempDir())
			inv, err := inventory.Load("../../../../pi-cluster/inventory.ci.yaml")
			if err != nil {
				t.Fatal(err)
			}
			c, err := cluster.New(inv, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if c.Work, err = c.NewWork(io.Discard, []string{"control-1", "worker-1", "worker-2"}, false); err != nil {
				t.Fatal(err)
			}
			p := &playbookPhase{c: c}
			if got := p.todo(); !slices.Equal(got, []string{"control-1", "worker-1", "worker-2"}) {
				t.Fatalf("the playbook is to run on %q", got)
			}
			f := &follower{out: io.Discard}
			events := `{"event": "task", "task": "Run the kubelet", "role": "kubelet"}
{"event": "result", "host": "worker-1", "task": "Run the kubelet", "role": "kubelet", "status": "changed"}
{"event": "result", "host": "` + tt.fails + `", "task": "Run the kubelet", "role": "kubelet", "status": "failed", "message": "no space left on device"}
`
			if err := f.follow(strings.NewReader(events)); err != nil {
				t.Fatal(err)
			}
			err = p.settle(p.todo(), f)
			if (err != nil) != (tt.err != "") || err != nil && err.Error() != tt.err {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			last, err := c.LastWork()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(last.Failed(), []string{tt.fails}) || !strings.Contains(last.Nodes[tt.fails].Error, `task "kubelet: Run the kubelet" failed: no space left on device`) {
				t.Errorf("the record: %+v", last)
			}
			if !slices.Contains(last.Nodes["worker-1"].Done, provisioned) {
				t.Errorf("worker-1 has not been provisioned: %+v", last)
			}
			if slices.Contains(p.todo(), tt.fails) {
				t.Errorf("a node that was given up is worked on: %q", p.todo())
			}
		})
	}
}
