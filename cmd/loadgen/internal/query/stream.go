// SPDX-License-Identifier: Apache-2.0

package query

import (
	"encoding/binary"
	"net"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/results"
)

// Streams asks over connections that are kept, with many queries under way on each (RFC 7766 §6.2.1.1). A connection that
// ends fails what is under way on it; the next query opens another. It is safe for concurrent use.
type Streams struct {
	Config
	dialer  net.Dialer
	streams [][]*stream // by server
	buffers sync.Pool
}

// stream is one connection, or the place for one.
type stream struct {
	connecting sync.Mutex // held while one connects and others wait

	mu      sync.Mutex
	conn    net.Conn // nil: none stands
	next    uint16
	pending map[uint16]chan<- answered
}

// answered is what ends a query: a message in a buffer of the pool, or why none came.
type answered struct {
	buffer   *[1 << 16]byte
	wire     []byte
	received time.Time
	err      error
}

// NewStreams returns streams of which none stands yet.
func NewStreams(c Config) *Streams {
	s := &Streams{Config: c}
	s.buffers.New = func() any { return new([1 << 16]byte) }
	for range c.Servers {
		of := make([]*stream, c.Sockets)
		for i := range of {
			of[i] = &stream{pending: map[uint16]chan<- answered{}}
		}
		s.streams = append(s.streams, of)
	}
	return s
}

// Close ends the connections.
func (s *Streams) Close() {
	for _, of := range s.streams {
		for _, st := range of {
			st.mu.Lock()
			if st.conn != nil {
				_ = st.conn.Close()
			}
			st.mu.Unlock()
		}
	}
}

// Do asks the n-th question once and notes the sample.
func (s *Streams) Do(n int, seq uint64, intended time.Time, note record.Note) {
	sent := time.Now()
	to := s.Server(seq)
	of := s.streams[to]
	st := of[seq/uint64(len(s.Servers))%uint64(len(of))]
	r := results.Sample{
		Client: s.Client, User: int32(n), Seq: seq, Peer: s.Servers[to].Addr().String(),
		IntendedNs: intended.UnixNano(), SentNs: intended.UnixNano() + int64(sent.Sub(intended)),
	}
	err := s.ask(st, to, n, sent.Add(s.Timeout), &r)
	r.TotalNs = int64(time.Since(intended))
	r.Error = class(err)
	note(&r, true, err)
}

func (s *Streams) ask(st *stream, to, n int, deadline time.Time, r *results.Sample) error {
	reply := make(chan answered, 1)
	sent := time.Now()
	end := func(wire []byte, received time.Time, err error) error {
		s.judge(to, n, sent, received, wire)
		return err
	}
	conn, id, err := s.join(st, to, deadline, r, reply)
	if err != nil {
		return end(nil, time.Now(), err)
	}
	buffer := s.buffers.Get().(*[1 << 16]byte)
	wire, asks := s.Book.write(buffer[:2], n, r.Seq, id)
	binary.BigEndian.PutUint16(buffer[:], uint16(len(wire)))
	asks = append([]byte(nil), asks...)
	sent = time.Now()
	_ = conn.SetWriteDeadline(deadline)
	// A write of a message is atomic: net.Conn and tls.Conn lock around it.
	_, err = conn.Write(buffer[:2+len(wire)])
	s.buffers.Put(buffer)
	if err != nil {
		st.fail(conn, err)
		st.leave(id)
		return end(nil, time.Now(), err)
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case a := <-reply:
		r.DNSNs = int64(time.Since(sent))
		if a.err != nil {
			return end(nil, time.Now(), a.err)
		}
		r.DNSNs, r.Bytes = int64(a.received.Sub(sent)), int64(len(a.wire))
		err := check(a.wire, id, asks)
		if err == errBroken {
			a.wire = nil
		}
		err = end(a.wire, a.received, err)
		s.buffers.Put(a.buffer)
		return err
	case <-timer.C:
		st.leave(id)
		r.DNSNs = int64(time.Since(sent))
		return end(nil, time.Now(), errSilence)
	}
}

// join gives the query an ID on the stream, which it connects first where none stands.
func (s *Streams) join(st *stream, to int, deadline time.Time, r *results.Sample, reply chan<- answered) (net.Conn, uint16, error) {
	if conn, id, ok := st.take(reply); ok {
		r.Reused = true
		return conn, id, nil
	}
	st.connecting.Lock()
	defer st.connecting.Unlock()
	if conn, id, ok := st.take(reply); ok { // somebody else connected meanwhile
		r.Reused = true
		return conn, id, nil
	}
	conn, err := dial(&s.dialer, &s.Config, to, deadline, r)
	if err != nil {
		return nil, 0, err
	}
	_ = conn.SetDeadline(time.Time{})
	st.mu.Lock()
	st.conn = conn
	st.mu.Unlock()
	go s.read(st, conn)
	conn, id, ok := st.take(reply)
	if !ok {
		return nil, 0, net.ErrClosed
	}
	return conn, id, nil
}

// take registers a query on the connection that stands; false when none does, or every ID is under way.
func (st *stream) take(reply chan<- answered) (net.Conn, uint16, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.conn == nil || len(st.pending) > 1<<15 {
		return nil, 0, false
	}
	for {
		st.next++
		if _, taken := st.pending[st.next]; !taken {
			st.pending[st.next] = reply
			return st.conn, st.next, true
		}
	}
}

func (st *stream) leave(id uint16) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.pending, id)
}

// fail ends the connection, and with it what is under way.
func (st *stream) fail(conn net.Conn, err error) {
	_ = conn.Close()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.conn != conn {
		return
	}
	st.conn = nil
	for id, reply := range st.pending {
		reply <- answered{err: err}
		delete(st.pending, id)
	}
}

// read gives each message to the query that it belongs to. One that came too late belongs to none.
func (s *Streams) read(st *stream, conn net.Conn) {
	for {
		buffer := s.buffers.Get().(*[1 << 16]byte)
		wire, err := receive(conn, s.Network, buffer[:])
		if err != nil {
			s.buffers.Put(buffer)
			st.fail(conn, err)
			return
		}
		received := time.Now()
		var reply chan<- answered
		if len(wire) >= headerLen {
			id := binary.BigEndian.Uint16(wire)
			st.mu.Lock()
			reply = st.pending[id]
			delete(st.pending, id)
			st.mu.Unlock()
		}
		if reply == nil {
			s.buffers.Put(buffer)
			continue
		}
		reply <- answered{buffer: buffer, wire: wire, received: received}
	}
}
