// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/journal"
)

// lamp is a fault that a file's content shows: on while it holds.
const lamp = `
lamp=$PWD/../../lamp
put() { echo "$1" >"$lamp"; }
prepare() { [ ! -e "$PWD/../../unready" ] || { echo "not ready" >&2; return 1; }; }
strike() { deed put on; }
struck() { grep -q on "$lamp" || { echo "the lamp is $(cat "$lamp")" >&2; return 1; }; }
upheld() { struck; }
mend() { [ ! -e "$PWD/../../stuck" ] || { echo "stuck" >&2; return 1; }; deed put off; }
mended() { grep -q off "$lamp"; }
`

func lampOn(e *Env) *held {
	return &held{env: e, kind: "lamp", aim: func(context.Context, *rand.Rand) (Target, []strike, error) {
		return Target{Node: "here", Name: "the lamp"}, []strike{{node: "here", what: "the lamp", script: lamp}}, nil
	}}
}

func lit(t *testing.T, m *machine) string { return read(t, filepath.Join(m.dir, "lamp")) }

func aimed(t *testing.T, f Fault) Target {
	t.Helper()
	target, err := f.Aim(t.Context(), random())
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestHeld(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	e := m.environment(here())
	e.Hold = 2 * time.Second
	healthy := 0
	e.Healthy = func(context.Context) error { healthy++; return nil }
	f := lampOn(&e)
	ctx := t.Context()
	aimed(t, f)
	if i, err := f.End(ctx, time.Now()); err != nil || i != (Instant{}) {
		t.Errorf("End before Begin: %v, %v", i, err)
	}
	at := time.Now().Add(700 * time.Millisecond)
	began, err := f.Begin(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	if began.Before.Before(at) || began.After.Before(began.Before) || began.Clock != "here" || lit(t, m) != "on" {
		t.Errorf("began %v, want at or after %s; the lamp is %s", began, at, lit(t, m))
	}
	if left, err := Leftovers(ctx, e); err != nil || len(left) == 0 || left[0] != "here: lamp of the lamp" {
		t.Errorf("leftovers %q, %v", left, err)
	}
	ended, err := f.End(ctx, at.Add(e.Hold))
	if err != nil {
		t.Fatal(err)
	}
	if ended.Before.Before(at.Add(e.Hold)) || ended.After.Before(ended.Before) || lit(t, m) != "off" {
		t.Errorf("ended %v, want at or after %s; the lamp is %s", ended, at.Add(e.Hold), lit(t, m))
	}
	if i, err := f.End(ctx, time.Now()); err != nil || i != (Instant{}) {
		t.Errorf("End a second time: %v, %v", i, err)
	}
	if err := f.Recover(ctx); err != nil || healthy != 1 {
		t.Errorf("Recover: %v", err)
	}
	if left, err := os.ReadDir(m.faults("here")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A fault that is ended early is undone at once.
func TestHeldEndsEarly(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	e := m.environment(here())
	e.Hold = time.Hour
	f := lampOn(&e)
	aimed(t, f)
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(200 * time.Millisecond)
	i, err := f.End(t.Context(), at)
	if err != nil || i.Before.Before(at) || lit(t, m) != "off" {
		t.Errorf("ended %v, %v; the lamp is %s", i, err, lit(t, m))
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nobody ends it: not who began it, nor, being killed, what does it on the node.
func TestHeldIsUndoneWhoeverDies(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]bool{"the orchestrator": false, "the unit's process": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			e := m.environment(here())
			e.Hold = time.Second
			if kill {
				e.Hold = time.Hour
			}
			f := lampOn(&e)
			aimed(t, f)
			if _, err := f.Begin(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
			if kill {
				pid, err := strconv.Atoi(read(t, m.dir+"/units/testbed-fault-"+f.name(0)))
				if err != nil {
					t.Fatal(err)
				}
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			line := "until [ -e " + m.faults("here") + "/" + f.name(0) + "/ended ]; do sleep 0.02; done"
			if _, err := m.Shell(t.Context(), "here", line, nil); err != nil || lit(t, m) != "off" {
				t.Errorf("%v; the lamp is %s", err, lit(t, m))
			}
			if err := f.Recover(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHeldTellsWhatGoesWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ spoil, want string }{
		"not ready":     {"unready", "^beginning lamp: the lamp on here: preparing: not ready$"},
		"put out":       {"", "^ending lamp: the lamp on here: it did not last: the lamp is out$"},
		"does not mend": {"stuck", "^ending lamp: the lamp on here: undoing it: stuck$"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			e := m.environment(here())
			e.Hold = time.Hour
			f := lampOn(&e)
			aimed(t, f)
			if test.spoil == "unready" {
				m.write(t, "unready", "")
			}
			_, err := f.Begin(t.Context(), time.Now())
			if err == nil {
				if test.spoil == "stuck" {
					m.write(t, "stuck", "")
				} else {
					m.write(t, "lamp", "out")
				}
				_, err = f.End(t.Context(), time.Now())
			}
			if err == nil || !matches(test.want, err.Error()) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if test.spoil == "stuck" {
				if err := f.Recover(t.Context()); err == nil || !strings.Contains(err.Error(), "stuck") {
					t.Errorf("recovered: %v", err)
				}
				os.Remove(m.dir + "/stuck")
			}
			if err := f.Recover(t.Context()); err != nil {
				t.Error(err)
			}
			if test.spoil != "unready" && lit(t, m) != "off" {
				t.Errorf("the lamp is %s", lit(t, m))
			}
		})
	}
}

// A fault is in the journal from before it begins until it is recovered from.
func TestRecorded(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	e := m.environment(here())
	e.Hold, e.Journal = 500*time.Millisecond, journal.New(m.dir+"/standing")
	var notes, warnings []string
	e.Annotate = func(_ context.Context, kind string, target Target, _ Instant) (func(context.Context, Instant) error, error) {
		notes = append(notes, kind+" of "+target.Name)
		return func(_ context.Context, ended Instant) error {
			if ended.Before.IsZero() {
				t.Error("ended at no instant")
			}
			notes = append(notes, "ended")
			return errors.New("no such dashboard")
		}, nil
	}
	e.Warn = func(err error) { warnings = append(warnings, err.Error()) }
	f := &recorded{Fault: lampOn(&e), env: &e, kind: "lamp"}
	aimed(t, f)
	standing := func() string {
		entries, err := e.Journal.Standing()
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, e := range entries {
			list = append(list, e.What+" "+strings.Join(e.Nodes, ","))
		}
		return strings.Join(list, "; ")
	}
	if got := standing(); got != "" {
		t.Errorf("aimed, and standing %q", got)
	}
	at := time.Now()
	if _, err := f.Begin(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if got := standing(); got != "lamp of the lamp here" {
		t.Errorf("begun, and standing %q", got)
	}
	if _, err := f.End(t.Context(), at.Add(e.Hold)); err != nil {
		t.Fatal(err)
	}
	if got := standing(); got == "" {
		t.Error("ended, and not recovered: nothing stands")
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := standing(); got != "" {
		t.Errorf("recovered, and standing %q", got)
	}
	if got := strings.Join(notes, ", "); got != "lamp of the lamp, ended" || len(warnings) != 1 {
		t.Errorf("annotated %s, warned of %q", got, warnings)
	}
}

// What an orchestrator that was killed left is found and undone, once.
func TestHeal(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	e := m.environment(here())
	e.Hold, e.Journal = time.Hour, journal.New(m.dir+"/standing")
	f := &recorded{Fault: lampOn(&e), env: &e, kind: "lamp"}
	aimed(t, f)
	if _, err := f.Begin(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"here: lamp of the lamp", ""} {
		healed, err := Heal(t.Context(), e)
		if err != nil || strings.Join(healed, "; ") != want || lit(t, m) != "off" {
			t.Errorf("healed %q, %v, want %q; the lamp is %s", healed, err, want, lit(t, m))
		}
	}
	if entries, err := e.Journal.Standing(); err != nil || len(entries) > 0 {
		t.Errorf("standing %v, %v", entries, err)
	}
}

func matches(pattern, s string) bool { return regexp.MustCompile("(?s)" + pattern).MatchString(s) }
