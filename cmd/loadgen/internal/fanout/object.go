// SPDX-License-Identifier: Apache-2.0

package fanout

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/quic-go"
)

// ALPN is the protocol's name.
const ALPN = "fanout/1"

// Sizes of objects, in bytes. The largest bounds what a peer may make this process hold.
const (
	MinObject = 32
	MaxObject = 1 << 20
)

var errObject = errors.New("what came is no object")

// object is the head of an object.
type object struct {
	run, seq       uint64
	intended, sent int64 // Unix nanoseconds
}

// write puts the head into b, which is the whole object.
func (o object) write(b []byte) {
	binary.BigEndian.PutUint64(b, o.run)
	binary.BigEndian.PutUint64(b[8:], o.seq)
	binary.BigEndian.PutUint64(b[16:], uint64(o.intended))
	binary.BigEndian.PutUint64(b[24:], uint64(o.sent))
}

// readObject reads the head of an object.
func readObject(b []byte) (object, error) {
	if len(b) < MinObject {
		return object{}, errObject
	}
	return object{
		binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]),
		int64(binary.BigEndian.Uint64(b[16:])), int64(binary.BigEndian.Uint64(b[24:])),
	}, nil
}

// Delivery is how objects travel.
type Delivery string

// The deliveries; see the package's comment.
const (
	Datagrams Delivery = "datagrams"
	Streams   Delivery = "streams"
	Stream    Delivery = "stream"
)

// ParseDelivery reads the name of a delivery.
func ParseDelivery(s string) (Delivery, error) {
	switch d := Delivery(s); d {
	case Datagrams, Streams, Stream:
		return d, nil
	}
	return "", fmt.Errorf("unknown delivery %q (hint: datagrams, streams or stream)", s)
}

// sender sends objects over one connection. It is not safe for concurrent use.
type sender struct {
	conn     *quic.Conn
	delivery Delivery
	stream   *quic.SendStream // of Stream
	head     [4]byte
}

func (s *sender) send(b []byte) error {
	switch s.delivery {
	case Datagrams:
		return s.conn.SendDatagram(b)
	case Streams:
		stream, err := s.conn.OpenUniStreamSync(s.conn.Context())
		if err != nil {
			return err
		}
		if _, err := stream.Write(b); err != nil {
			return err
		}
		return stream.Close()
	}
	if s.stream == nil {
		var err error
		if s.stream, err = s.conn.OpenUniStreamSync(s.conn.Context()); err != nil {
			return err
		}
	}
	binary.BigEndian.PutUint32(s.head[:], uint32(len(b)))
	if _, err := s.stream.Write(s.head[:]); err != nil {
		return err
	}
	_, err := s.stream.Write(b)
	return err
}

// receive calls take for each object that comes over a connection, concurrently for streams, until
// the connection ends, and returns why.
func receive(conn *quic.Conn, delivery Delivery, take func([]byte)) error {
	ctx := conn.Context()
	if delivery == Datagrams {
		for {
			b, err := conn.ReceiveDatagram(ctx)
			if err != nil {
				return cause(conn, err)
			}
			take(b)
		}
	}
	for {
		stream, err := conn.AcceptUniStream(ctx)
		if err != nil {
			return cause(conn, err)
		}
		if delivery == Stream {
			return cause(conn, receiveAll(stream, take))
		}
		go func() {
			b, err := io.ReadAll(io.LimitReader(stream, MaxObject+1))
			if err == nil && len(b) <= MaxObject { // else it is missing, which shows
				take(b)
				return
			}
			stream.CancelRead(0)
		}()
	}
}

func receiveAll(stream *quic.ReceiveStream, take func([]byte)) error {
	var head [4]byte
	for {
		if _, err := io.ReadFull(stream, head[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(head[:])
		if n < MinObject || n > MaxObject {
			return fmt.Errorf("%w: %d bytes", errObject, n)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(stream, b); err != nil {
			return err
		}
		take(b)
	}
}

// cause returns why a connection ended, which says more than what that did to a stream.
func cause(conn *quic.Conn, err error) error {
	if conn.Context().Err() != nil {
		return context.Cause(conn.Context())
	}
	return err
}
