// SPDX-License-Identifier: Apache-2.0

package query

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// volley is the most datagrams that one system call sends or receives.
const volley = 32

// datagram is the room for one message: what is offered by EDNS, and what servers that ignore it send.
const datagram = 4096

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// batch is the memory of one system call.
type batch struct {
	hdrs [volley]mmsghdr
	vecs [volley]unix.Iovec
	bufs [volley][datagram]byte
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.hdrs {
		b.vecs[i].Base = &b.bufs[i][0]
		b.vecs[i].SetLen(datagram)
		b.hdrs[i].hdr.Iov = &b.vecs[i]
		b.hdrs[i].hdr.SetIovlen(1)
	}
	return b
}

// send sends the first n messages without waiting, and returns how many went out.
func (b *batch) send(fd, n int) (int, unix.Errno) {
	for {
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.hdrs)), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			if errno != 0 {
				sent = 0
			}
			return int(sent), errno
		}
	}
}

// receive takes what is there, without waiting.
func (b *batch) receive(fd int) (int, unix.Errno) {
	for {
		got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.hdrs)), volley, unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			if errno != 0 {
				got = 0
			}
			return int(got), errno
		}
	}
}

// room is asked for in the kernel for replies that wait; it gives what it allows.
const room = 4 << 20

// openUDP returns a socket that is connected to the server.
func openUDP(to netip.AddrPort) (fd int, err error) {
	domain, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port()), ZoneId: zone(to.Addr())})
	if to.Addr().Is4() {
		domain, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	}
	if fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, room)
	if err := unix.Connect(fd, sa); err != nil {
		return -1, errors.Join(os.NewSyscallError("connect", err), unix.Close(fd))
	}
	return fd, nil
}

func zone(a netip.Addr) uint32 {
	var index uint32
	if _, err := fmt.Sscan(a.Zone(), &index); err == nil {
		return index
	}
	if i, err := interfaceIndex(a.Zone()); err == nil {
		return i
	}
	return 0
}

// poller waits for sockets or an instant.
type poller struct {
	fd     int
	events [64]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &poller{fd: fd}, nil
}

func (p *poller) add(fd, index int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(index)}))
}

// wait returns the events that are there, or that come within d. It sleeps to the nanosecond (epoll_pwait2, Linux 5.11).
func (p *poller) wait(d time.Duration) ([]unix.EpollEvent, error) {
	ts := unix.NsecToTimespec(max(0, int64(d)))
	args := [...]uintptr{uintptr(p.fd), uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts))}
	var n uintptr
	var errno unix.Errno
	if d <= 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, args[0], args[1], args[2], args[3], 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, args[0], args[1], args[2], args[3], 0, 0)
	}
	switch errno {
	case 0:
		return p.events[:n], nil
	case unix.EINTR:
		return nil, nil
	case unix.ENOSYS:
		return nil, errors.New("this kernel has no epoll_pwait2 (hint: Linux 5.11 or newer, or --connection new)")
	}
	return nil, os.NewSyscallError("epoll_pwait2", errno)
}

func (p *poller) Close() error { return unix.Close(p.fd) }
