// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/record"
	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/results"
)

// failure is why an attempt did not succeed: a class of package results, and the cause.
type failure struct {
	class string
	err   error
}

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
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

func lookupFailure(err error) error {
	c := results.ErrDNSOther
	if e := (*dnsclient.Error)(nil); record.OwnFault(err) {
		c = results.ErrOther
	} else if errors.As(err, &e) {
		switch e.Kind {
		case dnsclient.Timeout:
			c = results.ErrDNSTimeout
		case dnsclient.Servfail:
			c = results.ErrDNSServfail
		case dnsclient.NXDomain:
			c = results.ErrDNSNXDomain
		case dnsclient.NoData:
			c = results.ErrDNSNoData
		}
	}
	return &failure{c, err}
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
	return &failure{c, err}
}

func tlsFailure(err error) error {
	if timedOut(err) {
		return &failure{results.ErrTimeout, err}
	}
	return &failure{results.ErrTLS, err}
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
	return &failure{c, err}
}
