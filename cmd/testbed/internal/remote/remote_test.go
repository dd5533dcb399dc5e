// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/sshtest"
)

func TestRun(t *testing.T) {
	s := newServer(t)
	f := s.fleet(t, s.Key.PublicKey())
	tests := []struct {
		name           string
		command        remote.Command
		stdout, stderr string
		code           int
	}{
		{"output", remote.Command{Line: "echo out; echo err >&2"}, "out\n", "err\n", 0},
		{"nothing", remote.Command{Line: ":"}, "", "", 0},
		{"stdin", remote.Command{Line: "tr a-z A-Z", Stdin: strings.NewReader("shout")}, "SHOUT", "", 0},
		{"code", remote.Command{Line: "echo sorry >&2; exit 3"}, "", "sorry\n", 3},
		{"signal", remote.Command{Line: "kill -KILL $$"}, "", "", 137},
		{"lines", remote.Command{Line: "cat <<X\na\nb\nX\nfalse ||\necho c"}, "a\nb\nc\n", "", 0},
		{"much", remote.Command{Line: "head -c 3000000 /dev/zero | tr '\\0' x"}, strings.Repeat("x", 3000000), "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := f.Run(t.Context(), "node-1", tt.command)
			if string(r.Stdout) != tt.stdout || string(r.Stderr) != tt.stderr {
				t.Errorf("wrote %.80q and %.80q, want %.80q and %.80q", r.Stdout, r.Stderr, tt.stdout, tt.stderr)
			}
			var exit *remote.ExitError
			switch {
			case tt.code == 0 && err != nil:
				t.Error(err)
			case tt.code != 0 && (!errors.As(err, &exit) || exit.Code != tt.code || exit.Node != "node-1"):
				t.Errorf("error %v, want code %d", err, tt.code)
			}
		})
	}
}

func TestRunUnknownNode(t *testing.T) {
	s := newServer(t)
	_, err := s.fleet(t).Run(t.Context(), "node-9", remote.Command{Line: ":"})
	if want := `unknown node "node-9" (hint: the nodes are in inventory.yaml)`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestHostKeyIsPinned(t *testing.T) {
	s := newServer(t)
	other := sshtest.NewKey(t).PublicKey()
	for name, f := range map[string]*remote.Fleet{"changed": s.fleet(t, other), "unknown": s.fleet(t)} {
		t.Run(name, func(t *testing.T) {
			_, err := f.Run(t.Context(), "node-1", remote.Command{Line: ":"})
			var refused *remote.HostKeyError
			if !errors.As(err, &refused) {
				t.Fatalf("error %v, want a *HostKeyError", err)
			}
			if refused.Changed != (name == "changed") || !strings.HasPrefix(refused.Fingerprint, "SHA256:") {
				t.Errorf("%+v", refused)
			}
			if !strings.Contains(err.Error(), "refusing the host key of node-1 at ::1: it shows SHA256:") || !strings.Contains(err.Error(), "(hint: ") {
				t.Errorf("unclear: %v", err)
			}
		})
	}
}

// A key of another type in known_hosts must not be hidden behind the one that the server shows.
func TestSecondPinnedKey(t *testing.T) {
	s := newServer(t)
	if _, err := s.fleet(t, sshtest.NewKey(t).PublicKey(), s.Key.PublicKey()).Run(t.Context(), "node-1", remote.Command{Line: ":"}); err != nil {
		t.Error(err)
	}
}

// The end of the context kills what runs on the node, children included.
func TestCancelKillsRemoteProcesses(t *testing.T) {
	s := newServer(t)
	f := s.fleet(t, s.Key.PublicKey())
	ctx, cancel := context.WithCancelCause(t.Context())
	out, outWriter := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := f.Run(ctx, "node-1", remote.Command{Line: "sleep 1000 & echo $!; wait", Stdout: outWriter})
		done <- err
	}()
	var child int
	if _, err := fmt.Fscan(out, &child); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(child, 0); err != nil {
		t.Fatalf("the command's child does not run: %v", err)
	}
	stop := errors.New("enough")
	cancel(stop)
	if err := <-done; !errors.Is(err, stop) {
		t.Errorf("error %v, want %v", err, stop)
	}
	for deadline := time.Now().Add(time.Minute); alive(child); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the command's child lives on")
		}
	}
}

// alive is false for a zombie: who reaps orphans is not ours to say.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := bytes.Cut(stat, []byte(") "))
	return len(state) > 0 && state[0] != 'Z'
}

