// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// holdEnv makes of the test's program one that holds the cluster of an inventory file until it is killed.
const holdEnv = "DNSINGRESS_TEST_HOLD"

// holdFile takes the cluster, says so, and waits for its own end.
func holdFile(path string) error {
	inv, err := inventory.Load(path)
	if err != nil {
		return err
	}
	c, err := New(inv, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if _, err := c.Hold("up"); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("held\n"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// rack returns a cluster of boards that nobody reaches; it needs no root.
func rack(t *testing.T) (*Cluster, string) {
	t.Helper()
	t.Setenv("TESTBED_STATE_DIR", filepath.Join(t.TempDir(), "state"))
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	if err := os.WriteFile(path, []byte(twoBoards), 0o644); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(inv, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c, path
}

// Two testbeds cannot have one cluster, and the one that died is known to whoever comes next.
func TestHold(t *testing.T) {
	c, path := rack(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("held\n"))); err != nil {
		t.Fatal(err)
	}

	var held *HeldError
	if _, err := c.Hold("down"); !errors.As(err, &held) || held.Owner.PID != cmd.Process.Pid || held.Owner.Command != "up" || held.Owner.Since.IsZero() {
		t.Errorf("a cluster that another holds was taken: %v", err)
	} else if !strings.Contains(err.Error(), `cluster "rack" is in use by testbed up (process `) || !strings.Contains(err.Error(), "(hint: wait for its end") {
		t.Errorf("unclear: %v", err)
	}
	if o, err := c.Holder(); err != nil || o == nil || o.PID != cmd.Process.Pid {
		t.Errorf("the holder is %v, %v", o, err)
	}
	if o, err := c.Interrupted(); err != nil || o != nil {
		t.Errorf("a holder that lives counts as killed: %v, %v", o, err)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for range 2 { // looking changes nothing
		if o, err := c.Interrupted(); err != nil || o == nil || o.PID != cmd.Process.Pid {
			t.Errorf("who was killed: %v, %v", o, err)
		}
	}
	if o, err := c.Holder(); err != nil || o != nil {
		t.Errorf("a dead holder holds: %v, %v", o, err)
	}
	release, err := c.Hold("up")
	if err != nil {
		t.Fatal(err)
	}
	if o, err := c.Interrupted(); err != nil || o == nil || o.PID != cmd.Process.Pid {
		t.Errorf("who comes next does not know who was killed: %v, %v", o, err)
	}
	release()
	again, _ := New(c.Inventory, c.log)
	if o, err := again.Interrupted(); err != nil || o != nil {
		t.Errorf("who ended well counts as killed: %v, %v", o, err)
	}
	if left, err := c.Leftovers(); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Those who look are never taken for an owner.
func TestHoldWhileOthersLook(t *testing.T) {
	c, _ := rack(t)
	stop := make(chan struct{})
	var looking sync.WaitGroup
	for range 4 {
		looking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.Holder(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 200 {
		release, err := c.Hold("up")
		if err != nil {
			t.Error(err)
			break
		}
		release()
	}
	close(stop)
	looking.Wait()
}

// What nodes have done is on the disk at once, and a later `up` can go on from there.
func TestWork(t *testing.T) {
	c, _ := rack(t)
	nodes := c.Inventory.Nodes
	if _, err := c.NewWork(nil, nil, true); !errors.Is(err, ErrNothingToResume) || !strings.Contains(err.Error(), "(hint: ") {
		t.Errorf("resuming where nothing was begun: %v", err)
	}
	w, err := c.NewWork(nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	w.out = &out
	c.Work = w
	for _, err := range []error{w.Finished("flash", nodes[0]), w.Finished("boot", nodes[0]), w.GiveUp("flash", nodes[1], errors.New("no card\nin it"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := "      pi-2: given up: no card\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	if got := w.Of(nodes); len(got) != 1 || got[0].Name != "pi-1" {
		t.Errorf("still worked on: %v", got)
	}
	if err := c.Enough(); err != nil {
		t.Errorf("a cluster cannot do without a worker: %v", err)
	}

	// Killed here: the next one finds this.
	last, err := c.LastWork()
	if err != nil || last == nil || !last.Ended.IsZero() {
		t.Fatalf("the last work is %+v, %v", last, err)
	}
	if diff := cmp.Diff([]string{"pi-2"}, last.Failed()); diff != "" {
		t.Errorf("given up (-want +got):\n%s", diff)
	}
	again, err := c.NewWork(nil, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Done("flash", nodes[0]) || again.Done("flash", nodes[1]) || again.Done("boot", nodes[0]) {
		t.Error("a resumed work does again what was done, or trusts that a node still answers")
	}
	if len(again.Of(nodes)) != 2 {
		t.Error("a node that was given up is not tried again")
	}
	if err := again.GiveUp("flash", nodes[0], errors.New("gone")); err != nil {
		t.Fatal(err)
	}
	c.Work = again
	if err := c.Enough(); err == nil || !strings.Contains(err.Error(), "pi-1 was given up") {
		t.Errorf("a cluster goes on without its control plane: %v", err)
	}
	if err := again.End(); err == nil || !strings.Contains(err.Error(), "1 nodes were given up (hint: ") || !strings.Contains(err.Error(), "pi-1: flash: gone") {
		t.Errorf("the end of it: %v", err)
	}

	fresh, err := c.NewWork(nil, []string{"pi-2"}, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := fresh.Of(nodes); len(got) != 1 || got[0].Name != "pi-2" {
		t.Errorf("limited to pi-2: %v", got)
	}
	if err := errors.Join(fresh.Finished("flash", nodes[1]), fresh.End()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.NewWork(nil, nil, true); !errors.Is(err, ErrNothingToResume) {
		t.Errorf("resuming what ended well: %v", err)
	}
	c.Inventory.Zone = "other.test."
	if _, err := c.NewWork(nil, nil, true); err == nil || !strings.Contains(err.Error(), "not the one of the last 'up'") {
		t.Errorf("resuming with another inventory: %v", err)
	}
}
