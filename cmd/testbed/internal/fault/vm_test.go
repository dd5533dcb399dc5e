// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// sshWords runs the commands of a node by an ssh program and its arguments.
type sshWords []string

func (s sshWords) Shell(ctx context.Context, _, line string, stdin io.Reader) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s[0], append(s[1:], line)...)
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%w: %s", err, &stderr)
	}
	return out, nil
}

// virtual is a virtual machine with a clock and a kernel of its own (make faults-vm); a client, of a cluster that is not there.
func virtual(t *testing.T) (Env, func(line string) string) {
	t.Helper()
	ssh := strings.Fields(os.Getenv("FAULTS_VM"))
	if len(ssh) == 0 {
		t.Skip("a virtual machine is needed: make faults-vm")
	}
	inv, err := inventory.Parse("vm.yaml", []byte(`version: 1
cluster: vm
substrate: pi
network: {nodes: "fd6e:7369:fb:1::/64", services: "fd6e:7369:fb:f::/112"}
zone: apps.test.
nodes:
  - {name: control-1, groups: [control], address: "fd6e:7369:fb:1::1"}
  - {name: worker-1, groups: [worker], address: "fd6e:7369:fb:1::11", pods: "fd6e:7369:fb:11::/64"}
  - {name: vm, groups: [client], address: "fd6e:7369:fb:1::21"}
`))
	if err != nil {
		t.Fatal(err)
	}
	shell := func(line string) string {
		t.Helper()
		out, err := sshWords(ssh).Shell(t.Context(), "vm", line, nil)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	e := Env{Inventory: inv, Shell: sshWords(ssh), With: map[string]string{"node": "vm"}, Hold: 30 * time.Second}
	t.Cleanup(func() { // one that goes wrong is not to spoil the next
		if _, _, err := mend(context.WithoutCancel(t.Context()), &e, "vm", "*"); err != nil {
			t.Error(err)
		}
	})
	return e, shell
}

// TestClockSkewInAVirtualMachine sets a machine's clock wrong, in both directions, and sees it by the clock of this one.
func TestClockSkewInAVirtualMachine(t *testing.T) {
	e, shell := virtual(t)
	// An emulated processor takes its time to start a unit.
	const lead = 40 * time.Second
	// wrong is how far its clock is ahead of ours, by the shortest of some round trips.
	wrong := func() time.Duration {
		t.Helper()
		var best, offset time.Duration = math.MaxInt64, 0
		for range 5 {
			sent := time.Now()
			ns, err := strconv.ParseInt(shell("date +%s%N"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if trip := time.Since(sent); trip < best {
				best, offset = trip, time.Unix(0, ns).Sub(sent.Add(trip/2))
			}
		}
		return offset
	}
	for _, by := range []string{"90s", "-7s"} {
		t.Run(by, func(t *testing.T) {
			t.Cleanup(func() {
				if _, err := mendAll(context.WithoutCancel(t.Context()), &e); err != nil {
					t.Error(err)
				}
			})
			e.With["by"] = by
			want, err := time.ParseDuration(by)
			if err != nil {
				t.Fatal(err)
			}
			shell("systemctl start chrony")
			before := wrong()
			f, err := New(ClockSkew, e)
			if err != nil {
				t.Fatal(err)
			}
			aimed(t, f)
			// Its clock counts: it need not be ours.
			at := time.Now().Add(before + lead)
			began, err := f.Begin(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			if began.Before.Before(at) || began.Before.After(at.Add(time.Second)) || began.After.Before(began.Before) {
				t.Errorf("begun between %s and %s, want at %s", began.Before, began.After, at)
			}
			t.Logf("struck within %s, %s after the instant that it was due at", began.After.Sub(began.Before), began.Before.Sub(at))
			if got := wrong() - before; (got - want).Abs() > 500*time.Millisecond {
				t.Errorf("its clock is wrong by %s", got)
			} else {
				t.Logf("its clock is wrong by %s", got)
			}
			if state, _ := sshWords(strings.Fields(os.Getenv("FAULTS_VM"))).Shell(t.Context(), "vm", "systemctl is-active chrony", nil); strings.TrimSpace(string(state)) == "active" {
				t.Error("chrony runs while the clock is wrong")
			}
			ended, err := f.End(t.Context(), at.Add(e.Hold))
			if err != nil {
				t.Fatal(err)
			}
			// By the right clock, all the time.
			if held := ended.Before.Sub(began.After); held < e.Hold-time.Second || held > e.Hold+time.Second {
				t.Errorf("held for %s, want %s", held, e.Hold)
			}
			if got := wrong() - before; got.Abs() > 500*time.Millisecond {
				t.Errorf("its clock is wrong by %s after the end", got)
			}
			if err := f.Recover(t.Context()); err != nil {
				t.Error(err)
			}
			if state := shell("systemctl is-active chrony"); state != "active" {
				t.Errorf("chrony is %s", state)
			}
		})
	}
	// Nobody ends it, and what holds it is killed: systemd has it undone.
	e.With["by"], e.Hold = "30s", time.Hour
	before := wrong()
	f, err := New(ClockSkew, e)
	if err != nil {
		t.Fatal(err)
	}
	aimed(t, f)
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	shell("systemctl kill -s KILL --kill-whom=main 'testbed-fault-*'; until [ -e /dev/shm/testbed-faults/*/ended ]; do sleep 0.2; done")
	if got := wrong() - before; got.Abs() > 500*time.Millisecond {
		t.Errorf("its clock is wrong by %s after what held it was killed", got)
	}
	if healed, err := mendAll(t.Context(), &e); err != nil {
		t.Errorf("healed %q, %v", healed, err)
	}
}

// mendAll is Heal for the one machine that is there.
func mendAll(ctx context.Context, e *Env) ([]string, error) {
	stood, over, err := mend(ctx, e, "vm", "*")
	return append(stood, over...), err
}

// TestPacketDelayInAVirtualMachine delays what leaves a machine whose kernel has netem.
func TestPacketDelayInAVirtualMachine(t *testing.T) {
	e, shell := virtual(t)
	e.With["delay"], e.With["jitter"] = "400ms", "10ms"
	if err := Ready(t.Context(), e, PacketDelay); err != nil {
		t.Fatal(err)
	}
	trip := func() time.Duration {
		best := time.Hour
		for range 4 {
			sent := time.Now()
			shell(":")
			best = min(best, time.Since(sent))
		}
		return best
	}
	before := trip()
	f, err := New(PacketDelay, e)
	if err != nil {
		t.Fatal(err)
	}
	aimed(t, f)
	at := time.Now().Add(40 * time.Second)
	if _, err := f.Begin(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	// A command takes several packets from there, one after the other.
	if got := trip() - before; got < 400*time.Millisecond {
		t.Errorf("a command takes %s longer", got)
	} else {
		t.Logf("a command takes %s longer", got)
	}
	if _, err := f.End(t.Context(), at.Add(e.Hold)); err != nil {
		t.Fatal(err)
	}
	if got := trip() - before; got > 400*time.Millisecond {
		t.Errorf("a command takes %s longer after the end", got)
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Error(err)
	}
	// One that is somebody's is not taken over.
	shell("tc qdisc replace dev eth0 root tbf rate 100mbit burst 64kb latency 50ms")
	defer shell("tc qdisc delete dev eth0 root")
	if f, err = New(PacketDelay, e); err != nil {
		t.Fatal(err)
	}
	aimed(t, f)
	if _, err := f.Begin(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "eth0 is shaped already") {
		t.Errorf("begun on a shaped link: %v", err)
	}
	if err := errors.Join(f.Recover(t.Context())); err != nil {
		t.Error(err)
	}
}
