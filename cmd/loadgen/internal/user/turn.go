// SPDX-License-Identifier: Apache-2.0

package user

import (
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket's system calls never block, so they are made without telling the scheduler. On loopback
// and veth a send runs the receiver's half of the stack too, which is longer than the scheduler's
// patience of 20 µs: it would take the thread's processor away and wake another thread, twice a
// request, which costs more than the request.

// turn is what a socket is doing within the poller's Read or Write.
type turn struct {
	out, in []byte
	n       int
	err     error
}

// post has a request sent by the next Read, in one go with the wait for the reply: a read before
// there can be one is saved. It must fit into a socket's buffer, which small is.
func (s *socket) post(b []byte) { s.now.out = b }

// small is what every socket's send buffer takes at once.
const small = 4 << 10

// Read reads what there is, or waits for it.
func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if s.step == nil {
		s.step = s.receive
	}
	s.now.in, s.now.n, s.now.err = p, 0, nil
	err := s.raw.Read(s.step)
	s.now.in = nil
	if err == nil {
		err = s.now.err
	}
	return s.now.n, err
}

// receive is a step of the poller's Read: false waits for something to read. The poller has begun
// to listen by then, so that a reply to what is sent here is not missed.
func (s *socket) receive(fd uintptr) (done bool) {
	if out := s.now.out; out != nil {
		s.now.out = nil
		switch n, errno := transfer(unix.SYS_WRITE, fd, out); {
		case errno != 0:
			s.now.err = errno
			return true
		case n < len(out):
			s.now.err = io.ErrShortWrite
			return true
		}
		return false
	}
	for {
		n, errno := transfer(unix.SYS_READ, fd, s.now.in)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return false
		case errno != 0:
			s.now.err = errno
		case n == 0:
			s.now.err = io.EOF
		}
		s.now.n = max(n, 0)
		return true
	}
}

// Write writes all of p.
func (s *socket) Write(p []byte) (written int, err error) {
	for written < len(p) {
		var n int
		var errno syscall.Errno
		if err := s.raw.Write(func(fd uintptr) bool {
			n, errno = transfer(unix.SYS_WRITE, fd, p[written:])
			return errno != unix.EAGAIN
		}); err != nil {
			return written, err
		}
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return written, errno
		default:
			written += n
		}
	}
	return written, nil
}

// transfer reads or writes once.
func transfer(call, fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return int(n), errno
}

// stale reports whether the peer has closed the idle connection, or sent what nobody asked for.
func (s *socket) stale() bool {
	if s.peek == nil {
		s.peek = func(fd uintptr) {
			var b [1]byte
			_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
			s.dead = errno != unix.EAGAIN
		}
	}
	s.dead = true
	err := s.raw.Control(s.peek)
	return s.dead || err != nil
}
