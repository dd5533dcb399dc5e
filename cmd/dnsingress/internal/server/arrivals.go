// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// arrivals tells whether queries wait in sockets for somebody to take them. It is safe for concurrent use.
type arrivals struct {
	mu      sync.Mutex
	sockets []unix.PollFd // read alone: one that is closed meanwhile, or another's by now, costs who asks a microsecond
}

// watch has it tell of these sockets alone.
func (a *arrivals) watch(conns []*net.UDPConn) error {
	var sockets []unix.PollFd
	for _, c := range conns {
		raw, err := c.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { sockets = append(sockets, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}) })
		}
		if err != nil {
			return fmt.Errorf("watching UDP %s: %w", c.LocalAddr(), err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sockets = sockets
	return nil
}

func (a *arrivals) waiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.sockets) == 0 {
		return false
	}
	n, err := unix.Poll(a.sockets, 0)
	return err == nil && n > 0
}

const (
	// aside is how long GiveWay steps aside at first: longer than a goroutine takes to park, so that the scheduler looks at
	// the network before it takes it up again. Where a thread looks there already, and is still to wake up, more helps.
	aside = 10 * time.Microsecond
	// asideMost is how long it does so while queries do not end.
	asideMost = time.Millisecond
)

// GiveWay has queries answered first that have arrived over UDP. Long work calls it now and then: the scheduler looks at
// the network when nothing else can run, and else every 10 ms alone, which is what all answers of a single processor would
// wait; runtime.Gosched does not look there at all.
func (s *Server) GiveWay() {
	begin := time.Now()
	for d := aside; s.arrivals.waiting() && time.Since(begin) < asideMost; d *= 2 {
		time.Sleep(d)
	}
}
