// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// Each of n addresses must come first 1/n of the time: chi-square with 3 degrees of freedom,
// 16.27 is exceeded with probability 0.001; the seed is fixed, so the test is deterministic.
func TestArrangeRandomIsUniform(t *testing.T) {
	var answer []netip.Addr
	for _, s := range []string{"fd00::1", "fd00::2", "fd00::3", "fd00::4"} {
		answer = append(answer, netip.MustParseAddr(s))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 10000
	first := map[netip.Addr]int{}
	for range n {
		first[OrderRandom.Arrange(answer, nil, rng)[0]]++
	}
	chi := 0.0
	for _, a := range answer {
		d := float64(first[a]) - n/4
		chi += d * d / (n / 4)
	}
	if chi > 16.27 {
		t.Errorf("chi-square %.2f over %v", chi, first)
	}
}
