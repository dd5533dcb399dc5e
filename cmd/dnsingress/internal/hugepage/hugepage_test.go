// SPDX-License-Identifier: Apache-2.0

package hugepage

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestCollapse fills a heap and sees that it is as it was, on huge pages.
func TestCollapse(t *testing.T) {
	heap := make([][]byte, 64)
	for i := range heap {
		heap[i] = make([]byte, 1<<20)
		for k := range heap[i] {
			heap[i][k] = byte(i)
		}
	}
	mode, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil || strings.Contains(string(mode), "[never]") {
		t.Skipf("NOT TESTED: the system gives no huge pages: %s %v", mode, err)
	}
	n, err := Collapse()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skipf("NOT TESTED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		t.Error("nothing is on huge pages")
	}
	t.Logf("%d MiB on huge pages", n>>20)
	for i := range heap {
		for k, b := range heap[i] {
			if b != byte(i) {
				t.Fatalf("octet %d of block %d is %d", k, i, b)
			}
		}
	}
	runtime.KeepAlive(heap)
}
