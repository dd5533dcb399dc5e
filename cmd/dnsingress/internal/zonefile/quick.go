// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"bytes"
	"math"
	"net/netip"
	"unsafe"

	"github.com/miekg/dns"
)

// A large zone file is nearly all lines of one shape: owner, TTL, IN and data of a common type, with nothing quoted
// across lines, escaped or in parentheses. Those are compiled here, straight to wire form. Whatever else there is on a
// line, be it an error, is left to the parser, so this need not tell good from bad, only what it knows from the rest.

// owner is the owner of the last record.
type owner struct {
	name   string // absolute, if there is no token
	token  []byte // as it was written, below origin
	origin string
	ready  bool // the builder has it
}

func (o *owner) set(name string) { o.name, o.token, o.ready = name, o.token[:0], false }

// text returns the absolute name in presentation form, as the parser gives it.
func (o *owner) text() string {
	if len(o.token) > 0 {
		o.set(absolute(string(o.token), o.origin))
	}
	return o.name
}

// quick reads lines.
type quick struct {
	origin string // that below is of
	below  []byte // wire form of origin
	name   []byte // wire form of an owner
	data   []byte // RDATA
}

// quick reads lines as long as they have the common shape, and returns how many.
func (l *loader) quick(s *source) (lines int) {
	if l.builder == nil || l.slow {
		return 0
	}
	q := &l.line
	if q.origin != s.origin || len(q.below) == 0 {
		q.origin, q.below = s.origin, appendPacked(q.below[:0], s.origin)
	}
	for len(l.errs) < mostErrors {
		line, ok := s.peek()
		if !ok || !l.common(s, line) {
			break
		}
		s.take(line)
		lines++
	}
	return lines
}

// common adds the record on a line, if there is one, and tells whether it could.
func (l *loader) common(s *source, line []byte) bool {
	if l.options != nil && bytes.IndexByte(line, ';') >= 0 {
		return false
	}
	q := &l.line
	t := tokens{line: bytes.TrimSuffix(line, []byte{'\r'})}
	var token []byte
	if len(line) > 0 && line[0] != ' ' && line[0] != '\t' {
		token = t.next()
		if len(token) == 0 {
			return t.empty() // a comment, or nothing
		}
		if token[0] == '$' {
			return false
		}
	}
	word := t.next()
	if len(word) == 0 {
		return len(token) == 0 && t.empty()
	}
	ttl, stated, class := s.usual.ttl, false, false
	rtype := typeOf(word)
	for ; rtype == dns.TypeNone; rtype = typeOf(word) {
		switch {
		case !class && len(word) == 2 && word[0]|0x20 == 'i' && word[1]|0x20 == 'n':
			class = true
		case !stated:
			if ttl, stated = number(word, math.MaxInt32); !stated {
				return false
			}
		default:
			return false
		}
		if word = t.next(); len(word) == 0 {
			return false
		}
	}
	if !stated && !s.usual.known {
		return false
	}
	if q.data = q.rdata(q.data[:0], rtype, &t); len(q.data) == 0 || !t.empty() {
		return false
	}
	if !l.owned(s, token) {
		return false
	}
	if stated {
		s.usual.stated(ttl)
	}
	l.builder.AddWire(rtype, ttl, q.data)
	l.last = place{s.path, s.line}
	return true
}

// owned makes the owner with a token, or the last one if there is none, that of the next record, and tells whether it
// is a good one.
func (l *loader) owned(s *source, token []byte) bool {
	q, o := &l.line, &l.owner
	if o.ready && (len(token) == 0 || bytes.Equal(token, o.token) && o.origin == s.origin) {
		return true
	}
	if len(token) > 0 {
		q.name = q.append(q.name[:0], token)
	} else {
		q.name = appendPacked(q.name[:0], o.text())
	}
	if len(q.name) == 0 {
		return false
	}
	inside, err := l.builder.Owner(q.name)
	if err != nil {
		l.fault(l.last, err)
	}
	if !inside {
		return false
	}
	if len(token) > 0 {
		o.token, o.origin = append(o.token[:0], token...), s.origin
	}
	o.ready = true
	return true
}

