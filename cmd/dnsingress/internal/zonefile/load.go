// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/miekg/dns"
)

// mostErrors is how many errors one reading reports.
const mostErrors = 100

// Error is one error in a zone file.
type Error struct {
	Path         string
	Line, Column int // from 1; 0: unknown
	Err          error
}

func (e *Error) Error() string {
	at := e.Path
	for _, n := range []int{e.Line, e.Column} {
		if n == 0 {
			break
		}
		at += ":" + strconv.Itoa(n)
	}
	return at + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Errors are all errors of a zone file, in the order of the file.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads the zone in a file. Its origin is the owner of its SOA; relative names before any $ORIGIN belong
// to origin, which can be empty where there are none. It returns the zone and the files that it was read from,
// which there are also with an error. The error is Errors, or that of opening the file.
func Load(path, origin string) (*zone.Zone, files.Seen, error) {
	return (&loader{origin: origin, read: files.Seen{}}).load(path, origin)
}

func (l *loader) load(path, origin string) (*zone.Zone, files.Seen, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the zone file: %w", err)
	}
	defer l.close()
	if origin != "" {
		if _, ok := dns.IsDomainName(origin); !ok {
			return nil, nil, fmt.Errorf("origin %q is no domain name", origin)
		}
		l.origin = dns.Fqdn(origin)
	}
	if err := l.open(path); err != nil {
		return nil, l.read, fmt.Errorf("reading the zone file: %w", err)
	}
	l.sources[0].origin = l.origin
	l.parse()
	z := l.finish()
	slices.SortStableFunc(l.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(slices.Index(l.paths, a.Path), slices.Index(l.paths, b.Path)), cmp.Compare(a.Line, b.Line))
	})
	if len(l.errs) > 0 {
		return nil, l.read, l.errs
	}
	return z, l.read, nil
}

// loader reads one zone.
type loader struct {
	origin  string
	sources []*source // the open files, the innermost include last
	paths   []string  // of the files, in the order of their opening
	read    files.Seen
	errs    Errors

	builder *zone.Builder // from the SOA on
	early   []early       // what came before it
	owner   owner         // of the last record
	last    place         // of the last record
	line    quick
	options *options // nil: comments are for people
	slow    bool     // leave every entry to the parser: what reading quickly is compared with
}

type place struct {
	path string
	line int
}

type early struct {
	rr      dns.RR
	comment string
	at      place
}

// deepest is how many files can include one another; errDepth says that one more wants to.
const deepest = 8

var errDepth = errors.New("too deeply nested $INCLUDE")

// open makes a file the innermost.
func (l *loader) open(path string) error {
	if _, again := l.read[path]; !again {
		l.read.Note(path)
	}
	if len(l.sources) == deepest {
		return errDepth
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return fmt.Errorf("%s is a directory", path)
	}
	l.paths = append(l.paths, path)
	s := &source{path: path, file: f, buffer: bufio.NewReaderSize(f, 1<<16), line: 1, begun: 1, resume: l.owner.text()}
	if n := len(l.sources); n > 0 {
		s.origin, s.usual = l.sources[n-1].origin, l.sources[n-1].usual
	}
	l.sources = append(l.sources, s)
	return nil
}

func (l *loader) close() {
	for _, s := range l.sources {
		s.file.Close()
	}
}

// current returns the innermost file that has not been read to its end, or nil.
func (l *loader) current() *source {
	for n := len(l.sources); n > 0; n-- {
		s := l.sources[n-1]
		if !s.ended {
			return s
		}
		s.file.Close()
		l.sources = l.sources[:n-1]
		if n > 1 && s.resume != "" {
			l.flush()
			l.owner.set(s.resume)
		}
	}
	return nil
}

// parse reads everything: lines of the commonest shape by itself, every other entry by a parser of its own.
func (l *loader) parse() {
	for s := l.current(); s != nil && len(l.errs) < mostErrors; s = l.current() {
		l.quick(s)
		l.entry(s)
	}
}

// entry reads the next entry of any shape, and others behind it that are not for quick.
func (l *loader) entry(s *source) {
	s.begin()
	p := dns.NewZoneParser(s, s.origin, s.path)
	p.SetIncludeAllowed(true)
	p.SetIncludeFS(includes{l.open})
	p.SetDefaultTTL(s.usual.orUnstated())
	marked := false
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		h := rr.Header()
		if inner := l.sources[len(l.sources)-1]; inner != s { // rr is the marker of what is included
			inner.origin, marked = h.Name, true
			continue
		}
		at := place{s.path, s.last}
		if !s.usual.known && h.Ttl == unstated {
			soa, ok := rr.(*dns.SOA)
			if !ok {
				l.fault(at, errors.New("there is no TTL (hint: $TTL above it is that of all records that state none)"))
				if s.directed {
					return // a $GENERATE, all of which are so
				}
				continue
			}
			// As BIND takes it, and it was the use of the field before RFC 2308.
			h.Ttl, s.usual = soa.Minttl, usual{soa.Minttl, true, true}
			p.SetDefaultTTL(soa.Minttl)
		}
		ttl := h.Ttl
		if !s.directed {
			s.usual.stated(ttl)
		}
		l.add(rr, p.Comment(), at)
		if len(l.errs) >= mostErrors {
			return
		}
		if s.over && !s.directed {
			// The parser can go on if it knows what the next entry can refer to: its own last owner, and the usual TTL,
			// which it takes to be the last that was stated.
			if s.usual.directive && ttl != s.usual.ttl || l.quick(s) > 0 {
				return
			}
			s.over = false
		}
	}
	err := p.Err()
	if inner := l.sources[len(l.sources)-1]; inner != s && !marked && s.origin == "" {
		inner.origin, err = "", nil // the marker's error: no origin is no error before a relative name
	}
	if err == nil {
		return
	}
	l.syntax(s, err)
	s.skip()
	if bad := l.errs[len(l.errs)-1].Line; s.ended && s.line > bad { // a quote that is not closed took the rest
		if err := l.reopen(s, bad+1); err != nil {
			l.errs = append(l.errs, &Error{Path: s.path, Err: err})
		}
	}
}

