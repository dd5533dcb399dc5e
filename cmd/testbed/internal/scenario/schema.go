// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strings"
	"time"
)

// The sources of the types that a scenario is made of: what their comments say is what a scenario's keys mean, in the schema and in
// the documentation alike.
//
//go:embed scenario.go trials.go factor.go dns.go
var sources embed.FS

// Schema returns the JSON Schema (draft 2020-12) of the format, for editors: its descriptions are the comments of the fields, its
// enumerations what the vocabulary knows. It is looser than Parse, which knows what fits together.
func Schema(v Vocabulary) ([]byte, error) {
	docs, err := fieldDocs()
	if err != nil {
		return nil, err
	}
	g := generator{docs: docs, vocabulary: v}
	root := g.object(reflect.TypeFor[Scenario](), "")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = fmt.Sprintf("A scenario of testbed, version %d", Version)
	root["required"] = []string{"version", "name", "question", "hypothesis", "systems", "trials"}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the schema: %w", err)
	}
	return append(out, '\n'), nil
}

// Key is a key of the format, for its documentation.
type Key struct{ Path, Type, Text string }

// Keys lists all keys in the order of the types.
func Keys() ([]Key, error) {
	docs, err := fieldDocs()
	if err != nil {
		return nil, err
	}
	var keys []Key
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for i := range t.NumField() {
			field := t.Field(i)
			key := field.Tag.Get("yaml")
			if key == "" {
				continue
			}
			inner, list := element(field.Type)
			at := path + key
			if list && inner.Kind() == reflect.Struct {
				at += "[]"
			}
			keys = append(keys, Key{at, describe(field.Type), docs[t.Name()+"."+field.Name]})
			if inner.Kind() == reflect.Struct && !strings.HasPrefix(path, "trials[].") || inner == reflect.TypeFor[Step]() || inner == reflect.TypeFor[Fault]() ||
				inner == reflect.TypeFor[Churn]() || inner == reflect.TypeFor[FindMax]() {
				walk(inner, at+".")
			}
		}
	}
	walk(reflect.TypeFor[Scenario](), "")
	return keys, nil
}

// element is what a list or a pointer holds; list says that it is a list.
func element(t reflect.Type) (of reflect.Type, list bool) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		list = list || t.Kind() == reflect.Slice
		t = t.Elem()
	}
	return t, list
}

func describe(t reflect.Type) string {
	inner, list := element(t)
	text := ""
	switch {
	case inner == reflect.TypeFor[time.Duration]():
		text = "duration"
	case inner.Kind() == reflect.Struct, inner.Kind() == reflect.Map:
		text = "keys"
	case whole(inner):
		text = "whole number"
	case inner.Kind() == reflect.Float64:
		text = "number"
	case inner.Kind() == reflect.Bool:
		text = "true or false"
	default:
		text = "text"
	}
	if list {
		return "list of " + text
	}
	return text
}

func whole(t reflect.Type) bool { v := reflect.Zero(t); return v.CanInt() || v.CanUint() }

// fieldDocs reads the comments of all fields, by "Type.Field".
func fieldDocs() (map[string]string, error) {
	entries, err := sources.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("reading the format's sources: %w", err)
	}
	docs := map[string]string{}
	for _, e := range entries {
		text, err := sources.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("reading the format's sources: %w", err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("parsing the format's sources: %w", err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				return false
			}
			for _, f := range fields.Fields.List {
				for _, name := range f.Names {
					docs[spec.Name.Name+"."+name.Name] = plain(f.Doc.Text())
				}
			}
			return false
		})
	}
	return docs, nil
}

// plain is a comment as one line.
func plain(text string) string {
	var p comment.Parser
	var printer comment.Printer
	return strings.Join(strings.Fields(string(printer.Text(p.Parse(text)))), " ")
}

// generator makes schemas of types.
type generator struct {
	docs       map[string]string
	vocabulary Vocabulary
}

func (g *generator) object(t reflect.Type, path string) map[string]any {
	properties := map[string]any{}
	for i := range t.NumField() {
		field := t.Field(i)
		key := field.Tag.Get("yaml")
		if key == "" {
			continue
		}
		property := g.value(field.Type, strings.TrimPrefix(path+"."+key, "."))
		if text := g.docs[t.Name()+"."+field.Name]; text != "" {
			property["description"] = text
		}
		properties[key] = property
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

// duration is what Go reads as a duration.
const duration = `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`

func (g *generator) value(t reflect.Type, path string) map[string]any {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": duration}
	case t.Kind() == reflect.Pointer:
		return g.value(t.Elem(), path)
	case t.Kind() == reflect.Struct:
		return g.object(t, path)
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.value(t.Elem(), path)}
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "minItems": 1, "items": g.value(t.Elem(), path+"[]")}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case whole(t):
		return map[string]any{"type": "integer"}
	case t.Kind() == reflect.Float64:
		return map[string]any{"type": "number"}
	}
	if levels := g.enumeration(path); len(levels) > 0 {
		return map[string]any{"type": "string", "enum": levels}
	}
	if strings.Contains(path, "factors.") || strings.HasSuffix(path, "levels[][]") {
		return map[string]any{"type": []string{"string", "number", "boolean"}} // levels are texts; YAML reads some of them as numbers
	}
	return map[string]any{"type": "string"}
}

// enumeration lists what may stand at a path.
func (g *generator) enumeration(path string) []string {
	switch path {
	case "form":
		return Forms()
	case "systems[]":
		return g.vocabulary.Systems
	case "dns.resolvers[]":
		return g.vocabulary.Resolvers
	case "dns.behaviours[]":
		return g.vocabulary.Behaviours
	case "dns.trees[]":
		return g.vocabulary.Trees
	case "load.connection":
		return []string{ConnectionNew, ConnectionKeepAlive}
	case "load.workload":
		return []string{WorkloadHTTP, WorkloadDNS}
	case "trials[].fault.kind", "trials[].chaos[].inject", "trials[].chaos[].withdraw":
		return g.vocabulary.Faults
	case "pairs[].of[]", "trials[].pairs[].of[]":
		return append([]string{systemColumn}, factorNames()...)
	}
	for _, prefix := range []string{"factors.", "trials[].factors."} {
		key, ok := strings.CutPrefix(path, prefix)
		if factor, known := factorBy(strings.TrimSuffix(key, "[]")); ok && known && factor != TLS { // YAML 1.1 reads on and off as booleans
			return slices.Clone(g.vocabulary.Levels[factor])
		}
	}
	return nil
}