// rdata appends the data of a record of a common type, or returns what is empty.
func (q *quick) rdata(to []byte, rtype uint16, t *tokens) []byte {
	switch rtype {
	case dns.TypeA, dns.TypeAAAA:
		word := t.next()
		a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(word), len(word)))
		if err != nil || a.Zone() != "" || a.Is4() != (rtype == dns.TypeA) {
			return nil
		}
		if a.Is4() {
			b := a.As4()
			return append(to, b[:]...)
		}
		b := a.As16()
		return append(to, b[:]...)
	case dns.TypeTXT:
		return t.strings(to)
	case dns.TypeMX, dns.TypeSRV:
		numbers := 1
		if rtype == dns.TypeSRV {
			numbers = 3
		}
		for range numbers {
			n, ok := number(t.next(), 1<<16-1)
			if !ok {
				return nil
			}
			to = append(to, byte(n>>8), byte(n))
		}
	}
	return q.append(to, t.next())
}

// append appends a name as it is written, in wire form, or returns what is empty.
func (q *quick) append(to, token []byte) []byte {
	begin := len(to)
	switch {
	case len(token) == 0:
		return nil
	case len(token) == 1 && token[0] == '@':
		if len(q.below) == 0 {
			return nil
		}
		return append(to, q.below...)
	case len(token) == 1 && token[0] == '.':
		return append(to, 0)
	}
	to = append(to, 0)
	label := begin
	for i, c := range token {
		if c != '.' {
			to = append(to, c)
			continue
		}
		length := len(to) - label - 1
		if length == 0 || length > 63 {
			return nil
		}
		to[label] = byte(length)
		label = len(to)
		if to = append(to, 0); i == len(token)-1 {
			break
		}
	}
	if length := len(to) - label - 1; length > 0 { // no dot at its end
		if length > 63 || len(q.below) == 0 {
			return nil
		}
		to[label] = byte(length)
		to = append(to, q.below...)
	}
	if len(to)-begin > 255 {
		return nil
	}
	return to
}

// appendPacked appends the wire form of an absolute name, or returns what is empty.
func appendPacked(to []byte, name string) []byte {
	var wire [256]byte
	n, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil || name == "" {
		return nil
	}
	return append(to, wire[:n]...)
}

// typeOf returns the type that a word names if its data can be read here, else TypeNone.
func typeOf(word []byte) uint16 {
	var upper [5]byte
	if len(word) > len(upper) {
		return dns.TypeNone
	}
	for i, c := range word {
		if c >= 'a' && c <= 'z' {
			c &^= 0x20
		}
		upper[i] = c
	}
	switch string(upper[:len(word)]) {
	case "A":
		return dns.TypeA
	case "AAAA":
		return dns.TypeAAAA
	case "NS":
		return dns.TypeNS
	case "CNAME":
		return dns.TypeCNAME
	case "PTR":
		return dns.TypePTR
	case "MX":
		return dns.TypeMX
	case "SRV":
		return dns.TypeSRV
	case "TXT":
		return dns.TypeTXT
	}
	return dns.TypeNone
}

// number reads decimal digits.
func number(word []byte, most uint64) (uint32, bool) {
	if len(word) == 0 || len(word) > 10 {
		return 0, false
	}
	n := uint64(0)
	for _, c := range word {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return uint32(n), n <= most
}

// tokens are the words of a line.
type tokens struct {
	line []byte
	at   int
}

// blanks skips what separates words.
func (t *tokens) blanks() {
	for t.at < len(t.line) && (t.line[t.at] == ' ' || t.line[t.at] == '\t') {
		t.at++
	}
}

// next returns the next word. It is empty at the end, and before whatever is not plain.
func (t *tokens) next() []byte {
	t.blanks()
	begin := t.at
	for ; t.at < len(t.line); t.at++ {
		switch c := t.line[t.at]; {
		case c == ' ' || c == '\t' || c == ';':
			return t.line[begin:t.at]
		case c < '!' || c > '~' || c == '"' || c == '\\' || c == '(' || c == ')':
			t.at = begin
			return nil
		}
	}
	return t.line[begin:]
}

// empty tells whether nothing but a comment is left.
func (t *tokens) empty() bool {
	t.blanks()
	return t.at == len(t.line) || t.line[t.at] == ';'
}

// strings appends the quoted strings that are left, each with its length, or returns what is empty.
func (t *tokens) strings(to []byte) []byte {
	for !t.empty() {
		if t.line[t.at] != '"' {
			return nil
		}
		begin := t.at + 1
		for t.at = begin; t.at < len(t.line) && t.line[t.at] != '"'; t.at++ {
			if c := t.line[t.at]; c < ' ' || c > '~' || c == '\\' {
				return nil
			}
		}
		text := t.line[begin:t.at]
		if t.at == len(t.line) || len(text) > 255 {
			return nil
		}
		if t.at++; t.at < len(t.line) && t.line[t.at] != ' ' && t.line[t.at] != '\t' {
			return nil
		}
		to = append(append(to, byte(len(text))), text...)
	}
	return to
}
