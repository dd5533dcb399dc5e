// SPDX-License-Identifier: Apache-2.0

package bundle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A build that is given up may remove what it was making, as go does with its work directory.
func TestOutputLetsAProgramTidyUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	file := filepath.Join(t.TempDir(), "half-made")
	ended := make(chan error, 1)
	go func() {
		_, err := output(ctx, "", nil, "sh", "-c", `trap 'rm "$0"; exit 1' INT; : > "$0"; while :; do sleep 0.01; done`, file)
		ended <- err
	}()
	for tick := time.NewTicker(time.Millisecond); ; {
		if _, err := os.Stat(file); err == nil {
			tick.Stop()
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("ended before it began: %v", err)
		case <-tick.C:
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("what it was making is left")
	}
}
