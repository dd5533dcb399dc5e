// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// largestValue bounds one JSON value that must be held whole, such as the labels of a series, in bytes.
const largestValue = 1 << 20

// scanner reads JSON values off a stream, through a window that is moved along it: 100,000 series are ten megabytes
// of text, of which nothing is kept but numbers. What its methods return is valid until the next call.
type scanner struct {
	from    io.Reader
	window  []byte
	at, end int // window[at:end] has been read and not been taken
	limit   int // bytes that may still be read
	last    error
}

func newScanner(r io.Reader, limit int) *scanner {
	return &scanner{from: r, window: make([]byte, 64<<10), limit: limit}
}

// more reads on, keeping what has not been taken.
func (s *scanner) more() error {
	if s.last != nil {
		return s.last
	}
	if s.at > 0 {
		s.end = copy(s.window, s.window[s.at:s.end])
		s.at = 0
	}
	if s.end == len(s.window) {
		if s.end >= largestValue {
			return fmt.Errorf("a value is longer than %d bytes", largestValue)
		}
		s.window = append(s.window, make([]byte, len(s.window))...)
	}
	n, err := s.from.Read(s.window[s.end:])
	s.end += n
	if s.limit -= n; s.limit < 0 {
		err = errors.New("the response is too large (hint: aggregate to one series a pod, as in sum by (namespace, pod) (...))")
		s.last = err
		return err
	}
	switch {
	case errors.Is(err, io.EOF):
		s.last = io.ErrUnexpectedEOF
	case err != nil:
		s.last = err
	}
	if n == 0 && s.last != nil {
		return s.last
	}
	return nil
}

// peek skips white space and returns the byte behind it.
func (s *scanner) peek() (byte, error) {
	for {
		for ; s.at < s.end; s.at++ {
			switch c := s.window[s.at]; c {
			case ' ', '\t', '\n', '\r':
			default:
				return c, nil
			}
		}
		if err := s.more(); err != nil {
			return 0, err
		}
	}
}

// expect takes c.
func (s *scanner) expect(c byte) error {
	got, err := s.peek()
	if err != nil {
		return err
	}
	if got != c {
		return fmt.Errorf("%q where %q should be", got, c)
	}
	s.at++
	return nil
}

// each takes the members of an object or the elements of an array up to its end; do takes one of them.
func (s *scanner) each(open, shut byte, do func() error) error {
	if err := s.expect(open); err != nil {
		return err
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == shut {
		s.at++
		return nil
	}
	for {
		if err := do(); err != nil {
			return err
		}
		c, err := s.peek()
		if err != nil {
			return err
		}
		s.at++
		switch c {
		case shut:
			return nil
		case ',':
		default:
			return fmt.Errorf("%q where ',' or %q should be", c, shut)
		}
	}
}

// object takes an object; do takes the value of the key that it is given.
func (s *scanner) object(do func(key string) error) error {
	return s.each('{', '}', func() error {
		key, err := s.text()
		if err != nil {
			return err
		}
		name := internKey(key)
		if err := s.expect(':'); err != nil {
			return err
		}
		return do(name)
	})
}

// internKey is string(key) that allocates nothing for the keys that come 100,000 times.
func internKey(key []byte) string {
	switch string(key) {
	case "metric":
		return "metric"
	case "value":
		return "value"
	case "values":
		return "values"
	}
	return string(key)
}

// raw takes a whole value as it is written.
func (s *scanner) raw() ([]byte, error) {
	if _, err := s.peek(); err != nil {
		return nil, err
	}
	depth := 0
	for i := 0; ; {
		if s.at+i == s.end {
			if err := s.more(); err != nil {
				return nil, err
			}
			continue
		}
		switch s.window[s.at+i] {
		case '"':
			after, err := s.quoted(i)
			if err != nil {
				return nil, err
			}
			if i = after; depth == 0 {
				return s.take(i), nil
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return s.scalar(i)
			}
			if depth--; depth == 0 {
				return s.take(i + 1), nil
			}
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return s.scalar(i)
			}
		}
		i++
	}
}

// scalar takes a number or a literal of n bytes.
func (s *scanner) scalar(n int) ([]byte, error) {
	if n == 0 {
		return nil, fmt.Errorf("%q where a value should be", s.window[s.at])
	}
	return s.take(n), nil
}

func (s *scanner) take(n int) []byte {
	v := s.window[s.at : s.at+n]
	s.at += n
	return v
}

// quoted returns the offset behind the string whose quote is at offset i.
func (s *scanner) quoted(i int) (int, error) {
	i++
	for {
		text := s.window[s.at+i : s.end]
		n := bytes.IndexByte(text, '"')
		if n < 0 {
			n = len(text)
		}
		// A backslash before the quote: go on behind what it escapes.
		if e := bytes.IndexByte(text[:n], '\\'); e >= 0 && e+1 < len(text) {
			i += e + 2
			continue
		} else if e < 0 && n < len(text) {
			return i + n + 1, nil
		} else if e < 0 {
			i += n
		} else {
			i += e
		}
		if err := s.more(); err != nil {
			return 0, err
		}
	}
}

// text takes a string and returns what it says.
func (s *scanner) text() ([]byte, error) {
	c, err := s.peek()
	if err != nil {
		return nil, err
	}
	if c != '"' {
		return nil, fmt.Errorf("%q where a string should be", c)
	}
	quoted, err := s.raw()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var out string
	if err := json.Unmarshal(quoted, &out); err != nil {
		return nil, err
	}
	return []byte(out), nil
}

// follows takes want if that is what comes next as it is.
func (s *scanner) follows(want string) bool {
	if s.end-s.at < len(want) {
		if _, err := s.peek(); err != nil {
			return false
		}
		for s.end-s.at < len(want) {
			if s.more() != nil {
				return false
			}
		}
	}
	if string(s.window[s.at:s.at+len(want)]) != want {
		return false
	}
	s.at += len(want)
	return true
}
