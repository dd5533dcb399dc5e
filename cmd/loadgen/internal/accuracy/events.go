// SPDX-License-Identifier: Apache-2.0

package accuracy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/miekg/dns"
)

// Event is a change that somebody else made: a line of a stream of JSON objects.
type Event struct {
	UnixNs int64    `json:"unix_ns"` // when it became true, by a clock that is in step with this machine's
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Data   []string `json:"data"` // all of it; none: the name is gone
}

// parse reads a line and returns the data as Data does.
func (e *Event) parse(line []byte) (qtype uint16, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(e); err != nil {
		return 0, err
	}
	qtype, known := dns.StringToType[e.Type]
	if _, ok := dns.IsDomainName(e.Name); !ok || e.Name == "" || !known || e.UnixNs <= 0 {
		return 0, errors.New(`no change (hint: {"unix_ns":1700000000000000000,"name":"a.apps.test","type":"AAAA","data":["fd00::1"]})`)
	}
	e.Name = dns.CanonicalName(e.Name)
	for i, text := range e.Data {
		if e.Data[i], err = ParseData(qtype, text); err != nil {
			return 0, fmt.Errorf("data %q: %w", text, err)
		}
	}
	return qtype, nil
}

// Stream follows a file of events, or what comes in.
type Stream struct {
	path    string
	in      io.ReadCloser
	watcher *fsnotify.Watcher // of a file that grows; nil: reading waits by itself
	line    int
	buffer  *bufio.Reader
	partial []byte

	index map[stateKey]int
}

// stateKey is a name and a type.
type stateKey struct {
	name  string
	qtype uint16
}

// OpenStream opens the events at path ("-": standard input) and reads those that are there: what is true at the beginning.
// It returns what they tell of, in the order in which they first do.
func OpenStream(path string, stdin io.ReadCloser) (s *Stream, names []Change, err error) {
	s = &Stream{path: path, in: stdin, index: map[stateKey]int{}}
	if path == "-" {
		s.path = "standard input"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, fmt.Errorf("reading events: %w", err)
		}
		s.in = f
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			if s.watcher, err = fsnotify.NewWatcher(); err == nil {
				err = s.watcher.Add(path)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("watching %s: %w", path, err)
			}
		}
	}
	s.buffer = bufio.NewReaderSize(s.in, 1<<16)
	for {
		b, err := s.next(s.watcher == nil)
		if err == io.EOF || err == nil && b == nil {
			break // an empty line ends what is true at the beginning of a stream that does not end
		}
		if err != nil {
			return nil, nil, errors.Join(err, s.Close())
		}
		var e Event
		qtype, err := e.parse(b)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s:%d:1: %w", s.path, s.line, err), s.Close())
		}
		k := stateKey{e.Name, qtype}
		at, known := s.index[k]
		if !known {
			at = len(names)
			s.index[k] = at
			names = append(names, Change{Name: e.Name, Type: qtype})
		}
		names[at].Data = e.Data
	}
	if len(names) == 0 {
		return nil, nil, errors.Join(fmt.Errorf("%s tells of no name (hint: it begins with what is true, an event a name; behind them, where it does not end, an empty line)", s.path), s.Close())
	}
	return s, names, nil
}

// next returns the next line without its end: nil for an empty one, io.EOF when there is no more yet.
func (s *Stream) next(blocks bool) ([]byte, error) {
	for {
		b, err := s.buffer.ReadBytes('\n')
		s.partial = append(s.partial, b...)
		if err == io.EOF && (!blocks || len(s.partial) == 0) {
			return nil, io.EOF // a line that is not whole yet is kept
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("reading %s: %w", s.path, err)
		}
		line := bytes.TrimSpace(s.partial)
		s.partial = s.partial[:0]
		s.line++
		if len(line) == 0 {
			if blocks {
				return nil, nil
			}
			continue
		}
		if line[0] != '#' {
			return bytes.Clone(line), nil
		}
	}
}

// Follow tells the truth of every further event until ctx ends or the stream does. Events of names that were not told of at
// the beginning are counted, and nothing else.
func (s *Stream) Follow(ctx context.Context, t *Truth) (others int, err error) {
	stop := context.AfterFunc(ctx, func() {
		if s.watcher == nil {
			_ = s.in.Close()
		}
	})
	defer stop()
	for {
		b, err := s.next(false)
		switch {
		case ctx.Err() != nil:
			return others, nil
		case err == io.EOF && s.watcher == nil:
			return others, nil
		case err == io.EOF:
			select {
			case <-s.watcher.Events:
			case err := <-s.watcher.Errors:
				return others, fmt.Errorf("watching %s: %w", s.path, err)
			case <-ctx.Done():
				return others, nil
			}
			continue
		case err != nil:
			return others, err
		}
		var e Event
		qtype, err := e.parse(b)
		if err != nil {
			return others, fmt.Errorf("%s:%d:1: %w", s.path, s.line, err)
		}
		at, known := s.index[stateKey{e.Name, qtype}]
		if !known {
			others++
			continue
		}
		when := time.Unix(0, e.UnixNs)
		t.Begin(at, e.Data, when)
		t.Done(at, when)
	}
}

// Close ends the stream.
func (s *Stream) Close() error {
	if s.watcher != nil {
		_ = s.watcher.Close()
	}
	return s.in.Close()
}

// Deferred judges answers a while after they came, so that events that come late are known by then.
type Deferred struct {
	truth *Truth
	delay time.Duration
	queue chan Answer
	done  chan struct{}
}

// Defer returns a Deferred with room for so many answers; more wait.
func Defer(t *Truth, delay time.Duration, room int) *Deferred {
	d := &Deferred{truth: t, delay: delay, queue: make(chan Answer, room), done: make(chan struct{})}
	go func() {
		defer close(d.done)
		for a := range d.queue {
			time.Sleep(time.Until(a.Received.Add(d.delay)))
			d.truth.Judge(a)
		}
	}()
	return d
}

// Judge takes an answer.
func (d *Deferred) Judge(a Answer) { d.queue <- a }

// Close waits until every answer is judged.
func (d *Deferred) Close() {
	close(d.queue)
	<-d.done
}
