// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
)

//go:embed node/*.sh
var scripts embed.FS

// script returns what nodes run for a fault, of several parts.
func script(parts ...string) string {
	var b strings.Builder
	for _, name := range parts {
		text, err := scripts.ReadFile("node/" + name + ".sh")
		if err != nil {
			panic(err) // a name in this package
		}
		b.Write(text)
	}
	return b.String()
}

// strike is what one node does to itself.
type strike struct {
	node      string
	what      string            // of what, for people
	vars      map[string]string // the script's
	script    string
	after     time.Duration // later than the fault's instant
	momentary bool          // nothing is held, nothing is undone
}

// held is a fault that nodes do to themselves.
type held struct {
	env  *Env
	kind string
	// aim chooses what is to be done where.
	aim func(ctx context.Context, rng *mathrand.Rand) (Target, []strike, error)
	// blind says that the struck nodes cannot be asked while it lasts.
	blind bool
	// seen looks from elsewhere whether it took effect; nil: the nodes themselves see it.
	seen func(ctx context.Context) error
	// released is done as soon as it is over; nil: nothing.
	released func(ctx context.Context) error
	// recovered returns when all is as before, and is asked before Env.Healthy; nil: nothing else is to be waited for.
	recovered func(ctx context.Context) error

	strikes     []strike
	id          string // of the units and directories on the nodes
	until       time.Time
	begun, over bool
}

func (f *held) Aim(ctx context.Context, rng *mathrand.Rand) (Target, error) {
	t, strikes, err := f.aim(ctx, rng)
	if err != nil {
		return Target{}, fmt.Errorf("aiming %s: %w", f.kind, err)
	}
	f.strikes = strikes
	token := make([]byte, 4)
	rand.Read(token) // never fails
	f.id = f.kind + "-" + hex.EncodeToString(token)
	return t, nil
}

// name of the i-th strike's unit and directory: several may be on one node.
func (f *held) name(i int) string { return f.id + "-" + strconv.Itoa(i) }

func (f *held) numbers() []int { return indices(len(f.strikes)) }

// indices are the numbers below n.
func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

const (
	// reporting bounds what a node may take to see its fault, or to tell of it.
	reporting = 30 * time.Second
	// mending bounds what it may take to undo it.
	mending = 75 * time.Second
)

func (f *held) Begin(ctx context.Context, at time.Time) (Instant, error) {
	f.begun, f.until = true, at.Add(f.env.hold())
	if _, err := together(f.numbers(), func(i int) (Instant, error) { return Instant{}, f.start(ctx, i, at) }); err != nil {
		return Instant{}, fmt.Errorf("beginning %s: %w", f.kind, err)
	}
	var blind error
	if f.blind {
		if blind = sleepUntil(ctx, at.Add(time.Second)); blind == nil && f.seen != nil {
			blind = f.seen(ctx)
		}
		if err := sleepUntil(ctx, f.until); err != nil {
			return Instant{}, err
		}
	}
	i, err := together(f.numbers(), func(i int) (Instant, error) { return f.told(ctx, i, "began", at) })
	if err == nil && !f.blind && f.seen != nil {
		err = f.seen(ctx)
	}
	if err = errors.Join(blind, err); err != nil {
		return i, fmt.Errorf("beginning %s: %w", f.kind, err)
	}
	return i, nil
}

// start puts a strike on its node, whose systemd runs it from then on.
func (f *held) start(ctx context.Context, i int, at time.Time) error {
	s, name := f.strikes[i], f.name(i)
	at = at.Add(s.after)
	var b strings.Builder
	b.WriteString(script("hold"))
	fmt.Fprintf(&b, "at=%d until=%d\n", at.UnixNano(), f.until.UnixNano())
	for _, key := range slices.Sorted(maps.Keys(s.vars)) {
		fmt.Fprintf(&b, "%s=%s\n", key, kubectl.Quote(s.vars[key]))
	}
	b.WriteString(s.script)
	b.WriteString("main \"$@\"\n")
	// A unit that outlives its fault by so much hangs: systemd ends it, and mends.
	bound := max(time.Until(f.until), 0) + reporting + mending
	line := fmt.Sprintf(`d=%[1]s/%[2]s; mkdir -p "$d" && cat >"$d/fault.sh" && echo %[3]s >"$d/about" &&
systemd-run --quiet --collect --unit=testbed-fault-%[2]s --setenv=HOME=/root -p KillMode=mixed -p TimeoutStopSec=%[4]d -p RuntimeMaxSec=%[5]d \
	-p OOMScoreAdjust=-900 -p "ExecStopPost=/bin/bash $d/fault.sh mend" /bin/bash "$d/fault.sh" hold`,
		f.env.dir(), name, kubectl.Quote(f.kind+" of "+s.what), int(mending.Seconds()), int(bound.Seconds()))
	if _, err := f.env.Shell.Shell(ctx, s.node, line, strings.NewReader(b.String())); err != nil {
		return fmt.Errorf("%s: %w", s.what, err)
	}
	return nil
}

