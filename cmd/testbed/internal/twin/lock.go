// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lock waits for a lock of an open file or directory; the kernel gives it back when the file is
// closed or the process ends, however it ends. flock(2) itself cannot be interrupted by a context.
func lock(ctx context.Context, f *os.File, how int) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
