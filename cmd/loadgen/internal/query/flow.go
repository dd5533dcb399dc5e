// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/results"
)

func interfaceIndex(name string) (uint32, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	return uint32(i.Index), nil
}

const (
	// gather is how long queries that fall due are gathered before they are sent in one system call, when the rate is so
	// high that another was sent since. It bounds what batching adds to the send lag, which counts it.
	gather = 100 * time.Microsecond
	// glance is how often at least it is looked whether the run is to end early.
	glance = 50 * time.Millisecond
	// maxSlots bounds the queries under way on a socket: there are 65,536 IDs, and half of them stay free so that a late
	// reply is not taken for another's.
	maxSlots = 1 << 15
)

// Flow asks over UDP from a few sockets and one thread. Times are of the monotonic clock, as nanoseconds since the start.
type Flow struct {
	Config
	sockets []*udpSocket
	poller  *poller
	out, in *batch

	plan     openloop.Plan
	note     record.Note
	sample   results.Sample
	servers  []string // as samples name them
	scratch  [512]byte
	inFlight int
	order    []sent // in the order of sending, which is that of the deadlines
	oldest   int    // index into order
}

// udpSocket is a port that asks one server.
type udpSocket struct {
	fd, server int
	next       uint16
	slots      []slot // the query with ID i is at i modulo their number
}

// slot is a query under way.
type slot struct {
	id       uint16
	busy     bool
	question int32
	seq      uint64
	intended int64
	sent     int64
}

// sent is a query that may still be under way.
type sent struct {
	socket *udpSocket
	id     uint16
	seq    uint64
	at     int64
}

