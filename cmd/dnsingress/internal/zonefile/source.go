// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"
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
	column  int
	// directive is what is left of a line that begins with $.
	directive []byte
	origin    string // by $ORIGIN
	ttl       string // by $TTL
}

// Read is never used: the parser takes single octets where it can.
func (s *source) Read([]byte) (int, error) {
	return 0, errors.New("zonefile: a source is read by octets")
}

// ReadByte implements io.ByteReader.
func (s *source) ReadByte() (byte, error) {
	c, err := s.next()
	if err != nil {
		s.ended = true
		return 0, err
	}
	s.last = s.line
	s.column++
	if s.column == 1 && c == '$' && s.depth == 0 && !s.quoted {
		rest, _ := s.buffer.ReadString('\n') // its error comes again
		s.directive = []byte(s.obey(rest))
	}
	switch {
	case c == '\n':
		s.line++
		s.column, s.comment, s.escaped = 0, false, false
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

func (s *source) next() (byte, error) {
	if len(s.directive) > 0 {
		c := s.directive[0]
		s.directive = s.directive[1:]
		return c, nil
	}
	return s.buffer.ReadByte()
}

// obey takes note of a directive, given without its $, that holds for the lines below, and returns what the
// parser is to read in its place.
func (s *source) obey(line string) string {
	text, _, _ := strings.Cut(line, ";")
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return line
	}
	switch strings.ToUpper(fields[0]) {
	case "ORIGIN":
		if name := absolute(fields[1], s.origin); validName(name) {
			s.origin = name
		}
	case "TTL":
		if _, ok := seconds(fields[1]); ok {
			s.ttl = fields[1]
		}
	case "GENERATE": // range, owner, [TTL], [class], type, data: the parser does not think of $TTL here
		if len(fields) < 5 || s.ttl == "" {
			break
		}
		for _, f := range fields[3:min(5, len(fields)-1)] {
			if _, explicit := seconds(f); explicit {
				return line
			}
		}
		fields = slices.Insert(fields, 3, s.ttl)
		return strings.Join(fields, " ") + "\n"
	}
	return line
}

func validName(name string) bool {
	_, ok := dns.IsDomainName(name)
	return ok && name != ""
}

// seconds reads the value of $TTL as the parser does: seconds, or numbers with units (1h30m).
func seconds(text string) (uint32, bool) {
	if text == "" || text[0] < '0' || text[0] > '9' {
		return 0, false
	}
	rr, err := dns.NewRR(". " + text + " IN A 192.0.2.1")
	if err != nil || rr == nil {
		return 0, false
	}
	return rr.Header().Ttl, true
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
