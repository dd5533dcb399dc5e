// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// patience is how long a test waits for what must come. It is no measure of speed.
const patience = 30 * time.Second

func write(t *testing.T, path string, serial int, more string) {
	t.Helper()
	text := fmt.Sprintf("example.org. 300 IN SOA a. b. %d 2 3 4 5\nexample.org. 300 IN NS a.\n%s", serial, more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// follow runs a follower of a file that was read as files, and returns the serials that it publishes.
func follow(t *testing.T, path string, seen files.Seen) <-chan uint32 {
	t.Helper()
	serials := make(chan uint32, 100)
	load := func(path string) (*zone.Zone, files.Seen, error) { return Load(path, "") }
	f := &Follower{Path: path, Load: load, Log: slog.New(slog.DiscardHandler), Publish: func(z *zone.Zone) { serials <- z.Serial() }}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, seen, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return serials
}

func next(t *testing.T, serials <-chan uint32, want uint32) {
	t.Helper()
	select {
	case got := <-serials:
		if got != want {
			t.Errorf("published serial %d, want %d", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("serial %d was never published", want)
	}
}

// TestChangeBeforeTheWatch changes the file after it was read and before it is followed: no event tells of it.
func TestChangeBeforeTheWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	write(t, path, 1, "")
	_, seen, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, 22, "")
	next(t, follow(t, path, seen), 22)
}

// TestBusyDirectory changes the file in a directory where something else is written all the time.
func TestBusyDirectory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zone")
	write(t, path, 1, "")
	_, seen, err := Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	serials := follow(t, path, seen)
	busy, ended := make(chan struct{}), make(chan struct{})
	defer func() { close(busy); <-ended }()
	go func() {
		defer close(ended)
		tick := time.NewTicker(files.Settle / 10)
		defer tick.Stop()
		for {
			select {
			case <-busy:
				return
			case <-tick.C:
				if err := os.WriteFile(filepath.Join(dir, "log"), nil, 0o600); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	write(t, path, 22, "")
	next(t, serials, 22)
}

// TestMissingInclude writes the file that was missing, in a directory that holds nothing else of the zone.
func TestMissingInclude(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	path, inner := filepath.Join(dir, "zone"), filepath.Join(other, "hosts")
	write(t, path, 1, "$INCLUDE "+inner+"\n")
	_, seen, err := Load(path, "")
	if err == nil {
		t.Fatal("read without what it includes")
	}
	serials := follow(t, path, seen)
	if err := os.WriteFile(inner, []byte("a.example.org. 300 A 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next(t, serials, 1)
}
