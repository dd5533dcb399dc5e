// SPDX-License-Identifier: Apache-2.0

package fanout

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/results"
)

// session is a client's with a relay.
type session struct {
	conn *quic.Conn
	end  func()
}

// open begins a session: a lookup and a handshake as the user makes them, then the request line
// and its answer. The n-th attempt in a row goes to the n-th address.
func open(ctx context.Context, u *user.User, timeout, idle time.Duration, n int, line string, s *results.Sample) (*session, error) {
	deadline := time.Now().Add(timeout)
	conn, end, err := u.DialQUIC(ctx, ALPN, Config(idle), n, s)
	if err != nil {
		return nil, err
	}
	s.Protocol = ALPN
	begin := time.Now()
	err = ask(conn, deadline, line)
	s.FirstByteNs = int64(time.Since(begin))
	if err != nil {
		err = cause(conn, err)
		end()
		return nil, err
	}
	return &session{conn, end}, nil
}

// ask sends the request line and reads the answer.
func ask(conn *quic.Conn, deadline time.Time, line string) error {
	control, err := conn.OpenStream()
	if err != nil {
		return err
	}
	_ = control.SetDeadline(deadline)
	if _, err := io.WriteString(control, line+"\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(io.LimitReader(control, maxLine)).ReadString('\n')
	if err != nil {
		return err
	}
	if answer = strings.TrimSpace(answer); answer != "OK" {
		return fmt.Errorf("the relay refuses: %s", answer)
	}
	return nil
}
