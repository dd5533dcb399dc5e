// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func TestArrange(t *testing.T) {
	addrs := func(s ...string) (out []netip.Addr) {
		for _, a := range s {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	answer := addrs("fd00:0:0:3::1", "fd00:0:0:1::1", "fd00:0:0:2::1", "192.0.2.1")
	from := func(p string) func(netip.Addr) netip.Prefix {
		return func(netip.Addr) netip.Prefix { return netip.MustParsePrefix(p) }
	}
	tests := []struct {
		name   string
		order  Order
		source func(netip.Addr) netip.Prefix
		want   []netip.Addr
	}{
		{"first keeps the reply's order", OrderFirst, nil, answer},
		{"own network first, then by shared prefix", OrderRFC6724, from("fd00:0:0:2::9/64"), addrs("fd00:0:0:2::1", "fd00:0:0:3::1", "fd00:0:0:1::1", "192.0.2.1")},
		{"all tie: the reply's order", OrderRFC6724, from("2001:db8::1/64"), answer},
		{"no comparison beyond the on-link prefix", OrderRFC6724, from("fd00:0:0:1::1/48"), answer},
		{"no source at all", OrderRFC6724, func(netip.Addr) netip.Prefix { return netip.Prefix{} }, answer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(answer)
			got := tt.order.Arrange(answer, tt.source, nil)
			if d := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Error(d)
			}
			if !slices.Equal(answer, before) {
				t.Error("the answer was modified")
			}
		})
	}
}
