// SPDX-License-Identifier: Apache-2.0

package steer

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestNoFusedProducts: on arm64 a product that is added to something is not rounded in between, unless a conversion says
// so, and replicas of different architectures would decide differently. Compiling the standard library for it may take a
// minute, therefore STEER_ARM64=1 asks for it.
func TestNoFusedProducts(t *testing.T) {
	if os.Getenv("STEER_ARM64") == "" {
		t.Skip("compiles for arm64 (hint: STEER_ARM64=1)")
	}
	build := exec.Command("go", "build", "-gcflags=-S", ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	code, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, code)
	}
	if fused := regexp.MustCompile(`.*\tFN?M(ADD|SUB)[DS]\t.*`).FindAll(code, -1); fused != nil || len(code) < 1_000_000 {
		t.Errorf("of %d bytes of assembly: %s (hint: float64(x*y) + z)", len(code), fused)
	}
}
