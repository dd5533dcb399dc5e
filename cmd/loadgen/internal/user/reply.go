// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// reply is the head of an HTTP/1.1 reply, as far as it says where the reply ends and who it is
// from. net/http's parser builds a map of the rest, which costs more than the request itself; a
// test holds this one against it.
type reply struct {
	status  int
	minor   int // of the version
	close   bool
	backend string

	length  int64 // of the body; -1 for chunks, -2 for until the end of the stream
	long    []byte
	lengths int // fields
}

const (
	chunked = -1
	toEnd   = -2
)

var (
	errUnexpected = errors.New("the server switched protocols unasked")
	errHead       = errors.New("the reply's head is no HTTP")
	errChunk      = errors.New("a chunk of the reply is malformed")
)

// read reads the head of a reply, passing over interim ones (RFC 9110 §15.2).
func (r *reply) read(in *bufio.Reader, head bool) error {
	for {
		if err := r.readHead(in); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		switch {
		case r.status == 101:
			return errUnexpected
		case r.status < 200:
			continue
		case head || r.status == 204 || r.status == 304: // RFC 9112 §6.3
			r.length = 0
		case r.length == toEnd:
			r.close = true
		}
		return nil
	}
}

func (r *reply) readHead(in *bufio.Reader) error {
	line, err := r.line(in)
	if err != nil {
		return err
	}
	*r = reply{length: toEnd, long: r.long}
	if err := r.statusLine(line); err != nil {
		return err
	}
	var coded, keep, shut bool
	for first := true; ; first = false {
		line, err := r.line(in)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			// A folded line (RFC 9112 §5.2) goes on with a field that is of no interest here, as a length
			// or a coding in two lines is no honest server's.
			if first {
				return fmt.Errorf("%w: line %q", errHead, clip(line))
			}
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !token(name) {
			return fmt.Errorf("%w: line %q", errHead, clip(line))
		}
		value = bytes.Trim(value, " \t")
		switch len(name) {
		case len("Content-Length"):
			if equalFold(name, "Content-Length") {
				err = r.contentLength(value)
			}
		case len("Transfer-Encoding"):
			if equalFold(name, "Transfer-Encoding") && r.minor > 0 {
				if coded || !equalFold(value, "chunked") {
					err = fmt.Errorf("%w: transfer coding %q", errHead, clip(value))
				}
				coded = true
			}
		case len("Connection"):
			if equalFold(name, "Connection") {
				shut = shut || option(value, "close")
				keep = keep || option(value, "keep-alive")
			}
		case len(backendHeader):
			if equalFold(name, backendHeader) && r.backend == "" && len(value) <= maxBackend {
				r.backend = string(value)
			}
		}
		if err != nil {
			return err
		}
	}
	if coded {
		r.length = chunked // RFC 9112 §6.3: it overrides a length
	}
	r.close = shut || r.minor == 0 && !keep
	return nil
}

// statusLine reads "HTTP/1.1 200 OK".
func (r *reply) statusLine(line []byte) error {
	if len(line) < len("HTTP/1.1 200") || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' ||
		len(line) > 12 && line[12] != ' ' {
		return fmt.Errorf("%w: %q", errHead, clip(line))
	}
	r.minor = int(line[7] - '0')
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return fmt.Errorf("%w: %q", errHead, clip(line))
		}
		r.status = 10*r.status + int(c-'0')
	}
	if r.status < 100 {
		return fmt.Errorf("%w: status %d", errHead, r.status)
	}
	return nil
}

func (r *reply) contentLength(value []byte) error {
	n, err := strconv.ParseUint(string(value), 10, 63)
	if err != nil || value[0] == '+' || r.lengths > 0 && r.length != int64(n) {
		return fmt.Errorf("%w: Content-Length %q", errHead, clip(value))
	}
	r.length, r.lengths = int64(n), r.lengths+1
	return nil
}

// line returns the next line without its end. It stands until the next call.
func (r *reply) line(in *bufio.Reader) ([]byte, error) {
	b, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.long = append(r.long[:0], b...)
		for errors.Is(err, bufio.ErrBufferFull) {
			b, err = in.ReadSlice('\n')
			r.long = append(r.long, b...) // within the allowance
		}
		b = r.long
	}
	if err != nil {
		return nil, err
	}
	b = b[:len(b)-1]
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return b, nil
}

// discard reads the body and returns how many bytes it has. Beyond what is buffered it reads from
// beneath the buffer, in larger pieces.
func (r *reply) discard(in *bufio.Reader, beneath io.Reader) (int64, error) {
	switch r.length {
	case 0:
		return 0, nil
	case chunked:
		return r.discardChunks(in, beneath)
	case toEnd:
		n, err := skip(in, beneath, 1<<62)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
		return n, err
	}
	return skip(in, beneath, r.length)
}

func (r *reply) discardChunks(in *bufio.Reader, beneath io.Reader) (total int64, err error) {
	defer func() {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}()
	for {
		line, err := r.line(in)
		if err != nil {
			return total, err
		}
		size, _, _ := bytes.Cut(line, []byte(";")) // extensions mean nothing here (RFC 9112 §7.1.1)
		n, err := strconv.ParseUint(string(bytes.TrimRight(size, " \t")), 16, 62)
		if err != nil {
			return total, fmt.Errorf("%w: size %q", errChunk, clip(line))
		}
		if n == 0 {
			return total, r.trailers(in)
		}
		got, err := skip(in, beneath, int64(n))
		if total += got; err != nil {
			return total, err
		}
		if line, err = r.line(in); err != nil {
			return total, err
		}
		if len(line) != 0 {
			return total, fmt.Errorf("%w: it is longer than it says", errChunk)
		}
	}
}

func (r *reply) trailers(in *bufio.Reader) error {
	for {
		line, err := r.line(in)
		if err != nil || len(line) == 0 {
			return err
		}
	}
}

var scratch = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// skip reads and drops n bytes; fewer are an unexpected end.
func skip(in *bufio.Reader, beneath io.Reader, n int64) (done int64, err error) {
	buffered, _ := in.Discard(int(min(int64(in.Buffered()), n)))
	if done = int64(buffered); done == n {
		return done, nil
	}
	buf := scratch.Get().(*[64 << 10]byte)
	defer scratch.Put(buf)
	for done < n {
		got, err := beneath.Read(buf[:min(int64(len(buf)), n-done)])
		done += int64(got)
		if err != nil && done < n {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
	}
	return done, nil
}

// token reports whether b is a field name (RFC 9110 §5.6.2).
func token(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return len(b) > 0
}

func equalFold(b []byte, s string) bool {
	return len(b) == len(s) && strings.EqualFold(string(b), s) // the conversion does not escape: no allocation
}

// option reports whether a list of options has one.
func option(list []byte, want string) bool {
	for len(list) > 0 {
		var one []byte
		one, list, _ = bytes.Cut(list, []byte(","))
		if equalFold(bytes.Trim(one, " \t"), want) {
			return true
		}
	}
	return false
}

// clip shortens what is shown of a reply.
func clip(b []byte) []byte { return b[:min(len(b), 80)] }