func TestConnectionsAreOpenedAgain(t *testing.T) {
	s := newServer(t)
	f := s.fleet(t, s.Key.PublicKey())
	for range 3 {
		if _, err := f.Run(t.Context(), "node-1", remote.Command{Line: ":"}); err != nil {
			t.Fatal(err)
		}
		f.Drop("node-1")
	}
	// A connection that breaks ends the command on it, and the next finds a new one.
	started, startedWriter := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := f.Run(t.Context(), "node-1", remote.Command{Line: "echo; exec sleep 1000", Stdout: startedWriter})
		done <- err
	}()
	if _, err := started.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.Cut()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "the connection ended") {
		t.Errorf("error %v", err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		_, err := f.Run(t.Context(), "node-1", remote.Command{Line: ":"})
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestPutAndGet(t *testing.T) {
	s := newServer(t)
	f := s.fleet(t, s.Key.PublicKey())
	name := filepath.Join(t.TempDir(), "deep/er/file")
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	if err := f.Put(t.Context(), "node-1", bytes.NewReader(content), name, 0o750); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o750 || info.Size() != int64(len(content)) {
		t.Errorf("mode %v and %d bytes", info.Mode(), info.Size())
	}
	var got bytes.Buffer
	if err := f.Get(t.Context(), "node-1", name, &got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), content) {
		t.Error("read another content than was written")
	}
	// A source that breaks leaves the old file, and nothing else.
	broken := io.MultiReader(strings.NewReader("half"), errReader{})
	if err := f.Put(t.Context(), "node-1", broken, name, 0o640); err == nil {
		t.Error("a broken source was written")
	}
	if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, content) {
		t.Errorf("a broken source changed the file: %v", err)
	}
	if files, _ := os.ReadDir(filepath.Dir(name)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	err = f.Get(t.Context(), "node-1", name+"-none", io.Discard)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "node-1: reading ") {
		t.Errorf("error %v", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("broken source") }

func TestClockOffset(t *testing.T) {
	s := newServer(t)
	f := s.fleet(t, s.Key.PublicKey())
	offset, rtt, err := f.ClockOffset(t.Context(), "node-1")
	if err != nil {
		t.Fatal(err)
	}
	// It is the same clock: the offset is within half of the round trip, and a microsecond of rounding.
	if rtt <= 0 || offset.Abs() > rtt/2+time.Microsecond {
		t.Errorf("offset %v with a round trip of %v", offset, rtt)
	}
}

func TestEach(t *testing.T) {
	s := newServer(t)
	f := s.fleet(t)
	nodes := make([]inventory.Node, 9)
	for i := range nodes {
		nodes[i].Name = fmt.Sprint("node-", i)
	}
	var running, most, calls atomic.Int32
	var full sync.WaitGroup
	full.Add(3)
	err := f.Each(t.Context(), nodes, 3, func(_ context.Context, n inventory.Node) error {
		now := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		if calls.Add(1) <= 3 { // the first three are there together
			full.Done()
			full.Wait()
		}
		if n.Name == "node-4" || n.Name == "node-7" {
			return errors.New("sick")
		}
		return nil
	})
	if want := "node-4: sick\nnode-7: sick"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if calls.Load() != 9 || most.Load() != 3 {
		t.Errorf("%d calls, %d at once, want 9 and 3", calls.Load(), most.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = f.Each(ctx, nodes, 1, func(context.Context, inventory.Node) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// A node that shows another's key is told from a stranger: whose key it is, is said.
func TestAnothersHostKey(t *testing.T) {
	client := sshtest.NewKey(t)
	inv := &inventory.Inventory{Path: "inventory.yaml", SSH: inventory.SSH{User: "root", Port: 22}, Nodes: []inventory.Node{
		{Name: "worker-1", Address: netip.MustParseAddr("fd6e:7369:9:1::11")},
		{Name: "worker-2", Address: netip.MustParseAddr("fd6e:7369:9:1::12")},
	}}
	hosts := map[string]*sshtest.Host{"worker-1": sshtest.NewHost(t, client.PublicKey()), "worker-2": sshtest.NewHost(t, client.PublicKey())}
	f := sshtest.Fleet(t, inv, client, hosts)
	if _, err := f.Run(t.Context(), "worker-1", remote.Command{Line: ":"}); err != nil {
		t.Fatal(err)
	}
	f.Drop("worker-1")
	hosts["worker-1"].Take(hosts["worker-2"].Key) // their cards were swapped
	_, err := f.Run(t.Context(), "worker-1", remote.Command{Line: ":"})
	var refused *remote.HostKeyError
	if !errors.As(err, &refused) || refused.Owner != "worker-2" {
		t.Fatalf("error %v, want a *HostKeyError that names worker-2", err)
	}
	for _, words := range []string{"worker-1 at fd6e:7369:9:1::11: it shows the host key of worker-2 (SHA256:", "(hint: two cards were swapped, or worker-2 has the address of worker-1)"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q is not in %v", words, err)
		}
	}
}
