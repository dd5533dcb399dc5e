// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing wrong with a file.
type Problem struct {
	File         string
	Line, Column int    // from 1
	Path         string // e.g. load.rate or trials[1].fault; empty for the whole file
	Text         string
	Hint         string // may be empty
}

func (p Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString(" (hint: " + p.Hint + ")")
	}
	return b.String()
}

// File is a file, or one document of a file, that was read: where its values stand and what is wrong with it.
type File struct {
	name     string
	source   []byte
	root     *yaml.Node
	manifest bool // what the API server reads, as it reads it
	problems []Problem
	unread   int // so many of the problems are of values that could not be read, or that nobody knows
	unknown  int // keys that nobody knows
}

// Decode reads data, a file called name that holds one document, into v, a pointer to a struct. Keys are the fields'
// yaml tags, else their json tags. Values that are in order are set even if others are not, so that the caller can
// check them too before it asks for Err.
func Decode(name string, data []byte, v any) *File {
	f := &File{name: name, source: data}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		f.add(nil, "", "the file is empty", "")
		return f
	case err != nil:
		f.addSyntax(err, data, 0)
		return f
	}
	f.root = doc.Content[0]
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		f.add(&second, "", "a second document", "one document a file")
	} else if !errors.Is(err, io.EOF) {
		f.addSyntax(err, data, 0)
	}
	f.Decode(v)
	return f
}

// Decode reads the document into v, as the function Decode does.
func (f *File) Decode(v any) {
	if f.root != nil {
		f.value(f.root, "", reflect.ValueOf(v).Elem())
		f.unread = len(f.problems)
	}
}

// Problem notes that the value at path is wrong. A path that is not in the file is reported at
// the nearest parent that is. Of a file that is no YAML, and of a value that could not be read,
// nothing more is said than that.
func (f *File) Problem(path, hint, format string, a ...any) {
	if f.root == nil || slices.ContainsFunc(f.problems[:f.unread], func(p Problem) bool { return p.Path == path }) {
		return
	}
	f.add(f.find(path), path, fmt.Sprintf(format, a...), hint)
}

// ProblemWithin is Problem for the byte at offset of the text at path.
func (f *File) ProblemWithin(path string, offset int, hint, format string, a ...any) {
	before := len(f.problems)
	f.Problem(path, hint, format, a...)
	if n, whole := f.lookup(path); whole && len(f.problems) > before {
		p := &f.problems[before]
		p.Line, p.Column = f.within(n, offset)
	}
}

