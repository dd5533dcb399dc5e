// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Command is one line for the login shell of a node.
type Command struct {
	Line           string
	Stdin          io.Reader // nil: nothing
	Stdout, Stderr io.Writer // nil: captured in Result
}

// Result holds the output that was not written elsewhere.
type Result struct{ Stdout, Stderr []byte }

// ExitError says that a command ran and ended with another code than zero.
type ExitError struct {
	Node   string
	Line   string
	Code   int    // 128 + the signal's number when a signal ended it
	Stderr string // the end of what it said, when that was captured
}

func (e *ExitError) Error() string {
	line, _, more := strings.Cut(e.Line, "\n")
	if more || len(line) > 120 {
		line = line[:min(len(line), 120)] + "…"
	}
	s := fmt.Sprintf("%s: %q ended with code %d", e.Node, line, e.Code)
	if msg := strings.TrimSpace(e.Stderr); msg != "" {
		s += ": " + msg
	}
	return s
}

// killTimeout bounds the request to kill a command whose context has ended.
const killTimeout = 5 * time.Second

// Run runs a command and waits for its end. A code other than zero is an *ExitError. When ctx ends,
// the command is killed on the node with all processes of its session.
func (f *Fleet) Run(ctx context.Context, node string, c Command) (Result, error) {
	client, s, done, err := f.session(ctx, node)
	if err != nil {
		return Result{}, err
	}
	defer done()
	var out, errOut bytes.Buffer
	stdout := &pidWriter{to: c.Stdout}
	if c.Stdout == nil {
		stdout.to = &out
	}
	s.Stdout, s.Stderr = stdout, c.Stderr
	if c.Stderr == nil {
		s.Stderr = &errOut
	}
	if c.Stdin != nil {
		// By hand: the library's Wait would wait for a reader that may never end.
		in, err := s.StdinPipe()
		if err != nil {
			return Result{}, fmt.Errorf("%s: %w", node, err)
		}
		go func() {
			_, _ = io.Copy(in, c.Stdin)
			in.Close()
		}()
	}
	// The shell tells its process number first: OpenSSH refuses to signal a session of root's, so that
	// killing needs a number. It leads a session of its own (sshd calls setsid).
	if err := s.Start("echo $$\n" + c.Line); err != nil {
		return Result{}, fmt.Errorf("%s: starting a command: %w", node, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		kill(client, s, stdout.pid(), ended)
		return Result{out.Bytes(), errOut.Bytes()}, fmt.Errorf("%s: %w", node, context.Cause(ctx))
	}
	return Result{out.Bytes(), errOut.Bytes()}, exitError(err, node, c.Line, errOut.Bytes())
}

// session opens a session; done gives it back.
func (f *Fleet) session(ctx context.Context, node string) (*ssh.Client, *ssh.Session, func(), error) {
	client, l, err := f.client(ctx, node)
	if err != nil {
		return nil, nil, nil, err
	}
	select {
	case l.sessions <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, nil, ctx.Err()
	}
	s, err := client.NewSession()
	if err != nil {
		<-l.sessions
		return nil, nil, nil, fmt.Errorf("%s: opening a session: %w", node, err)
	}
	return client, s, func() {
		s.Close()
		<-l.sessions
	}, nil
}

// kill kills the session's processes on the node and returns when nothing more is written to the
// caller's writers.
func kill(client *ssh.Client, s *ssh.Session, pid int, ended <-chan error) {
	late := time.AfterFunc(killTimeout, func() { client.Close() }) // a dead node answers nothing
	defer late.Stop()
	if pid > 0 {
		if k, err := client.NewSession(); err == nil {
			_ = k.Run(fmt.Sprintf("pkill -KILL -s %d || kill -KILL -- -%d", pid, pid))
			k.Close()
		}
	}
	s.Close()
	<-ended
}

// exitError makes of the library's error one that names the node and the command.
func exitError(err error, node, line string, stderr []byte) error {
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		code := exit.ExitStatus()
		if name := exit.Signal(); name != "" {
			code = 128 + signals[name]
		}
		return &ExitError{Node: node, Line: line, Code: code, Stderr: string(stderr[max(0, len(stderr)-2048):])}
	default:
		return fmt.Errorf("%s: the connection ended while a command ran: %w", node, err)
	}
}

// signals by the names that SSH has for them (RFC 4254 §6.10), with Linux's numbers.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8, "KILL": 9, "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15,
}

// pidWriter takes the first line for itself and passes the rest on.
type pidWriter struct {
	to io.Writer

	mu    sync.Mutex
	line  []byte
	whole bool
}

func (w *pidWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	whole, rest := w.whole, p
	if !whole {
		head, tail, found := bytes.Cut(p, []byte("\n"))
		w.line, w.whole, rest = append(w.line, head...), found, tail
	}
	w.mu.Unlock()
	if len(rest) > 0 {
		if _, err := w.to.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// pid returns 0 while it is not known.
func (w *pidWriter) pid() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.whole {
		return 0
	}
	n, err := strconv.Atoi(string(w.line))
	if err != nil || n <= 1 {
		return 0
	}
	return n
}
