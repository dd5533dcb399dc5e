// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// mostExpanded bounds the values that the aliases of one document stand for: a few lines of them can mean millions.
const mostExpanded = 100_000

// Manifests reads data, a file called name, as kubectl would: any number of documents, of which empty ones count for
// nothing, or JSON values one after another. In them texts must be written as texts, because the API server takes no
// number for one; null is as good as nothing; aliases and merge keys are written out. A document that is no YAML is one
// with that problem.
func Manifests(name string, data []byte) []*File {
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		if files, ok := jsonManifests(name, data); ok {
			return files
		}
	}
	var files []*File
	before, counted := 0, 0 // lines
	for _, part := range parts(data) {
		before, counted = before+bytes.Count(data[counted:part.from], []byte("\n")), part.from
		dec := yaml.NewDecoder(bytes.NewReader(data[part.from:part.to]))
		for {
			f := &File{name: name, source: data, manifest: true}
			var doc yaml.Node
			err := dec.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				f.addSyntax(err, data[part.from:part.to], before)
				files = append(files, f)
				break
			}
			if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
				continue
			}
			shift(doc.Content[0], before, 0)
			f.root = (&expander{left: mostExpanded}).expand(doc.Content[0])
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		f := &File{name: name, source: data, manifest: true}
		f.add(nil, "", "the file is empty", "")
		files = []*File{f}
	}
	return files
}

// part is a document of a file, or several of which one ends with "...".
type part struct{ from, to int }

// A line that begins so begins a document, wherever it stands (YAML 1.2 §9.1.2).
var documentStart = regexp.MustCompile(`(?m)^---(?:[ \t\r]|$)`)

// What may stand before that line and belongs to its document: comments and directives.
var preamble = regexp.MustCompile(`^(?:[ \t\r]*(?:#.*)?\n|%.*\n)*$`)

// parts divides a file, so that a document that is no YAML takes none along that stands behind it.
func parts(data []byte) (all []part) {
	from := 0
	for _, at := range documentStart.FindAllIndex(data, -1) {
		if !preamble.Match(data[from:at[0]]) {
			all = append(all, part{from, at[0]})
			from = at[0]
		}
	}
	return append(all, part{from, len(data)})
}

// jsonManifests reads JSON values that stand one after another; false: it is something else.
func jsonManifests(name string, data []byte) (files []*File, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		var value json.RawMessage
		err := dec.Decode(&value)
		if errors.Is(err, io.EOF) {
			return files, len(files) > 0
		}
		if err != nil {
			return nil, false
		}
		f := &File{name: name, source: data, manifest: true}
		var doc yaml.Node
		// Outside texts a tab is worth a space, and within them JSON has none.
		if yaml.Unmarshal(bytes.ReplaceAll(value, []byte("\t"), []byte(" ")), &doc) != nil || len(doc.Content) == 0 {
			return nil, false
		}
		before := data[:int(dec.InputOffset())-len(value)]
		shift(doc.Content[0], bytes.Count(before, []byte("\n")), len(before)-1-bytes.LastIndexByte(before, '\n'))
		f.root = doc.Content[0]
		files = append(files, f)
	}
}

// shift moves places by so many lines, and those of the first line by so many columns.
func shift(n *yaml.Node, lines, columns int) {
	if n.Line == 1 {
		n.Column += columns
	}
	n.Line += lines
	for _, c := range n.Content {
		shift(c, lines, columns)
	}
}

// expander writes out aliases and merge keys.
type expander struct {
	within []*yaml.Node // what the node is in, anchors that stand for it included
	alias  int          // how many of these are aliases
	left   int
}

// expand returns n with what its aliases and merge keys stand for in their place. Aliases that contain themselves, and
// what is too much, are left, to be refused where they are read.
func (x *expander) expand(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		if x.left <= 0 || slices.Contains(x.within, n.Alias) {
			return n
		}
		x.alias++
		defer func() { x.alias-- }()
		return x.expand(n.Alias)
	}
	if x.alias > 0 {
		x.left--
	}
	if len(n.Content) == 0 {
		return n
	}
	x.within = append(x.within, n)
	defer func() { x.within = x.within[:len(x.within)-1] }()
	out := *n
	out.Content = make([]*yaml.Node, 0, len(n.Content))
	var merged []*yaml.Node
	for i := 0; i < len(n.Content); i++ {
		if n.Kind == yaml.MappingNode && i%2 == 0 && n.Content[i].Tag == "!!merge" {
			switch from := x.expand(n.Content[i+1]); from.Kind {
			case yaml.MappingNode:
				merged, i = append(merged, from), i+1
				continue
			case yaml.SequenceNode:
				merged, i = append(merged, from.Content...), i+1
				continue
			}
		}
		out.Content = append(out.Content, x.expand(n.Content[i]))
	}
	for _, from := range merged { // the first that has a key counts
		for i := 0; from.Kind == yaml.MappingNode && i+1 < len(from.Content); i += 2 {
			if child(&out, from.Content[i].Value) == nil {
				out.Content = append(out.Content, from.Content[i], from.Content[i+1])
			}
		}
	}
	return &out
}

// Name is the file's.
func (f *File) Name() string { return f.name }

// Broken reports whether the document is no YAML.
func (f *File) Broken() bool { return f.root == nil && !f.Empty() }

// Empty reports whether the file holds nothing at all.
func (f *File) Empty() bool {
	return f.root == nil && len(f.problems) == 1 && f.problems[0].Text == "the file is empty"
}

// Text is the single value at path, as it is written; empty: there is none.
func (f *File) Text(path string) string {
	n, whole := f.lookup(path)
	if n == nil || !whole || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// Again returns the document as it was before it was decoded.
func (f *File) Again() *File {
	return &File{name: f.name, source: f.source, manifest: f.manifest, root: f.root}
}

// Each returns the values of the list at path as documents of their own.
func (f *File) Each(path string) []*File {
	n, whole := f.lookup(path)
	if n == nil || !whole || n.Kind != yaml.SequenceNode {
		return nil
	}
	var files []*File
	for _, e := range n.Content {
		files = append(files, &File{name: f.name, source: f.source, manifest: f.manifest, root: e})
	}
	return files
}

// Unread reports whether some value could not be read; unknown keys are none.
func (f *File) Unread() bool { return f.root == nil || f.unread > f.unknown }

// Place is FILE:LINE:COLUMN of the value at path, or of the nearest parent that is there.
func (f *File) Place(path string) Problem {
	var g File
	g.name = f.name
	g.add(f.find(path), path, "", "")
	return g.problems[0]
}