// Wrong reports whether something at path or below it is wrong, as far as is known.
func (f *File) Wrong(path string) bool {
	return slices.ContainsFunc(f.problems, func(p Problem) bool {
		rest, below := strings.CutPrefix(p.Path, path)
		return below && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// within is the place of the byte at offset of the text n: exact for texts of one line without escapes and for
// literal blocks, else where the text begins.
func (f *File) within(n *yaml.Node, offset int) (line, column int) {
	offset = min(max(offset, 0), len(strings.TrimRight(n.Value, "\n")))
	before := n.Value[:offset]
	down, across := strings.Count(before, "\n"), offset-strings.LastIndexByte(before, '\n')-1
	lines := bytes.Split(f.source, []byte("\n"))
	line, column = n.Line, n.Column
	switch n.Style {
	case yaml.LiteralStyle:
		line += 1 + down
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		column++
	case yaml.FoldedStyle:
		return n.Line, n.Column
	}
	if line > len(lines) {
		return n.Line, n.Column
	}
	text := string(bytes.TrimRight(lines[line-1], "\r"))
	if n.Style == yaml.LiteralStyle {
		want, _, _ := strings.Cut(n.Value[offset-across:], "\n")
		indent, ok := strings.CutSuffix(text, want)
		if !ok {
			return n.Line, n.Column
		}
		return line, len(indent) + across + 1
	}
	if column-1 > len(text) || !strings.HasPrefix(text[column-1:], before) {
		return n.Line, n.Column
	}
	return line, column + across
}

// Has reports whether the file gives a value at path.
func (f *File) Has(path string) bool {
	n, whole := f.lookup(path)
	return n != nil && whole
}

// Err returns all problems in the order of the file, joined, or nil.
// Each is a Problem for errors.As.
func (f *File) Err() error {
	slices.SortStableFunc(f.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, len(f.problems))
	for i, p := range f.problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

func (f *File) add(n *yaml.Node, path, text, hint string) {
	p := Problem{File: f.name, Line: 1, Column: 1, Path: path, Text: text, Hint: hint}
	if n != nil && n.Line > 0 {
		p.Line, p.Column = n.Line, max(n.Column, 1)
	}
	f.problems = append(f.problems, p)
}

var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// addSyntax turns the library's "yaml: line 3: text" about source, in front of which the file has so many lines, into a
// problem. The library's line is that at which the block began that cannot be read; here it is the one that cannot.
func (f *File) addSyntax(err error, source []byte, before int) {
	p := Problem{File: f.name, Line: 1, Column: 1, Text: err.Error(), Hint: "the file is no YAML"}
	if m := syntaxError.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0]); m != nil {
		p.Text = m[2]
	}
	lines := bytes.SplitAfter(source, []byte("\n"))
	at := unreadable(lines)
	if text := bytes.TrimRight(lines[at], "\r\n"); len(text) > 0 {
		p.Column = 1 + len(text) - len(bytes.TrimLeft(text, " "))
		if m := unquoted.FindSubmatchIndex(text); m != nil {
			p.Column = m[2] + 1
			p.Hint = fmt.Sprintf("in quotation marks: %q", text[m[2]:m[3]])
		}
	}
	p.Line += before + at
	f.problems = append(f.problems, p)
}

// A value that begins with what means something to YAML.
var unquoted = regexp.MustCompile(`^[ ]*(?:- +)*(?:[^\s:"'{}\[\]]+:[ ]+)?([{*&!%@` + "`" + `][^#"']*[^#"'\s,])\s*$`)

// unreadable is the index of the line up to which a document that is no YAML could have been one: no beginning of it that
// holds this line is YAML. What is longer than patience lines and not finished is taken for a mistake at its beginning.
func unreadable(lines [][]byte) int {
	const patience = 20
	good := func(n int) bool { // some beginning of n lines, or of a few more, is YAML
		for end := n; end <= min(n+patience, len(lines)-1); end++ {
			var err error
			for dec := yaml.NewDecoder(bytes.NewReader(bytes.Join(lines[:end], nil))); err == nil; {
				err = dec.Decode(&yaml.Node{})
			}
			if errors.Is(err, io.EOF) {
				return true
			}
		}
		return false
	}
	n := sort.Search(len(lines), func(n int) bool { return !good(n) })
	return max(n-1, 0)
}

func (f *File) find(path string) *yaml.Node {
	n, _ := f.lookup(path)
	return n
}

// lookup follows path as far as the file goes; whole tells whether that is all of it.
func (f *File) lookup(path string) (n *yaml.Node, whole bool) {
	n = f.root
	if n == nil {
		return nil, false
	}
	for step := range steps(path) {
		next := child(n, step)
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

// steps gives the keys and indices of a path such as hosts[0].labels["a.b"].
func steps(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := path; rest != ""; {
			var step string
			if quoted, ok := strings.CutPrefix(rest, `["`); ok {
				step, rest, _ = strings.Cut(quoted, `"]`)
			} else {
				rest = strings.TrimLeft(rest, ".[]")
				end := strings.IndexAny(rest, ".[]")
				if end < 0 {
					end = len(rest)
				}
				step, rest = rest[:end], rest[end:]
			}
			if step != "" && !yield(step) {
				return
			}
		}
	}
}

func child(n *yaml.Node, step string) *yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return nil
}
