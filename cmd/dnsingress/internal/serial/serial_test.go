// SPDX-License-Identifier: Apache-2.0

package serial

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestForward restarts at random, by orderly ends and by crashes alike, with a clock that may jump: serials go
// forward all the same, also around 2^32.
func TestForward(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	var last uint32
	for round := range 60 {
		now := time.Unix(1<<32-50_000+rng.Int64N(1000), 0) // the mark passes zero
		c, err := Open(dir, "example.org.", now, false)
		if err != nil {
			t.Fatal(err)
		}
		serial := c.Start()
		if round > 0 && int32(serial-last) <= 0 {
			t.Fatalf("round %d begins with %d, after %d", round, serial, last)
		}
		for range rng.IntN(3 * ahead) {
			serial++
			if err := c.Use(serial); err != nil {
				t.Fatal(err)
			}
		}
		last = serial
	}
}

func TestWithoutDirectory(t *testing.T) {
	c, err := Open("", "example.org.", time.Unix(1_700_000_000, 0), false)
	if err != nil || c.Start() != 1_700_000_000 {
		t.Fatal(c, err)
	}
	if err := c.Use(c.Start() + 1_000_000); err != nil {
		t.Error(err)
	}
}

func TestBadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "example.org.serial")
	for _, text := range []string{"", "seven", "4294967296", "-1"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, "example.org.", time.Now(), false); err == nil || !strings.Contains(err.Error(), "example.org.serial:1:1: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestFullDisk keeps going where the mark cannot be moved, and says so.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	c, err := Open(dir, "example.org.", time.Now(), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := c.Use(c.Start() + ahead - 1); err != nil {
		t.Error(err)
	}
	if err := c.Use(c.Start() + ahead); err == nil {
		t.Error("no error where nothing can be kept")
	}
}

// TestBeside has a process and the one that takes its place give serials at once, and then the next start.
func TestBeside(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_700_000_000, 0)
	open := func(beside bool) *Counter {
		t.Helper()
		c, err := Open(dir, "example.org.", now, beside)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := open(false)
	heir := open(true)
	used := old.Start() + 500_000 // meanwhile
	for s := old.Start(); s != used; s++ {
		if err := old.Use(s); err != nil {
			t.Fatal(err)
		}
	}
	if first := heir.Start(); int32(first-used) <= 0 {
		t.Errorf("the new process begins with %d while the old one is at %d", first, used)
	}
	last := heir.Start() + 10
	if err := heir.Use(last); err != nil {
		t.Fatal(err)
	}
	if err := old.Use(used + ahead); err != nil { // the old one moves its mark last
		t.Fatal(err)
	}
	if next := open(false).Start(); int32(next-last) <= 0 {
		t.Errorf("the next start begins with %d, after %d", next, last)
	}
}
