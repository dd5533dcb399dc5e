// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sockets are the sockets that outlive the process. A nil one opens sockets that do not.
type Sockets struct {
	mu        sync.Mutex
	heirs     []heir   // got from the process before, not asked for yet
	inherited bool     // whether there ever were any
	kept      []socket // in use
	ready     *os.File // tells the process before that it has been replaced; nil: there was none
	signals   chan os.Signal
}

// key says what a socket is for: "dns", "metrics". The address is as it was asked for, so that port 0 stays the same
// port. What a service manager left is for nothing in particular.
type key struct{ purpose, network, address string }

func (k key) String() string { return k.purpose + "|" + k.network + "|" + k.address }

func (k key) fits(o key) bool {
	return k.network == o.network && k.address == o.address && (k.purpose == o.purpose || k.purpose == "")
}

type heir struct {
	key
	file *os.File
}

type socket struct {
	key
	conn syscall.Conn
}

// The environment of a new process: the keys of its sockets, which follow the first descriptors in that order, and
// the descriptor that says that it is ready.
const (
	envSockets = "DNSINGRESS_SOCKETS"
	envReady   = "DNSINGRESS_READY"
	firstFD    = 3
)

// Inherit takes over what the process before or a service manager left, as the environment tells. From here to its end
// SIGUSR2 does not end the process.
func Inherit() (*Sockets, error) {
	s := &Sockets{signals: make(chan os.Signal, 1)}
	signal.Notify(s.signals, syscall.SIGUSR2)
	defer func() {
		for _, name := range []string{envSockets, envReady, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
			os.Unsetenv(name) // they are about this process alone
		}
	}()
	if list, ok := os.LookupEnv(envSockets); ok {
		for i, entry := range strings.Fields(list) {
			k := strings.Split(entry, "|")
			if len(k) != 3 {
				return nil, fmt.Errorf("taking over sockets: %q in %s is no socket", entry, envSockets)
			}
			s.heirs = append(s.heirs, heir{key{k[0], k[1], k[2]}, inherited(firstFD+i, entry)})
		}
		fd, err := strconv.Atoi(os.Getenv(envReady))
		if err != nil {
			return nil, fmt.Errorf("taking over sockets: reading %s: %w", envReady, err)
		}
		s.ready, s.inherited = inherited(fd, "ready"), true
		return s, nil
	}
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return s, nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil {
		return nil, fmt.Errorf("taking over sockets: reading LISTEN_FDS: %w", err)
	}
	for fd := firstFD; fd < firstFD+n; fd++ {
		k, err := keyOf(fd)
		if err != nil {
			return nil, fmt.Errorf("taking over socket %d: %w", fd, err)
		}
		s.heirs, s.inherited = append(s.heirs, heir{k, inherited(fd, k.address)}), true
	}
	return s, nil
}

func inherited(fd int, name string) *os.File {
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}

// keyOf tells what a socket of a service manager is bound to.
func keyOf(fd int) (key, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return key{}, fmt.Errorf("asking for its type: %w", err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return key{}, fmt.Errorf("asking for its address: %w", err)
	}
	var at netip.AddrPort
	switch a := bound.(type) {
	case *unix.SockaddrInet4:
		at = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		at = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	default:
		return key{}, errors.New("it is neither IPv4 nor IPv6")
	}
	if kind == unix.SOCK_DGRAM {
		return key{"", "udp", at.String()}, nil
	}
	return key{"", "tcp", at.String()}, nil
}

// Inherited tells whether there are sockets that another process left: queries may be waiting in them.
func (s *Sockets) Inherited() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inherited
}

// take returns the sockets that were left for something, at most so many.
func (s *Sockets) take(k key, most int) []*os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	var files []*os.File
	s.heirs = slices.DeleteFunc(s.heirs, func(h heir) bool {
		if len(files) == most || !h.fits(k) {
			return false
		}
		files = append(files, h.file)
		return true
	})
	return files
}

func (s *Sockets) keep(k key, conn syscall.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, socket{k, conn})
}

// Listen gives the listener that was left for a purpose and an address, or a new one; network is tcp, tcp4 or tcp6.
func (s *Sockets) Listen(ctx context.Context, purpose, network, address string) (*net.TCPListener, error) {
	if s == nil {
		return listen(ctx, network, address)
	}
	k := key{purpose, "tcp", address}
	if left := s.take(k, 1); len(left) > 0 {
		l, err := net.FileListener(left[0])
		left[0].Close()
		if err != nil {
			return nil, fmt.Errorf("taking over TCP %s: %w", address, err)
		}
		tcp := l.(*net.TCPListener)
		s.keep(k, tcp)
		return tcp, nil
	}
	l, err := listen(ctx, network, address)
	if err == nil {
		s.keep(k, l)
	}
	return l, err
}

func listen(ctx context.Context, network, address string) (*net.TCPListener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// Packets gives the UDP sockets that were left for a purpose and an address, all of which must be read, for what came to one
// waits there. Keep has to be told of those that are opened in addition.
func (s *Sockets) Packets(purpose, address string) ([]*net.UDPConn, error) {
	if s == nil {
		return nil, nil
	}
	k := key{purpose, "udp", address}
	var conns []*net.UDPConn
	for _, f := range s.take(k, math.MaxInt) {
		c, err := net.FilePacketConn(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("taking over UDP %s: %w", address, err)
		}
		udp := c.(*net.UDPConn)
		s.keep(k, udp)
		conns = append(conns, udp)
	}
	return conns, nil
}

// Keep has a UDP socket for an address outlive the process.
func (s *Sockets) Keep(purpose, address string, conn *net.UDPConn) {
	if s != nil {
		s.keep(key{purpose, "udp", address}, conn)
	}
}
