// SPDX-License-Identifier: Apache-2.0

package dnsclient

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
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
		{"no source at all: by precedence", OrderRFC6724, func(netip.Addr) netip.Prefix { return netip.Prefix{} }, addrs("192.0.2.1", "fd00:0:0:3::1", "fd00:0:0:1::1", "fd00:0:0:2::1")},
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

// The examples of RFC 6724 §10.2, and what pods and clusters meet: sources by family, as a machine has them.
func TestArrangeRFC6724(t *testing.T) {
	tests := []struct {
		name    string
		sources string // of the machine; the first of a destination's family and scope is used towards it, else of its family
		answer  string
		want    string
	}{
		{"prefer matching scope", "2001:db8::2/64 fe80::1/64 169.254.13.78/32", "2001:db8::1 198.51.100.121", "2001:db8::1 198.51.100.121"},
		{"prefer matching scope, IPv4", "fe80::1/64 198.51.100.117/32", "2001:db8::1 198.51.100.121", "198.51.100.121 2001:db8::1"},
		{"prefer higher precedence", "2001:db8::2/64 10.1.2.4/32", "2001:db8::1 10.1.2.3", "2001:db8::1 10.1.2.3"},
		{"prefer smaller scope", "2001:db8::2/64 fe80::2/64", "2001:db8::1 fe80::1", "fe80::1 2001:db8::1"},
		{"prefer matching label", "2002:c633:6401::2/64", "2001:db8::1 2002:c633:6401::1", "2002:c633:6401::1 2001:db8::1"},
		{"IPv4 before a ULA, by precedence: the labels match in both", "fd00::9/64 10.0.0.9/32", "fd00::1 10.0.0.1", "10.0.0.1 fd00::1"},
		{"global IPv6 with no source loses to what can be used", "fd00::9/64 10.0.0.9/32", "2001:db8::1 10.0.0.1", "10.0.0.1 2001:db8::1"},
		{"avoid what has no source", "10.0.0.9/32", "2001:db8::1 10.0.0.1", "10.0.0.1 2001:db8::1"},
		{"loopback first", "::1/128 127.0.0.1/32", "127.0.0.1 ::1", "::1 127.0.0.1"},
		{"the reply's order where all is alike", "10.0.0.9/32", "192.0.2.9 192.0.2.8", "192.0.2.9 192.0.2.8"},
		{"IPv4 by the longest prefix", "10.0.0.9/32", "192.0.2.9 10.0.0.8", "10.0.0.8 192.0.2.9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := func(to netip.Addr) (use netip.Prefix) {
				for _, s := range strings.Fields(tt.sources) {
					p := netip.MustParsePrefix(s)
					switch {
					case p.Addr().Is4() != to.Is4():
					case scope(p.Addr()) == scope(to):
						return p
					case !use.IsValid():
						use = p
					}
				}
				return use
			}
			var answer []netip.Addr
			for _, s := range strings.Fields(tt.answer) {
				answer = append(answer, netip.MustParseAddr(s))
			}
			var got []string
			for _, a := range OrderRFC6724.Arrange(answer, source, nil) {
				got = append(got, a.String())
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestArrangeHappyEyeballs(t *testing.T) {
	var answer []netip.Addr
	for _, s := range []string{"192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.2"} {
		answer = append(answer, netip.MustParseAddr(s))
	}
	source := func(to netip.Addr) netip.Prefix {
		if to.Is4() {
			return netip.MustParsePrefix("192.0.2.9/32")
		}
		return netip.MustParsePrefix("2001:db8::9/64")
	}
	got := fmt.Sprint(OrderHappyEyeballs.Arrange(answer, source, nil))
	if want := "[2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 2001:db8::3]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
