// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"golang.org/x/sys/unix"
)

const (
	batch = 32 // datagrams in one system call
	// queryMost is what a datagram may hold, and what a Handler gets. Queries are far smaller; a longer one is answered
	// FORMERR.
	queryMost = 4096
	// controlSize holds one IPV6_PKTINFO or IP_PKTINFO.
	controlSize = 48
	cacheLine   = 64
	socketRoom  = 4 << 20 // octets wanted of receive and send buffers
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr  unix.Msghdr
	size uint32
	_    [4]byte
}

// udpWorker serves one socket. It owns every buffer that the kernel fills and reads.
type udpWorker struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	serve  *guard
	tally  *tally
	ctx    context.Context // of what is handed over
	office *office         // nil: nobody to hand to
	rates  *limiter        // nil: no limit
	over   int             // replies beyond the limit
	taps   []*tap
	local  netip.AddrPort

	in      [batch][queryMost + cacheLine]byte // of another size than pages, whose beginnings have one place in the cache
	out     [batch][ednsUDP]byte
	from    [batch]unix.RawSockaddrInet6 // an IPv4 address is shorter
	control [batch][controlSize]byte
	inVec   [batch]unix.Iovec
	outVec  [batch]unix.Iovec
	inMsg   [batch]mmsghdr
	outMsg  [batch]mmsghdr
	events  [batch]event
	ahead   zone.Ahead

	received, sent int // by the last call
	queued         int
	errno          syscall.Errno
	receiveFn      func(fd uintptr) bool
	sendFn         func(fd uintptr) bool
}

// listenUDP opens n sockets that share one address.
func listenUDP(ctx context.Context, network, address string, n int) ([]*net.UDPConn, error) {
	// Only a socket without SO_REUSEPORT notices that another server holds the port.
	probe, err := (&net.ListenConfig{}).ListenPacket(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("listening on UDP %s: %w", address, err)
	}
	address = probe.LocalAddr().String()
	if err := probe.Close(); err != nil {
		return nil, fmt.Errorf("listening on UDP %s: %w", address, err)
	}
	config := net.ListenConfig{Control: prepare}
	var conns []*net.UDPConn
	for range n {
		conn, err := config.ListenPacket(ctx, network, address)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, fmt.Errorf("listening on UDP %s: %w", address, err)
		}
		conns = append(conns, conn.(*net.UDPConn))
	}
	return conns, nil
}

// prepare sets up a socket before it is bound.
func prepare(network, address string, raw syscall.RawConn) error {
	host, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("parsing %s address %q: %w", network, address, err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), setUp(int(fd), host.Addr()))
	})
	return errors.Join(err, failed)
}

// setUp sets what a socket bound to an address needs, also one that another process opened.
func setUp(fd int, host netip.Addr) error {
	// Buffers as large as the system lets us have; less is no error.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketRoom)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketRoom)
	switch {
	case !host.IsUnspecified():
		return nil // there is one address that a reply can come from
	case host.Is6():
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// takeOver sets up sockets that were opened by another process.
func takeOver(conns []*net.UDPConn) error {
	for _, c := range conns {
		raw, err := c.SyscallConn()
		if err != nil {
			return fmt.Errorf("taking over UDP %s: %w", c.LocalAddr(), err)
		}
		var failed error
		err = raw.Control(func(fd uintptr) { failed = setUp(int(fd), c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()) })
		if err = errors.Join(err, failed); err != nil {
			return fmt.Errorf("taking over UDP %s: %w", c.LocalAddr(), err)
		}
	}
	return nil
}

func newUDPWorker(conn *net.UDPConn, serve *guard, t *tally) (*udpWorker, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("opening the UDP socket: %w", err)
	}
	w := &udpWorker{conn: conn, raw: raw, serve: serve, tally: t, local: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	for i := range batch {
		w.inVec[i] = unix.Iovec{Base: &w.in[i][0], Len: queryMost}
		w.inMsg[i].hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&w.from[i])), Iov: &w.inVec[i], Iovlen: 1, Control: &w.control[i][0]}
		w.outVec[i].Base = &w.out[i][0]
		w.outMsg[i].hdr = unix.Msghdr{Iov: &w.outVec[i], Iovlen: 1}
	}
	w.receiveFn, w.sendFn = w.receive, w.send
	return w, nil
}

// run answers until the socket's read deadline has passed, then what is still in the socket.
func (w *udpWorker) run() error {
	for {
		err := w.raw.Read(w.receiveFn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return w.drain()
		}
		if err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		if w.errno != 0 {
			return fmt.Errorf("receiving: %w", w.errno)
		}
		if err := w.answer(); err != nil {
			return err
		}
	}
}

// drain answers what has come before the end; under a flood that never ends, as much as it can in drainTime.
func (w *udpWorker) drain() error {
	for end := time.Now().Add(drainTime); time.Now().Before(end); {
		if err := w.raw.Control(func(fd uintptr) { w.receive(fd) }); err != nil {
			return fmt.Errorf("receiving: %w", err)
		}
		if w.errno != 0 || w.received == 0 {
			return nil
		}
		if err := w.answer(); err != nil {
			return err
		}
	}
	return nil
}

// The runtime is not told of either call, for none waits: the longest, of a whole batch of replies, takes a tenth of a millisecond.
// Told, it wakes every 20 µs of it to see whether others could have the processor.

// receive takes what has arrived and tells whether there was anything, or an error.
func (w *udpWorker) receive(fd uintptr) bool {
	for i := range batch {
		h := &w.inMsg[i].hdr
		h.Namelen, h.Controllen = unix.SizeofSockaddrInet6, controlSize
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&w.inMsg[0])), batch, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case 0:
			w.received, w.errno = int(n), 0
		default:
			w.received, w.errno = 0, errno
		}
		return errno != unix.EAGAIN
	}
}