// reopen puts a source at the beginning of a line. What directives above it say is known already.
func (l *loader) reopen(s *source, line int) error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	s.file.Close()
	*s = source{path: s.path, file: f, buffer: bufio.NewReaderSize(f, 1<<16), line: 1, origin: s.origin, usual: s.usual, resume: s.resume}
	for s.line < line {
		switch _, err := s.buffer.ReadSlice('\n'); {
		case err == nil:
			s.line++
		case !errors.Is(err, bufio.ErrBufferFull):
			s.ended = true
			return nil // the end of the file: a read error comes again
		}
	}
	return nil
}

// syntax reports an error of the parser, which counts lines from where it began.
func (l *loader) syntax(s *source, err error) {
	e := &Error{Path: s.path, Line: s.last, Err: err}
	text := err.Error()
	if _, rest, ok := strings.Cut(text, "dns: "); ok {
		text = rest
	}
	if i := strings.LastIndex(text, " at line: "); i >= 0 {
		line, column, _ := strings.Cut(text[i+len(" at line: "):], ":")
		n, errLine := strconv.Atoi(line)
		c, errColumn := strconv.Atoi(column)
		if errLine == nil && errColumn == nil && n > 0 { // 0: at the end of the file, where it has lost count
			e.Line, e.Column = s.begun+n-1, c
		}
		text = text[:i]
	}
	if missing := (*fs.PathError)(nil); errors.As(err, &missing) {
		text = fmt.Sprintf("including a file: %v", missing)
	} else if errors.Is(err, errDepth) {
		text = errDepth.Error()
	}
	e.Err = errors.New(text)
	if s.origin == "" && strings.Contains(text, "bad owner name") {
		e.Err = fmt.Errorf("%s (hint: a relative name needs $ORIGIN above it, or --origin)", text)
	}
	l.errs = append(l.errs, e)
}

func (l *loader) add(rr dns.RR, comment string, at place) {
	h := rr.Header()
	if h.Name == "" {
		h.Name = l.owner.text()
	}
	if l.builder == nil {
		if h.Rrtype != dns.TypeSOA {
			l.early = append(l.early, early{dns.Copy(rr), comment, at})
			l.owner.set(h.Name)
			return
		}
		b, err := zone.NewBuilder(h.Name)
		if err != nil {
			l.fault(at, err)
			return
		}
		l.builder = b
		for _, e := range l.early {
			l.put(e.rr, e.comment, e.at)
		}
		l.early = nil
	}
	l.put(rr, comment, at)
}

func (l *loader) put(rr dns.RR, comment string, at place) {
	owner, ttl := rr.Header().Name, rr.Header().Ttl
	l.line.name = appendPacked(l.line.name[:0], owner)
	if _, err := l.builder.Owner(l.line.name); err != nil {
		l.fault(l.last, err)
	}
	if ttl > math.MaxInt32 {
		l.fault(at, fmt.Errorf("%s: a TTL of %d exceeds %d seconds (RFC 2181 §8)", owner, ttl, math.MaxInt32))
	} else if taken, err := l.options.take(rr, comment, at); taken {
		if err != nil {
			l.fault(at, fmt.Errorf("%s: %w", owner, err))
		}
	} else if err := l.builder.Add(rr); err != nil {
		l.fault(at, err)
	}
	l.owner.set(owner)
	l.last = at
}

// flush ends the records of one owner, so that what is wrong with them is reported at the last of them.
func (l *loader) flush() {
	if l.builder == nil {
		return
	}
	if err := l.builder.Flush(); err != nil {
		l.fault(l.last, err)
	}
}

// fault reports everything that is wrong with the records that end at a place.
func (l *loader) fault(at place, err error) {
	for _, line := range strings.Split(err.Error(), "\n") {
		l.errs = append(l.errs, &Error{Path: at.path, Line: at.line, Err: errors.New(line)})
	}
}

func (l *loader) finish() *zone.Zone {
	path := l.paths[0]
	if l.builder == nil {
		if len(l.errs) == 0 {
			l.errs = append(l.errs, &Error{Path: path, Err: errors.New("there is no SOA record (hint: a zone file holds one zone, its SOA first)")})
		}
		return nil
	}
	l.flush()
	l.options.put(l.builder, l.fault)
	if len(l.errs) > 0 {
		return nil
	}
	z, err := l.builder.Zone()
	if err != nil {
		l.fault(place{path: path}, err)
		return nil
	}
	return z
}
