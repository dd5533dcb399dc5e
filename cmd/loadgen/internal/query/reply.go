// SPDX-License-Identifier: Apache-2.0

package query

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/results"
)

const (
	headerLen = 12
	udpSize   = 1232 // offered by EDNS
)

var (
	errBroken    = errors.New("the reply is no answer to the query")
	errTruncated = errors.New("the reply is truncated (hint: --network tcp)")
	errSilence   = errors.New("no reply came in time")
)

// Reply is how a query was answered, for whoever judges answers.
type Reply struct {
	Server, Question int
	Sent, Received   time.Time
	Wire             []byte // the message; nil when none came, or none that belongs to the query. It is not to be kept
}

// Judge is given every reply, and every silence when it is sure. It is called concurrently.
type Judge func(Reply)

// tlsError is a handshake that failed.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "TLS: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// rcodeError is a reply that is no answer; -1 is NOERROR with no data.
type rcodeError int

func (e rcodeError) Error() string {
	if e < 0 {
		return "the reply holds no answer"
	}
	return "the server says " + dns.RcodeToString[int(e)]
}

func class(err error) string {
	var rcode rcodeError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &rcode):
		switch rcode {
		case -1:
			return results.ErrDNSNoData
		case dns.RcodeNameError:
			return results.ErrDNSNXDomain
		case dns.RcodeServerFailure:
			return results.ErrDNSServfail
		}
		return results.ErrDNSOther
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errSilence):
		return results.ErrDNSTimeout
	case record.OwnFault(err):
		return results.ErrOther
	case errors.As(err, new(*tlsError)):
		return results.ErrTLS
	}
	return results.ErrDNSOther
}

// receive reads one message; but over UDP, behind its length (RFC 1035 §4.2.2).
func receive(c net.Conn, network string, buffer []byte) ([]byte, error) {
	if network == "udp" {
		n, err := c.Read(buffer)
		return buffer[:n], err
	}
	if _, err := io.ReadFull(c, buffer[:2]); err != nil {
		return nil, err
	}
	reply := buffer[:binary.BigEndian.Uint16(buffer)]
	_, err := io.ReadFull(c, reply)
	return reply, err
}

// check reads a reply's header and question (RFC 1035 §4.1.1).
func check(reply []byte, id uint16, asks []byte) error {
	if len(reply) < headerLen || binary.BigEndian.Uint16(reply) != id || reply[2]&0x80 == 0 {
		return errBroken
	}
	rcode := rcodeError(reply[3] & 0xf)
	questions, answers := binary.BigEndian.Uint16(reply[4:]), binary.BigEndian.Uint16(reply[6:])
	// An error may come without the question (RFC 1035 leaves it open; some servers do for FORMERR).
	if questions == 1 && !bytes.HasPrefix(reply[headerLen:], asks) || questions != 1 && rcode == dns.RcodeSuccess {
		return errBroken
	}
	switch {
	case rcode != dns.RcodeSuccess:
		return rcode
	case reply[2]&0x02 != 0:
		return errTruncated
	case answers == 0:
		return rcodeError(-1)
	}
	return nil
}