// NewFlow opens the sockets.
func NewFlow(c Config) (_ *Flow, err error) {
	f := &Flow{Config: c, in: newBatch(), out: newBatch()}
	if f.poller, err = newPoller(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	for server, addr := range c.Servers {
		f.servers = append(f.servers, addr.Addr().String())
		for range c.Sockets {
			fd, err := openUDP(addr)
			if err != nil {
				return nil, fmt.Errorf("opening a socket to %s: %w", addr, err)
			}
			f.sockets = append(f.sockets, &udpSocket{fd: fd, server: server})
			if err := f.poller.add(fd, len(f.sockets)-1); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// Close closes the sockets.
func (f *Flow) Close() {
	for _, s := range f.sockets {
		_ = unix.Close(s.fd)
	}
	_ = f.poller.Close()
}

// Run executes the plan, then waits for the queries under way. When ctx ends, sending stops, the window is closed, those
// under way are still waited for, and ctx's cause is returned. It may be called again.
func (f *Flow) Run(ctx context.Context, plan openloop.Plan, note record.Note) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The kernel may let a thread sleep 50 µs longer than asked, to save wake-ups. (The thread keeps this; it sleeps seldom
	// elsewhere.)
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)

	f.plan, f.note = plan, note
	f.order, f.oldest = f.order[:0], 0
	slots := 64
	for slots < maxSlots && slots*len(f.sockets) < plan.MaxInFlight {
		slots *= 2
	}
	for _, s := range f.sockets {
		s.slots = make([]slot, slots)
	}
	stopped, err := f.send(ctx)
	f.plan.Close()
	for err == nil && f.inFlight > 0 {
		f.expire(f.now())
		err = f.listen(f.untilExpiry(glance))
	}
	if stopped && err == nil {
		return context.Cause(ctx)
	}
	return err
}

func (f *Flow) now() int64 { return int64(time.Since(f.plan.Start)) }

// send sends what is due until the plan or ctx ends, and listens meanwhile.
func (f *Flow) send(ctx context.Context) (stopped bool, err error) {
	var pending []due // fell due, and the socket's buffer was full
	seq, at, more := uint64(0), int64(0), true
	next := func() {
		offset, ok := f.plan.Schedule.Next()
		at, more = int64(offset), ok
	}
	next()
	last := int64(0) // volley
	for opened := false; ; {
		if ctx.Err() != nil {
			return true, nil
		}
		now := f.now()
		if !opened && now >= int64(f.plan.Window) {
			f.plan.Open()
			opened = true
		}
		for len(pending) < volley && more && at <= now {
			pending = append(pending, due{seq, at})
			seq++
			next()
		}
		if len(pending) > 0 {
			if pending, err = f.fire(pending); err != nil {
				return false, err
			}
			last = now
		}
		f.expire(now)
		wait := glance
		switch {
		case len(pending) > 0:
			wait = gather // the socket's buffer is full
		case more:
			wait = min(wait, time.Duration(max(at, min(last+int64(gather), at+int64(gather)))-f.now()))
		case now >= int64(f.plan.Length):
			return false, nil
		default:
			wait = min(wait, f.plan.Length-time.Duration(now))
		}
		if !opened {
			wait = min(wait, f.plan.Window-time.Duration(now))
		}
		if err := f.listen(f.untilExpiry(wait)); err != nil {
			return false, err
		}
	}
}

// due is a query that fell due.
type due struct {
	seq      uint64
	intended int64
}

// fire sends queries, those to one server in one system call, and returns those that the kernel had no room for.
func (f *Flow) fire(queries []due) (left []due, err error) {
	n := len(queries)
	for server := range f.Servers {
		count := 0
		var of [volley]due
		for _, q := range queries[:n] {
			if f.Server(q.seq) == server {
				of[count] = q
				count++
			}
		}
		if count > 0 {
			left = append(left, f.fireAt(server, of[:count])...)
		}
	}
	return append(queries[:0], left...), nil
}

// fireAt sends queries to a server from its socket whose turn it is.
func (f *Flow) fireAt(server int, queries []due) (left []due) {
	socket := f.sockets[server*f.Config.Sockets+int(queries[0].seq/uint64(len(f.Servers))/volley%uint64(f.Config.Sockets))]
	at := f.now()
	var ids [volley]uint16
	count := 0
	for _, q := range queries {
		s := socket.free()
		if s == nil || f.inFlight >= f.plan.MaxInFlight {
			f.plan.Drop(openloop.Hit{Seq: q.seq, Intended: f.plan.Start.Add(time.Duration(q.intended))})
			continue
		}
		n := f.Draw(q.seq)
		*s = slot{id: socket.next, busy: true, question: int32(n), seq: q.seq, intended: q.intended, sent: at}
		wire, _ := f.Book.write(f.out.bufs[count][:0], n, q.seq, s.id)
		f.out.vecs[count].SetLen(len(wire))
		ids[count] = s.id
		queries[count] = q // those that are not dropped
		count++
		f.inFlight++
	}
	for gone := 0; gone < count; {
		if gone > 0 { // what was not taken moves up
			copyMessages(f.out, gone, count)
			copy(ids[:], ids[gone:count])
			copy(queries, queries[gone:count])
			count -= gone
		}
		n, errno := f.out.send(socket.fd, count)
		for i := range n {
			f.order = append(f.order, sent{socket, ids[i], queries[i].seq, at})
		}
		gone = n
		switch {
		case n > 0:
		case errno == unix.EAGAIN:
			for i := range count {
				socket.slot(ids[i]).busy = false
				f.inFlight--
			}
			return append(left, queries[:count]...)
		case errno == unix.ECONNREFUSED:
			// Of an earlier query: reading it cleared it. Whose is not told; nobody listens at this server.
			f.refuse(socket, at)
		default:
			f.order = append(f.order, sent{socket, ids[0], queries[0].seq, at})
			f.end(socket.slot(ids[0]), server, f.now(), nil, errno)
			gone = 1
		}
	}
	return left
}

// copyMessages moves the messages from..to of a batch to its beginning.
func copyMessages(b *batch, from, to int) {
	for i := from; i < to; i++ {
		n := copy(b.bufs[i-from][:], b.bufs[i][:b.vecs[i].Len])
		b.vecs[i-from].SetLen(n)
	}
}

// free returns the slot of the next ID, or nil when all are busy.
func (s *udpSocket) free() *slot {
	for range 64 {
		s.next++
		if at := s.slot(s.next); !at.busy {
			return at
		}
	}
	return nil
}

func (s *udpSocket) slot(id uint16) *slot { return &s.slots[int(id)&(len(s.slots)-1)] }

// listen waits for replies for at most d, and takes those that are there.
func (f *Flow) listen(d time.Duration) error {
	ready, err := f.poller.wait(d)
	if err != nil {
		return err
	}
	for _, e := range ready {
		socket := f.sockets[e.Fd]
		for {
			n, errno := f.in.receive(socket.fd)
			now := f.now()
			for i := range n {
				f.take(socket, now, f.in.bufs[i][:min(f.in.hdrs[i].n, datagram)])
			}
			if errno == unix.ECONNREFUSED {
				f.refuse(socket, now)
				continue
			}
			if n < volley {
				break
			}
		}
	}
	return nil
}

// take finds the query that a reply belongs to. Other replies are old ones, or forged (RFC 5452 §9.1).
func (f *Flow) take(socket *udpSocket, now int64, reply []byte) {
	if len(reply) < headerLen {
		return
	}
	id := binary.BigEndian.Uint16(reply)
	s := socket.slot(id)
	if !s.busy || s.id != id {
		return
	}
	_, asks := f.Book.write(f.scratch[:0], int(s.question), s.seq, id)
	f.end(s, socket.server, now, reply, check(reply, id, asks))
}

// refuse fails what was sent on the socket before the instant at: the server's machine says that nobody listens.
func (f *Flow) refuse(socket *udpSocket, at int64) {
	for i := range socket.slots {
		if s := &socket.slots[i]; s.busy && s.sent < at {
			f.end(s, socket.server, f.now(), nil, unix.ECONNREFUSED)
		}
	}
}

// expire ends the queries whose time is over.
func (f *Flow) expire(now int64) {
	for ; f.oldest < len(f.order); f.oldest++ {
		o := &f.order[f.oldest]
		s := o.socket.slot(o.id)
		if !s.busy || s.seq != o.seq {
			continue // answered
		}
		if now-o.at < int64(f.Timeout) {
			break
		}
		f.end(s, o.socket.server, now, nil, errSilence)
	}
	if f.oldest > 4096 && 2*f.oldest > len(f.order) {
		f.order = f.order[:copy(f.order, f.order[f.oldest:])]
		f.oldest = 0
	}
}

// untilExpiry returns how long to wait at most, so that the oldest query does not outlive its time.
func (f *Flow) untilExpiry(d time.Duration) time.Duration {
	if f.oldest < len(f.order) {
		d = min(d, f.Timeout-time.Duration(f.now()-f.order[f.oldest].at))
	}
	return d
}

// end notes the fate of a query.
func (f *Flow) end(s *slot, server int, now int64, reply []byte, err error) {
	s.busy = false
	f.inFlight--
	start := f.plan.Start.UnixNano()
	f.sample = results.Sample{
		Client: f.Client, User: s.question, Seq: s.seq, Peer: f.servers[server],
		IntendedNs: start + s.intended, SentNs: start + s.sent,
		DNSNs: now - s.sent, TotalNs: now - s.intended, Bytes: int64(len(reply)), Error: class(err),
	}
	if f.Config.Judge != nil {
		if err == errBroken {
			reply = nil
		}
		f.judge(server, int(s.question), f.plan.Start.Add(time.Duration(s.sent)), f.plan.Start.Add(time.Duration(now)), reply)
	}
	f.note(&f.sample, true, err)
}
