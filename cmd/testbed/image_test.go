// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/imagetest"
)

// rack is an inventory of two boards with the system at disk.
func rack(t *testing.T, disk string) string {
	t.Helper()
	content, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`version: 1
cluster: rack
substrate: pi
network: {nodes: "fd6e:7369:0:1::/64", services: "fd6e:7369:0:f::/112"}
zone: apps.test.
ssh: {identity: key, knownHosts: known_hosts}
image: os
images:
  - {id: os, url: %s, sha256: %x}
nodes:
  # The braces } of comments are no braces.
  - {name: control-1, groups: [control], mac: 00:00:5e:00:53:01, address: "fd6e:7369:0:1::1"}  # } first
  - name: worker-1
    groups: [worker]
    address: "fd6e:7369:0:1::11"
    pods: "fd6e:7369:0:11::/64"
  - {name: client-1, groups: [client],
     address: "fd6e:7369:0:1::21"}
`, disk, sha256.Sum256(content))
}

// TestImageScripts runs testdata/image: scripts that want an operating system's image.
func TestImageScripts(t *testing.T) {
	imagetest.Need(t, "ssh-keygen")
	disk := imagetest.System{CloudInit: true}.Disk(t, t.TempDir())
	text := rack(t, disk)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/image",
		Setup: func(e *testscript.Env) error {
			e.Setenv("DISK", disk)
			e.Setenv("TESTBED_STATE_DIR", filepath.Join(e.WorkDir, "state"))
			e.Setenv("TESTBED_CACHE_DIR", filepath.Join(e.WorkDir, "cache"))
			if err := os.WriteFile(filepath.Join(e.WorkDir, "rack.yaml"), []byte(text), 0o640); err != nil {
				return err
			}
			return exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", filepath.Join(e.WorkDir, "key")).Run()
		},
	})
}

// A flash that is killed leaves an entry in the journal and the mark on the card; the next one says so, and does it again.
func TestFlashKilled(t *testing.T) {
	imagetest.Need(t, "ssh-keygen")
	dir := t.TempDir()
	disk := imagetest.System{CloudInit: true}.Disk(t, dir)
	imagetest.Run(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "key"))
	card := filepath.Join(dir, "card")
	for path, content := range map[string][]byte{filepath.Join(dir, "rack.yaml"): []byte(rack(t, disk)), card: make([]byte, 128<<20)} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	flash := func() *exec.Cmd {
		cmd := exec.Command("testbed", "flash", "-i", filepath.Join(dir, "rack.yaml"), "--node", "worker-1", "--device", card)
		cmd.Env = append(os.Environ(), "TESTBED_STATE_DIR="+filepath.Join(dir, "state"), "TESTBED_CACHE_DIR="+filepath.Join(dir, "cache"))
		return cmd
	}
	// The process waits as soon as it says what it does: there is no room in the pipe.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	room, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, room)); err != nil {
		t.Fatal(err)
	}
	writer := flash()
	writer.Stdout = w
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ended := make(chan error, 1)
	go func() { ended <- writer.Wait() }()
	for marked := false; !marked; {
		select {
		case err := <-ended:
			t.Fatalf("the writer ended by itself: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		head := make([]byte, 64)
		f, err := os.Open(card)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(head, 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
		marked = bytes.HasPrefix(head, []byte("testbed: this card is being written"))
	}
	if err := writer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended

	standing := filepath.Join(dir, "state/rack/standing")
	entries := func() []fs.DirEntry {
		list, err := os.ReadDir(standing)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if n := len(entries()); n != 1 {
		t.Errorf("%d entries stand", n)
	}
	out, err := flash().CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{
		"worker-1: the write of its card that began at ", " did not end: it is written again\n",
		"worker-1 " + card + ": the card had a write of image ", " for worker-1 that ended in the middle, begun at ",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s\nwant …%s…", out, want)
		}
	}
	if n := len(entries()); n != 0 {
		t.Errorf("written again, %d entries stand", n)
	}
}
