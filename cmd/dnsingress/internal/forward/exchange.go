// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"

	"github.com/miekg/dns"
)

const (
	// udpSize passes any IPv6 path in one piece (RFC 9715 §3.2 R5); udpRoom is what is read of a server that sends more.
	udpSize = 1232
	udpRoom = 4096
	// mostStrangers is how many messages that are no reply may come in place of one: more is somebody who guesses, and
	// TCP is asked (RFC 5452 §9.3).
	mostStrangers = 16
)

var (
	// errStranger says that a message is no reply to the query.
	errStranger = errors.New("a message that is no reply")
	errForged   = fmt.Errorf("%d messages that are no replies: somebody guesses", mostStrangers)
	errCut      = errors.New("truncated also over TCP")
)

// saidError is a failure that a server states: it is there, and asking it again is of no use.
type saidError string

func (e saidError) Error() string { return string(e) }

// said tells whether a failure is such a one.
func said(err error) bool {
	var e saidError
	return errors.As(err, &e)
}

// query makes the message that asks a server a question, which has come along a path, with the ID 0.
func (q question) query(path []mark) []byte {
	const cd, do = 0x10, 0x80
	b := make([]byte, 0, headerLen+len(q.name)+4+11+4+len(path)*markLen)
	b = append(b, 0, 0, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 1) // RD; one question, one record behind it
	if q.cd {
		b[3] |= cd
	}
	b = append(b, q.name...)
	b = binary.BigEndian.AppendUint16(b, q.qtype)
	b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
	b = append(b, 0, 0, byte(dns.TypeOPT), udpSize>>8, udpSize&0xFF, 0, 0, 0, 0)
	if q.do {
		b[len(b)-2] |= do
	}
	data := len(path) * markLen
	b = binary.BigEndian.AppendUint16(b, uint16(4+data))
	b = binary.BigEndian.AppendUint16(b, optionPath)
	b = binary.BigEndian.AppendUint16(b, uint16(data))
	for _, m := range path {
		b = append(b, m[:]...)
	}
	return b
}

// end is where the question of a query ends.
func (q question) end() int { return headerLen + len(q.name) + 4 }

// exchange asks a server and returns its reply: the one to this question, not truncated.
func (u *upstream) exchange(ctx context.Context, q question, path []mark) (*dns.Msg, error) {
	query := q.query(path)
	binary.BigEndian.PutUint16(query, uint16(rand.Uint32())) // of ChaCha8, which nobody can predict
	if u.streams.tls == nil {
		m, err := u.overUDP(ctx, query, q.end())
		if err == nil && !m.Truncated || err != nil && !errors.Is(err, errForged) {
			return m, err
		}
	}
	reply, err := u.streams.exchange(ctx, query)
	if err != nil {
		return nil, plain(err)
	}
	m, err := accept(reply, query, q.end())
	if err == nil && m.Truncated {
		return nil, errCut
	}
	return m, err
}

// overUDP asks from a port of its own (RFC 5452 §9.2).
func (u *upstream) overUDP(ctx context.Context, query []byte, end int) (*dns.Msg, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", u.to.String())
	if err != nil {
		return nil, plain(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write(query); err != nil {
		return nil, plain(err)
	}
	buf := make([]byte, udpRoom)
	for strangers := 0; strangers < mostStrangers; {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, plain(err)
		}
		if n == len(buf) { // there may have been more of it
			buf[2] |= 0x02
			n = min(n, end)
			clear(buf[6:headerLen])
		}
		m, err := accept(buf[:n], query, end)
		if !errors.Is(err, errStranger) {
			return m, err
		}
		u.strangers.Add(1)
		strangers++
	}
	return nil, errForged
}

// accept unpacks the reply to a query, whose question ends at an offset. What does not match in ID and question is
// errStranger (RFC 5452 §9.1).
func accept(b, query []byte, end int) (*dns.Msg, error) {
	if len(b) < headerLen || !bytes.Equal(b[:2], query[:2]) || b[2]&0x80 == 0 {
		return nil, errStranger
	}
	switch n := binary.BigEndian.Uint16(b[4:]); {
	case n == 1 && len(b) >= end && sameQuestion(b[headerLen:end], query[headerLen:end]):
	case n == 0 && b[3]&0xF != 0: // it did not get as far as the question
		return nil, saidError(rcodeName(int(b[3] & 0xF)))
	default:
		return nil, errStranger
	}
	if opcode := b[2] >> 3 & 0xF; opcode != dns.OpcodeQuery {
		return nil, errStranger
	}
	m := new(dns.Msg)
	if b[2]&0x02 != 0 { // only that is of use
		m.Truncated = true
		return m, nil
	}
	if err := m.Unpack(b); err != nil {
		return nil, saidError("a malformed reply")
	}
	return m, nil
}

// sameQuestion compares a name in wire form, and what follows it, with one in lower case. Octets of length are below 'A'.
func sameQuestion(got, want []byte) bool {
	name := len(want) - 4
	for i, c := range got[:name] {
		if c-'A' < 26 {
			c |= 0x20
		}
		if c != want[i] {
			return false
		}
	}
	return bytes.Equal(got[name:], want[name:])
}

func rcodeName(rcode int) string {
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return fmt.Sprintf("response code %d", rcode)
}

// plain is an error of the network in few words, without addresses, of which ours has another port each time.
func plain(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		if call := (*os.SyscallError)(nil); errors.As(op.Err, &call) && !op.Timeout() {
			return call.Err
		}
		if op.Timeout() || errors.Is(op.Err, net.ErrClosed) {
			return errSilent
		}
		return op.Err
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errSilent
	}
	return err
}
