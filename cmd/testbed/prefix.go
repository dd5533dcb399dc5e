// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// lines gives several writers one output: whole lines alone, each behind its writer's name.
type lines struct {
	mu    sync.Mutex
	out   io.Writer
	width int // of the longest name
}

// linesOf is the output of several nodes.
func linesOf(out io.Writer, nodes []inventory.Node) *lines {
	l := &lines{out: out}
	for _, n := range nodes {
		l.width = max(l.width, len(n.Name))
	}
	return l
}

// of returns a writer for the lines of name, which stands before none of them if it is empty; close it to write what has
// no end of line.
func (l *lines) of(name string) io.WriteCloser { return &prefixed{lines: l, name: name} }

type prefixed struct {
	*lines
	name string
	rest []byte // of a line that has not ended
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, b...)
	for {
		i := bytes.IndexByte(p.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if err := p.line(p.rest[:i]); err != nil {
			return 0, err
		}
		p.rest = p.rest[i+1:]
	}
}

func (p *prefixed) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rest) == 0 {
		return nil
	}
	return p.line(p.rest)
}

func (p *prefixed) line(text []byte) error {
	var err error
	if p.name == "" {
		_, err = fmt.Fprintf(p.out, "%s\n", text)
	} else {
		_, err = fmt.Fprintf(p.out, "%-*s | %s\n", p.width, p.name, text)
	}
	return err
}
