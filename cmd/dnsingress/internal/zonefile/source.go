// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// source is one open file: the zone file or one that it includes. It knows where the parser is, and enough of
// the syntax to find the end of an entry that the parser gave up on.
type source struct {
	path   string
	file   *os.File
	buffer *bufio.Reader
	ended  bool

	line      int  // of the next octet
	last      int  // of the last octet read
	begun     int  // line of the entry that is being parsed
	over      bool // the entry has been read to its end
	depth     int  // of parentheses
	quoted    bool // within a quoted string
	comment   bool
	escaped   bool
	column    int
	directed  bool   // the entry begins with $
	directive []byte // what is left of its line
	origin    string // by $ORIGIN
	usual     usual  // TTL of records that state none
	// resume is the owner that the including file goes on with.
	resume string
}

// usual is the TTL of a record that does not state it: that of $TTL (RFC 2308 §4), or where there was none the
// minimum of the SOA if it does not state its own, or the last that was stated (RFC 1035 §5.1).
type usual struct {
	ttl              uint32
	known, directive bool
}

// stated takes note of the TTL that a record was given.
func (u *usual) stated(ttl uint32) {
	if !u.directive {
		u.ttl, u.known = ttl, true
	}
}

// unstated stands for the TTL of a record that states none where there is no usual one. No record may state it
// (RFC 2181 §8).
const unstated = 1<<31 | 1035

// orUnstated returns the TTL for the next record that states none.
func (u *usual) orUnstated() uint32 {
	if !u.known {
		return unstated
	}
	return u.ttl
}

// begin makes the source readable up to the end of its next entry.
func (s *source) begin() { s.begun, s.over, s.directed = s.line, false, false }

// peek returns the next line without its newline where it is all in the buffer, to be taken by take.
func (s *source) peek() ([]byte, bool) {
	for _, size := range [2]int{s.buffer.Buffered(), s.buffer.Size()} {
		window, _ := s.buffer.Peek(size)
		if i := bytes.IndexByte(window, '\n'); i >= 0 {
			return window[:i], true
		}
	}
	return nil, false
}

// take drops a line that peek returned.
func (s *source) take(line []byte) {
	_, _ = s.buffer.Discard(len(line) + 1) // it is in the buffer
	s.last = s.line
	s.line++
}

// Read is never used: the parser takes single octets where it can.
func (s *source) Read([]byte) (int, error) {
	return 0, errors.New("zonefile: a source is read by octets")
}

// ReadByte implements io.ByteReader. It ends with the entry.
func (s *source) ReadByte() (byte, error) {
	if s.over {
		return 0, io.EOF
	}
	c, err := s.next()
	if err != nil {
		s.ended = true
		return 0, err
	}
	s.last = s.line
	s.column++
	if s.column == 1 && c == '$' && s.depth == 0 && !s.quoted {
		rest, _ := s.buffer.ReadString('\n') // its error comes again
		s.directed, s.directive = true, []byte(s.obey(rest))
	}
	switch {
	case c == '\n':
		s.line++
		s.column, s.comment, s.escaped = 0, false, false
		s.over = s.depth == 0 && !s.quoted
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
		if ttl, ok := seconds(fields[1]); ok {
			s.usual = usual{ttl, true, true}
		}
	case "GENERATE":
		return timed(line, s.usual.orUnstated())
	}
	return line
}

// timed writes a TTL into a $GENERATE that states none, for the parser does not think of the usual one there: range,
// owner, [TTL], [class], type, data. All else stays as it is.
func timed(line string, ttl uint32) string {
	at := 0
	word := func() string {
		for at < len(line) && strings.IndexByte(" \t()", line[at]) >= 0 {
			at++
		}
		begin := at
		for at < len(line) && strings.IndexByte(" \t()\r\n;\"", line[at]) < 0 {
			if line[at] == '\\' && at+1 < len(line) {
				at++
			}
			at++
		}
		return line[begin:at]
	}
	word()
	word()
	if word() == "" { // the owner
		return line
	}
	behind := at
	next := word()
	if _, class := dns.StringToClass[strings.ToUpper(next)]; class {
		next = word()
	}
	_, explicit := seconds(next)
	if _, rtype := dns.StringToType[strings.ToUpper(next)]; explicit && !rtype || next == "" {
		return line
	}
	return line[:behind] + " " + strconv.FormatUint(uint64(ttl), 10) + line[behind:]
}

func validName(name string) bool {
	_, ok := dns.IsDomainName(name)
	return ok && name != ""
}

// seconds reads a TTL as the parser does: seconds, or numbers with units (1h30m), or units that stand for nothing.
func seconds(text string) (uint32, bool) {
	var sum, n uint64
	for _, c := range []byte(text) {
		unit := uint64(0)
		switch c | 0x20 {
		case 's':
			unit = 1
		case 'm':
			unit = 60
		case 'h':
			unit = 3600
		case 'd':
			unit = 86400
		case 'w':
			unit = 604800
		default:
			if c < '0' || c > '9' {
				return 0, false
			}
			n = n*10 + uint64(c-'0')
			continue
		}
		sum, n = sum+n*unit, 0
	}
	return uint32(sum + n), text != "" && sum+n <= math.MaxUint32
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

// includes opens files for $INCLUDE. It is an fs.FS whose names are absolute paths without the first slash. What
// it opens is read later, by the loader; the parser is given one record instead, whose owner tells the origin that the
// directive gives to the file.
type includes struct {
	open func(path string) error
}

// Open implements fs.FS.
func (i includes) Open(name string) (fs.File, error) {
	if err := i.open("/" + name); err != nil {
		return nil, err
	}
	return marker{strings.NewReader("@ 0 IN A 0.0.0.0\n")}, nil
}

// marker is a text in the shape that fs.FS wants.
type marker struct{ *strings.Reader }

// Stat implements fs.File.
func (marker) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

// Close implements fs.File.
func (marker) Close() error { return nil }