// told waits for a node's report of an edge of the fault, which is due at an instant.
func (f *held) told(ctx context.Context, i int, edge string, due time.Time) (Instant, error) {
	s := f.strikes[i]
	patience := reporting
	if edge == "ended" {
		patience = mending
	}
	patience += max(time.Until(due), 0)
	line := fmt.Sprintf(`cd %s/%s && for i in $(seq %d); do
[ ! -s error ] || { echo error; cat error; exit; }
[ ! -s %[4]s ] || { cat %[4]s; exit; }
sleep 0.05; done; echo error; echo "nothing was heard of it"`, f.env.dir(), f.name(i), int(patience.Seconds()*20), edge)
	ctx, cancel := context.WithTimeoutCause(ctx, 3*patience, fmt.Errorf("nothing was heard of %s of %s", f.kind, s.what))
	defer cancel()
	for {
		out, err := f.ask(ctx, s.node, line)
		if text, failed := strings.CutPrefix(string(out), "error\n"); err == nil && failed {
			return Instant{}, fmt.Errorf("%s on %s: %s", s.what, s.node, strings.TrimSpace(text))
		}
		if err == nil {
			return parseInstant(out, s.node)
		}
		// A node that comes back may be reached a moment later.
		if !f.blind || ctx.Err() != nil {
			return Instant{}, fmt.Errorf("%s: %w", s.what, err)
		}
		if err := sleepUntil(ctx, time.Now().Add(200*time.Millisecond)); err != nil {
			return Instant{}, err
		}
	}
}

// askTimeout bounds one attempt to reach a node that may not be back yet.
const askTimeout = 5 * time.Second

func (f *held) ask(ctx context.Context, node, line string) ([]byte, error) {
	if f.blind {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
		defer cancel()
	}
	return f.env.Shell.Shell(ctx, node, line, nil)
}

func (f *held) End(ctx context.Context, at time.Time) (Instant, error) {
	if !f.begun || f.over {
		return Instant{}, nil
	}
	lasting := slices.DeleteFunc(f.numbers(), func(i int) bool { return f.strikes[i].momentary })
	early := at.Before(f.until)
	if len(lasting) == 0 || early {
		if err := sleepUntil(ctx, at); err != nil {
			return Instant{}, err
		}
	}
	var (
		i   Instant
		err error
	)
	if len(lasting) == 0 { // the instant is the one that it was asked for
		now := time.Now()
		i = Instant{Before: now, After: now}
	} else {
		i, err = together(lasting, func(i int) (Instant, error) {
			if early {
				if _, err := f.ask(ctx, f.strikes[i].node, "systemctl stop testbed-fault-"+f.name(i)+" 2>/dev/null; :"); err != nil && !f.blind {
					return Instant{}, err
				}
			}
			return f.told(ctx, i, "ended", f.until)
		})
	}
	if err == nil && f.released != nil {
		err = f.released(ctx)
	}
	if err != nil {
		return i, fmt.Errorf("ending %s: %w", f.kind, err)
	}
	f.over = true
	return i, nil
}

func (f *held) Recover(ctx context.Context) error {
	if !f.begun {
		return nil
	}
	if _, err := together(f.numbers(), func(i int) (Instant, error) {
		_, _, err := mend(ctx, f.env, f.strikes[i].node, f.name(i))
		return Instant{}, err
	}); err != nil {
		return fmt.Errorf("undoing %s: %w", f.kind, err)
	}
	if !f.over && f.released != nil {
		if err := f.released(ctx); err != nil {
			return fmt.Errorf("undoing %s: %w", f.kind, err)
		}
	}
	f.over = true
	if f.recovered != nil {
		if err := f.recovered(ctx); err != nil {
			return fmt.Errorf("waiting for the end of %s: %w", f.kind, err)
		}
	}
	return f.env.healthy(ctx)
}

// parseInstant reads "before after" in nanoseconds since the epoch.
func parseInstant(out []byte, clock string) (Instant, error) {
	var before, after int64
	if n, err := fmt.Sscan(string(out), &before, &after); n != 2 || err != nil {
		return Instant{}, fmt.Errorf("reading the instant of the fault: got %q", out)
	}
	return Instant{time.Unix(0, before), time.Unix(0, after), clock}, nil
}
