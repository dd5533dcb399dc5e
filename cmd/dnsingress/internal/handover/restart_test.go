// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReadyTellsTheManagerFirst has nobody read that the process is ready: the service manager, who would end the
// service with the process before, knows already whom it is to follow.
func TestReadyTellsTheManagerFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	before, ready, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	size, err := unix.FcntlInt(ready.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ready.Write(make([]byte, size)); err != nil { // and no more fits
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&Sockets{ready: ready}).Ready()
	}()
	_ = manager.SetReadDeadline(time.Now().Add(30 * time.Second))
	buf := make([]byte, 256)
	n, err := manager.Read(buf)
	if want := fmt.Sprintf("READY=1\nMAINPID=%d", os.Getpid()); err != nil || string(buf[:n]) != want {
		t.Errorf("told %q, %v, want %q", buf[:n], err, want)
	}
	if got, err := io.Copy(io.Discard, before); err != nil || int(got) != size+1 {
		t.Errorf("the process before read %d octets, %v", got, err)
	}
	<-done
}

// TestFollowEnds does not restart for a signal that comes with the end, nor for one that comes after it.
func TestFollowEnds(t *testing.T) {
	s, err := Inherit()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for range 100 { // which of the two is seen first is up to chance
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR2); err != nil { // which would end the process by itself
			t.Fatal(err)
		}
		if err := s.Follow(ctx, time.Minute, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
}
