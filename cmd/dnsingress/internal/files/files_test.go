// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// A file that is put in place anew again and again, faster than it settles, is read all the same, and whole.
func TestReplacedWithoutPause(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	replace := func(n int) {
		tmp := filepath.Join(dir, ".file"+strconv.Itoa(n))
		if err := os.WriteFile(tmp, []byte(strconv.Itoa(n)), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(tmp, path); err != nil {
			t.Error(err)
		}
	}
	replace(0)
	read := make(chan string, 1)
	look := func() Seen {
		seen := Seen{}
		seen.Note(path)
		seen.Note(dir)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		select {
		case read <- string(b):
		default:
		}
		return seen
	}
	seen := look()
	<-read
	ctx, end := context.WithCancel(t.Context())
	followed := make(chan error)
	f := Follower{What: "the file", Path: path, Read: look, Log: slog.New(slog.DiscardHandler)}
	go func() { followed <- f.Run(ctx, seen, nil) }()
	tick := time.NewTicker(Settle / 10)
	defer tick.Stop()
	reads := 0
	for n := 1; reads < 3; n++ {
		if n > 6000 {
			t.Fatalf("it was put in place %d times and read %d times", n, reads)
		}
		<-tick.C
		replace(n)
		select {
		case s := <-read:
			if got, err := strconv.Atoi(s); err != nil || got > n || got == 0 {
				t.Fatalf("read %q", s)
			}
			reads++
		default:
		}
	}
	end()
	if err := <-followed; err != nil {
		t.Error(err)
	}
}

// A file that grows is left alone while it does, whatever happens around it.
func TestGrewFrom(t *testing.T) {
	at := time.Unix(1, 0)
	one := version{id: [2]uint64{1, 1}, size: 1, changed: at}
	grown, other := one, one
	grown.size = 2
	other.id = [2]uint64{1, 2}
	folder := version{id: [2]uint64{1, 3}, directory: true, changed: at}
	busy := folder
	busy.changed = at.Add(1)
	for _, test := range []struct {
		name        string
		before, now Seen
		want        bool
	}{
		{"nothing", Seen{"a": one}, Seen{"a": one}, false},
		{"grown", Seen{"a": one, "b": one}, Seen{"a": other, "b": grown}, true},
		{"another", Seen{"a": one}, Seen{"a": other}, false},
		{"its directory", Seen{"a": one, "d": folder}, Seen{"a": other, "d": busy}, false},
		{"gone", Seen{"a": one}, Seen{"a": {}}, false},
	} {
		if got := test.now.grewFrom(test.before); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestDirectoryOfOneTick: a file that takes its name in the tick of the clock in which its directory was read is news.
func TestDirectoryOfOneTick(t *testing.T) {
	dir := t.TempDir()
	tick := time.Now().Truncate(time.Second)
	date := func() {
		t.Helper()
		if err := os.Chtimes(dir, tick, tick); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a.new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	date()
	seen := Seen{}
	seen.Note(dir)
	if !maps.Equal(seen, seen.now()) {
		t.Error("nothing has changed, and it is news")
	}
	if err := os.Rename(filepath.Join(dir, "a.new"), filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	date()
	if maps.Equal(seen, seen.now()) {
		t.Error("another name is no news")
	}
}
