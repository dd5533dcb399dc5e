// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A thread that has entered a namespace must end. The main thread would not, and the whole process would
// seem to be inside.
func TestOnThreadSparesTheMainThread(t *testing.T) {
	threads := make(chan int)
	const n = 200
	for range n {
		onThread(func() {
			runtime.Gosched()
			threads <- unix.Gettid()
		})
	}
	for range n {
		if <-threads == unix.Getpid() {
			t.Error("ran on the main thread")
		}
	}
}
