// SPDX-License-Identifier: Apache-2.0

package openloop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timer wakes at an instant to within the kernel's high-resolution timers. Go's own timers wake up
// to a millisecond late in an idle process, because the runtime waits in epoll_wait with whole
// milliseconds; a timerfd is an event of that epoll and costs no thread.
type timer struct {
	fd int
	f  *os.File
}

func newTimer() (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a timer: %w", err)
	}
	return &timer{fd, os.NewFile(uintptr(fd), "timerfd")}, nil
}

// cancel ends the wait under way and every later one.
func (t *timer) cancel() { _ = t.f.SetReadDeadline(time.Unix(1, 0)) }

// until returns at the instant, at once when it is past, or with ctx's error when that ends first;
// ctx must be the one whose end calls cancel.
func (t *timer) until(ctx context.Context, at time.Time) error {
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		left := time.Until(at)
		if left <= 0 {
			return nil
		}
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
		if err := unix.TimerfdSettime(t.fd, 0, &spec, nil); err != nil {
			return fmt.Errorf("setting a timer: %w", err)
		}
		var ticks [8]byte
		if _, err := t.f.Read(ticks[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("waiting for a timer: %w", err)
		}
	}
}

func (t *timer) Close() error { return t.f.Close() }
