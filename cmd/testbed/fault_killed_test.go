// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestFaultsOrchestratorKilled kills testbed while faults stand on a twin (make faults): the next command says what stands and
// mends it, and nodes mend themselves though nobody comes.
func TestFaultsOrchestratorKilled(t *testing.T) {
	inv, program := os.Getenv("FAULTS"), os.Getenv("TESTBED")
	if inv == "" || program == "" {
		t.Skip("a twin is needed: make faults")
	}
	testbed := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, append(args, "-i", inv)...).CombinedOutput()
		if err != nil {
			t.Fatalf("testbed %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	want := func(text, part string) {
		t.Helper()
		if !strings.Contains(text, part) {
			t.Errorf("nothing of %q in:\n%s", part, text)
		}
	}
	// inject begins a fault, and kills who does it as soon as it stands.
	inject := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, append([]string{"fault", "inject", "-i", inv}, args...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "broken at ") {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("testbed was not killed: %v", err)
		}
	}

	t.Run("a partition", func(t *testing.T) {
		inject("partition", "sides=north-1|rest", "--hold", "10m")
		said := testbed("fault", "list")
		want(said, "standing (hint: testbed fault clear):")
		want(said, "fault partition of north-1 | ")
		want(said, "north-1: partition of north-1")
		want(said, "north-1: nftables has table ip6 testbed-fault")
		want(testbed("status"), "standing: fault partition of north-1") // as every command does
		said = testbed("fault", "clear")
		want(said, "mended north-1: partition of north-1")
		want(said, "mended client-1: partition of client-1")
		want(testbed("fault", "list"), "nothing is broken")
	})
	t.Run("no power", func(t *testing.T) {
		inject("node-power-cut", "node=north-2", "--hold", "10m")
		want(testbed("fault", "list", "--offline"), "fault node-power-cut of north-2")
		want(testbed("fault", "list"), "north-2: power is off")
		want(testbed("fault", "clear", "--dry-run"), "north-2: power is off")
		want(testbed("fault", "clear"), "mended north-2: power was off")
		want(testbed("fault", "list"), "nothing is broken")
	})
	t.Run("and nobody comes", func(t *testing.T) {
		inject("apiserver-kill", "--hold", "15s")
		deadline := time.Now().Add(2 * time.Minute)
		for {
			said := testbed("fault", "list")
			want(said, "fault apiserver-kill of kube-apiserver") // by the journal
			if !strings.Contains(said, ": apiserver-kill of kube-apiserver") && !strings.Contains(said, "kept from starting") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the node does not mend itself:\n%s", said)
			}
		}
		said := testbed("fault", "clear")
		want(said, "nothing was broken")
		want(said, "forgot fault apiserver-kill")
		want(testbed("fault", "list"), "nothing is broken")
	})
}