// answer replies to what was received.
func (w *udpWorker) answer() error {
	begin := time.Now()
	w.queued = 0
	w.serve.now = uint32(begin.Unix())
	w.lookAhead()
	for i := range w.received {
		m := &w.inMsg[i]
		query := w.in[i][:m.size]
		peer := Peer{Addr: w.peer(i)}
		k := w.queued
		reply, seen := w.serve.respond(w.out[k][:], query, peer, m.hdr.Flags&unix.MSG_TRUNC != 0)
		if seen.ignored >= handed && !w.hand(i, query, peer, seen, begin) {
			reply = headerOnly(w.out[k][:], query, rcodeServFail)
			seen.ignored, seen.rcode = answered, rcodeServFail
		}
		v := sent
		if w.rates != nil && reply != nil {
			if v = w.judge(peer, seen, reply, begin); v == dropped {
				reply = nil
			} else if v == slipped {
				reply = w.serve.truncated(w.out[k][:], query, peer)
			}
		}
		w.events[i] = event{outcome: seen, family: familyOf(peer.Addr), verdict: v, asked: int(m.size), replied: len(reply)}
		for _, t := range w.taps {
			if seen.ignored < handed && t.wants() {
				t.take(begin, netip.AddrPortFrom(peer.Addr, w.port(i)), w.local, protoUDP, query, reply)
			}
		}
		if reply == nil {
			continue
		}
		w.outVec[k].Len = uint64(len(reply))
		h := &w.outMsg[k].hdr
		h.Name, h.Namelen = m.hdr.Name, m.hdr.Namelen
		h.Control, h.Controllen = m.hdr.Control, m.hdr.Controllen
		if h.Controllen == 0 {
			h.Control = nil
		} else {
			anyInterface(w.control[i][:h.Controllen])
		}
		w.queued++
	}
	w.sent = 0
	if w.queued > 0 {
		if err := w.raw.Write(w.sendFn); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	w.tally.add(w.events[:w.received], time.Since(begin))
	return nil
}

// lookAhead has what was received wait for memory together, where that saves more than it costs.
func (w *udpWorker) lookAhead() {
	if catalog := w.serve.catalog; w.received > 1 && catalog.Worthwhile() {
		for i := range w.received {
			w.ahead.Add(catalog, w.in[i][:w.inMsg[i].size])
		}
		w.ahead.Fetch()
	}
}

// send sends the queued replies and tells whether all are gone, or given up.
func (w *udpWorker) send(fd uintptr) bool {
	for w.sent < w.queued {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&w.outMsg[w.sent])), uintptr(w.queued-w.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			w.sent += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default: // about the first message only: its client cannot be reached
			w.tally.unsent()
			w.sent++
		}
	}
	return true
}

// judge tells whether a reply is sent. A client that has shown that it is where it says it is may have all.
func (w *udpWorker) judge(peer Peer, seen outcome, reply []byte, now time.Time) verdict {
	if w.rates.allow(w.rates.key(peer.Addr, seen.slot, classOf(reply)), w.rates.at(now)) || w.serve.proven(peer, now) {
		return sent
	}
	w.over++
	// Only what has a question can be asked again.
	if w.rates.Slip > 0 && w.over%w.rates.Slip == 0 && reply[5] != 0 {
		return slipped
	}
	return dropped
}

// hand gives message i to the Handler. Its reply leaves from the address that was asked.
func (w *udpWorker) hand(i int, query []byte, peer Peer, seen outcome, now time.Time) bool {
	if !w.office.enter(len(query), seen.ignored) {
		return false
	}
	to := netip.AddrPortFrom(peer.Addr, w.port(i))
	if link := w.from[i].Scope_id; link != 0 && peer.Addr.IsLinkLocalUnicast() {
		to = netip.AddrPortFrom(peer.Addr.WithZone(strconv.FormatUint(uint64(link), 10)), w.port(i))
	}
	control := bytes.Clone(w.control[i][:w.inMsg[i].hdr.Controllen])
	if len(control) > 0 {
		anyInterface(control)
	}
	j := &job{seen: seen, begin: now}
	j.x = &Exchange{Query: bytes.Clone(query), Peer: peer, Limit: w.serve.limit, Reply: func(b []byte) error {
		_, _, err := w.conn.WriteMsgUDPAddrPort(b, control, to)
		return err
	}}
	if w.rates != nil && !w.serve.proven(peer, now) {
		j.judge = func(reply []byte) verdict { return w.office.judge(w.rates, peer, seen, reply) }
	}
	j.tap(w.taps, query, netip.AddrPortFrom(peer.Addr, w.port(i)), w.local, protoUDP)
	w.office.work(w.ctx, j)
	return true
}

// port returns the port that message i came from; it is at the same place for both families.
func (w *udpWorker) port(i int) uint16 {
	p := (*[2]byte)(unsafe.Pointer(&w.from[i].Port))
	return binary.BigEndian.Uint16(p[:])
}

// peer returns the address that message i came from.
func (w *udpWorker) peer(i int) netip.Addr {
	from := &w.from[i]
	if from.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrFrom4(v4.Addr)
	}
	return netip.AddrFrom16(from.Addr)
}

// anyInterface turns the control message of a query into that of its reply: the source address is the one
// that was asked, but the route is the system's to choose, unless the address has a meaning on one link only.
func anyInterface(control []byte) {
	const head = unix.SizeofCmsghdr
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	switch {
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(control) >= head+unix.SizeofInet6Pktinfo:
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&control[head]))
		if !netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
			info.Ifindex = 0
		}
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(control) >= head+unix.SizeofInet4Pktinfo:
		(*unix.Inet4Pktinfo)(unsafe.Pointer(&control[head])).Ifindex = 0
	}
}
