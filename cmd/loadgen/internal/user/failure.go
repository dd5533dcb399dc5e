// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/results"
)

// failure is why an attempt did not succeed: a class of package results, and the cause.
type failure struct {
	class  string
	err    error
	lookup *found // of a lookup that failed: whether its answer comes late is not known yet
}

func fail(class string, err error) error { return &failure{class: class, err: err} }

func (f *failure) Error() string { return f.class + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// class returns the class of an attempt's error.
func class(err error) string {
	if err == nil {
		return ""
	}
	if f := (*failure)(nil); errors.As(err, &f) {
		return f.class
	}
	return results.ErrOther
}

func timedOut(err error) bool {
	if e := (*quic.IdleTimeoutError)(nil); errors.As(err, &e) {
		return true
	}
	if e := (*quic.HandshakeTimeoutError)(nil); errors.As(err, &e) {
		return true
	}
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

func lookupClass(err error) string {
	if e := (*dnsclient.Error)(nil); record.OwnFault(err) {
		return results.ErrOther
	} else if errors.As(err, &e) {
		switch e.Kind {
		case dnsclient.Timeout:
			return results.ErrDNSTimeout
		case dnsclient.Servfail:
			return results.ErrDNSServfail
		case dnsclient.NXDomain:
			return results.ErrDNSNXDomain
		case dnsclient.NoData:
			return results.ErrDNSNoData
		}
	}
	return results.ErrDNSOther
}

func dialFailure(err error) error {
	c := results.ErrConnectOther
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		c = results.ErrConnectRefused
	case timedOut(err):
		c = results.ErrConnectTimeout
	case record.OwnFault(err):
		c = results.ErrOther
	}
	return fail(c, err)
}

func tlsFailure(err error) error {
	if timedOut(err) {
		return fail(results.ErrTimeout, err)
	}
	return fail(results.ErrTLS, err)
}

// replyFailure classifies an error between the request's first byte and the reply's last.
// Before the first byte of the reply, an end of the stream is the peer's refusal to go on.
func replyFailure(err error, begun bool) error {
	c := results.ErrHTTP
	switch {
	case timedOut(err):
		c = results.ErrTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		c = results.ErrReset
	case !begun && errors.Is(err, io.EOF):
		c = results.ErrReset
	}
	return fail(c, err)
}

// statusFailure returns the failure that a status is, if it is one.
func statusFailure(status int) error {
	if status < 400 {
		return nil
	}
	return fail(results.ErrStatus, fmt.Errorf("the server replied %d %s", status, http.StatusText(status)))
}

// handshakeFailure classifies the end of a QUIC handshake, which connects and secures in one.
func handshakeFailure(err error) error {
	if e := (*quic.TransportError)(nil); errors.As(err, &e) {
		switch {
		case e.ErrorCode == quic.ConnectionRefused:
			return fail(results.ErrConnectRefused, err)
		case e.ErrorCode.IsCryptoError():
			return fail(results.ErrTLS, err)
		}
	}
	return dialFailure(err)
}

// h2StreamError has the shape of net/http's own error for a stream that was reset, which it becomes by errors.As.
type h2StreamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e h2StreamError) Error() string { return fmt.Sprintf("stream %d: code %d", e.StreamID, e.Code) }

// h2Codes of RFC 9113 §7 with which the peer says that it is not us: anything else is an error in the protocol.
const (
	h2NoError       = 0x0
	h2Internal      = 0x2
	h2Refused       = 0x7
	h2Cancel        = 0x8
	h2EnhanceYour   = 0xb
	h2HTTP11        = 0xd
	h3LocalBoundary = 0x100
)

// streamFailure classifies an error of a request on a connection that carries several: HTTP/2 or HTTP/3.
func streamFailure(err error, begun bool) error {
	if timedOut(err) {
		return fail(results.ErrTimeout, err)
	}
	reset := false
	if e := (h2StreamError{}); errors.As(err, &e) {
		switch e.Code {
		case h2NoError, h2Internal, h2Refused, h2Cancel, h2EnhanceYour, h2HTTP11:
			reset = e.Cause == nil || strings.Contains(e.Cause.Error(), "received from peer")
		}
	}
	if e := (*http3.Error)(nil); errors.As(err, &e) {
		reset = e.Remote && remoteReset(e.ErrorCode)
	}
	if e := (*quic.StreamError)(nil); errors.As(err, &e) {
		reset = e.Remote && remoteReset(http3.ErrCode(e.ErrorCode))
	}
	if e := (*quic.ApplicationError)(nil); errors.As(err, &e) {
		reset = e.Remote && remoteReset(http3.ErrCode(e.ErrorCode))
	}
	if e := (*quic.StatelessResetError)(nil); errors.As(err, &e) {
		reset = true
	}
	// net/http's error for GOAWAY has neither an exported type nor a shape.
	if text := err.Error(); strings.Contains(text, "GOAWAY") || strings.Contains(text, "client connection lost") || strings.Contains(text, "ErrCode=REFUSED_STREAM") {
		reset = true
	}
	if reset {
		return fail(results.ErrReset, err)
	}
	if !begun && err == io.ErrUnexpectedEOF { // the connection's, not that of something broken within
		return fail(results.ErrReset, err)
	}
	return replyFailure(err, begun)
}

// remoteReset reports whether an HTTP/3 code (RFC 9114 §8.1) says that the peer gave up, not that it was wronged.
func remoteReset(c http3.ErrCode) bool {
	switch c {
	case http3.ErrCodeNoError, http3.ErrCodeInternalError, http3.ErrCodeExcessiveLoad, http3.ErrCodeRequestRejected, http3.ErrCodeRequestCanceled:
		return true
	}
	return c < h3LocalBoundary // what no HTTP/3 server sends
}
