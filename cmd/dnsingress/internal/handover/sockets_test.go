// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestInherit reads environments that nobody should have made, and those that are of another process. What they say is
// for this process alone, so that none of it is left for the next. cmd/dnsingress tests those that are right.
func TestInherit(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string // of the error
	}{
		{nil, ""},
		{map[string]string{envSockets: "nonsense", envReady: "4"}, "is no socket"},
		{map[string]string{envSockets: "", envReady: "x"}, envReady},
		{map[string]string{"LISTEN_PID": strconv.Itoa(os.Getpid() + 1), "LISTEN_FDS": "2"}, ""},
		{map[string]string{"LISTEN_PID": strconv.Itoa(os.Getpid()), "LISTEN_FDS": "some"}, "LISTEN_FDS"},
	} {
		for name, value := range c.env {
			t.Setenv(name, value)
		}
		s, err := Inherit()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.env, err)
		}
		if err == nil && s.Inherited() {
			t.Errorf("%v: something was inherited", c.env)
		}
		for name := range c.env {
			if _, left := os.LookupEnv(name); left {
				t.Errorf("%s is left", name)
			}
		}
	}
}

// TestTake checks who gets which of the sockets that were left: those for its own purpose, or for none in particular.
func TestTake(t *testing.T) {
	dns, metrics := key{"dns", "tcp", "[::1]:0"}, key{"metrics", "tcp", "[::1]:0"}
	system := key{"", "tcp", "[::]:53"}
	s := &Sockets{heirs: []heir{{dns, os.NewFile(100, "dns")}, {metrics, os.NewFile(101, "metrics")}, {system, os.NewFile(102, "first")}, {system, os.NewFile(103, "second")}}}
	for _, c := range []struct {
		key  key
		want []string
	}{
		{key{"tls", "tcp", "[::1]:0"}, nil},
		{key{"dns", "udp", "[::1]:0"}, nil},
		{metrics, []string{"metrics"}},
		{metrics, nil},
		{dns, []string{"dns"}},
		{key{"dns", "tcp", "[::]:53"}, []string{"first"}},
		{key{"tls", "tcp", "[::]:53"}, []string{"second"}},
	} {
		var got []string
		for _, f := range s.take(c.key, 1) {
			got = append(got, f.Name())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v took %v, want %v", c.key, got, c.want)
		}
	}
}

// TestDuplicate hands over what is open, and not what has been closed.
func TestDuplicate(t *testing.T) {
	s := new(Sockets)
	open, err := s.Listen(context.Background(), "dns", "tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	closed, err := s.Listen(context.Background(), "metrics", "tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	s.Keep("dns", "[::1]:0", udp)
	fds, keys, err := s.duplicate()
	if err != nil || len(fds) != 2 || !slices.Equal(keys, []string{"dns|tcp|[::1]:0", "dns|udp|[::1]:0"}) {
		t.Fatalf("%v, %v, %v", fds, keys, err)
	}
	for i, want := range []net.Addr{open.Addr(), udp.LocalAddr()} {
		k, err := keyOf(fds[i])
		if err != nil || k.address != want.String() || k.network != want.Network() {
			t.Errorf("%v, %v is not %v", k, err, want)
		}
		os.NewFile(uintptr(fds[i]), "").Close()
	}
}
