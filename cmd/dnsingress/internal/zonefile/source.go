// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"strings"
)

// source is one open file: the zone file or one that it includes. It knows where the parser is, and enough of
// the syntax to find the end of an entry that the parser gave up on.
type source struct {
	path   string
	buffer *bufio.Reader
	ended  bool

	line    int  // of the next octet
	last    int  // of the last octet read
	begun   int  // line that the current parser began at
	depth   int  // of parentheses
	quoted  bool // within a quoted string
	comment bool
	escaped bool
	// text is the current line as far as it has been read, if it is a directive.
	text   []byte
	column int
	origin string // by $ORIGIN
	ttl    string // by $TTL
}

// Read is never used: the parser takes single octets where it can.
func (s *source) Read([]byte) (int, error) {
	return 0, errors.New("zonefile: a source is read by octets")
}

// ReadByte implements io.ByteReader.
func (s *source) ReadByte() (byte, error) {
	c, err := s.buffer.ReadByte()
	if err != nil {
		s.ended = true
		return 0, err
	}
	s.last = s.line
	s.column++
	if s.column == 1 && c == '$' || len(s.text) > 0 && c != '\n' {
		s.text = append(s.text, c)
	}
	switch {
	case c == '\n':
		s.line++
		s.directive()
		s.text, s.column, s.comment, s.escaped = s.text[:0], 0, false, false
	case s.escaped:
		s.escaped = false
	case s.comment:
	case c == '\\':
		s.escaped = true
	case c == '"':
		s.quoted = !s.quoted
	case s.quoted:
	case c == ';':
		s.comment = true
	case c == '(':
		s.depth++
	case c == ')' && s.depth > 0:
		s.depth--
	}
	return c, nil
}

// directive remembers the directives that hold for the lines below.
func (s *source) directive() {
	text, _, _ := strings.Cut(string(s.text), ";")
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return
	}
	switch strings.ToUpper(fields[0]) {
	case "$ORIGIN":
		s.origin = absolute(fields[1], s.origin)
	case "$TTL":
		s.ttl = fields[1]
	}
}

func absolute(name, origin string) string {
	switch {
	case name == "@":
		return origin
	case strings.HasSuffix(name, "."):
		return name
	case origin == ".":
		return name + "."
	default:
		return name + "." + origin
	}
}

// skip reads to the end of the entry that an error was found in.
func (s *source) skip() {
	if s.column == 0 && s.depth == 0 && !s.quoted {
		return // the newline was read already
	}
	for {
		c, err := s.ReadByte()
		if err != nil {
			return
		}
		if c == '\n' {
			s.quoted = false // a string that is not closed ends with its line here
			if s.depth == 0 {
				return
			}
		}
	}
}

// Close implements io.Closer. The parser closes what it has had an error in, so this keeps the file open.
func (s *source) Close() error { return nil }

// includes opens files for $INCLUDE. It is an fs.FS whose names are absolute paths without the first slash.
type includes struct {
	open func(path string) (*source, error)
}

// Open implements fs.FS.
func (i includes) Open(name string) (fs.File, error) {
	s, err := i.open("/" + name)
	if err != nil {
		return nil, err
	}
	return included{s}, nil
}

// included is a source in the shape that fs.FS wants.
type included struct{ *source }

// Stat implements fs.File.
func (f included) Stat() (fs.FileInfo, error) { return os.Stat(f.path) }
