// SPDX-License-Identifier: Apache-2.0

package openloop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timer wakes at an instant to within the kernel's high-resolution timers. Go's own timers wake up
// to a millisecond late in an idle process, because the runtime waits in epoll_wait with whole
// milliseconds; a timerfd is an event of that epoll and costs no thread.
type timer struct {
	f   *os.File
	raw syscall.RawConn
}

func newTimer() (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a timer: %w", err)
	}
	f := os.NewFile(uintptr(fd), "timerfd")
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("making a timer: %w", err)
	}
	return &timer{f, raw}, nil
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
		if err := t.wait(left); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("waiting for a timer: %w", err)
		}
	}
}

// wait returns after d or, now and then, earlier. The timer is set inside of the poller's Read,
// after that has begun to listen, so no expiry is missed; the expiry itself need not be read,
// because setting the timer clears it: two system calls a wait.
func (t *timer) wait(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	set := false
	var failed error
	err := t.raw.Read(func(fd uintptr) (done bool) {
		if set {
			return true
		}
		set = true
		failed = unix.TimerfdSettime(int(fd), 0, &spec, nil)
		return failed != nil
	})
	return errors.Join(failed, err)
}

func (t *timer) Close() error { return t.f.Close() }
