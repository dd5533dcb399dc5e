// SPDX-License-Identifier: Apache-2.0

package garbage

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		name string
		live uint64
		want int
	}{
		{"nothing yet", 0, 400},
		{"a thousand names", 2 << 20, 400},
		{"half the room", 8 << 20, 200},
		{"as much as the room", 16 << 20, 100},
		{"a million names", 100 << 20, 100},
	} {
		if got := percent(c.live); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func setting() int {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}

// TestSeldom has the heap grow and shrink: collections follow.
func TestSeldom(t *testing.T) {
	if os.Getenv("GOGC") != "" {
		t.Skip("NOT TESTED: GOGC is set, which goes before")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	Seldom()
	await := func(want int) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			runtime.GC()
			if got := setting(); got == want {
				return
			} else if time.Now().After(end) {
				t.Fatalf("GOGC %d, want %d", got, want)
			}
		}
	}
	await(percentMost)
	zone := make([]byte, 2*room)
	await(percentLeast)
	runtime.KeepAlive(zone)
	await(percentMost)
}

func TestEnvironment(t *testing.T) {
	t.Setenv("GOGC", "150")
	defer debug.SetGCPercent(debug.SetGCPercent(150))
	Seldom()
	if got := setting(); got != 150 {
		t.Errorf("GOGC=150 became %d", got)
	}
}
