// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonType     = reflect.TypeFor[json.Unmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
)

// value sets v from n. It walks mappings and sequences itself, because the library names neither
// columns nor every unknown key, and leaves single values to it.
func (f *File) value(n *yaml.Node, path string, v reflect.Value) {
	if f.manifest && n.Tag == "!!null" { // the API server drops what is null
		return
	}
	switch {
	case n.Kind == yaml.AliasNode:
		f.add(n, path, "an alias", "write the value out")
	case v.Kind() == reflect.Interface: // whatever is there
		if err := n.Decode(v.Addr().Interface()); err != nil {
			f.add(n, path, err.Error(), "")
		}
	case f.manifest && v.CanAddr() && v.Addr().Type().Implements(jsonType):
		f.json(n, path, v.Addr().Interface().(json.Unmarshaler))
	case v.Kind() == reflect.Pointer && !v.Type().Implements(textType):
		if n.Tag == "!!null" {
			return
		}
		p := reflect.New(v.Type().Elem())
		f.value(n, path, p.Elem())
		v.Set(p)
	case v.Addr().Type().Implements(textType) || v.Type() == durationType:
		f.scalar(n, path, v)
	case v.Kind() == reflect.Struct:
		f.mapping(n, path, func(key *yaml.Node, value *yaml.Node) {
			field, ok := fieldOf(v, key.Value)
			if !ok {
				f.unknown++
				f.add(key, path, fmt.Sprintf("unknown key %q", key.Value), suggest(key.Value, keysOf(v.Type())))
				return
			}
			f.value(value, join(path, key.Value), field)
		})
	case v.Kind() == reflect.Map:
		f.mapping(n, path, func(key *yaml.Node, value *yaml.Node) {
			e := reflect.New(v.Type().Elem()).Elem()
			f.value(value, join(path, key.Value), e)
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), e)
		})
	case v.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			f.add(n, path, "want a list, got "+describe(n), "")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, e := range n.Content {
			f.value(e, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	default:
		f.scalar(n, path, v)
	}
}

// json sets a value that reads itself from JSON, such as a Kubernetes quantity.
func (f *File) json(n *yaml.Node, path string, v json.Unmarshaler) {
	var plain any
	err := n.Decode(&plain)
	if err == nil {
		var data []byte
		if data, err = json.Marshal(plain); err == nil {
			err = v.UnmarshalJSON(data)
		}
	}
	if err != nil {
		f.add(n, path, fmt.Sprintf("%s: %v", describe(n), err), "")
	}
}

func (f *File) mapping(n *yaml.Node, path string, each func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		f.add(n, path, "want keys and values, got "+describe(n), "")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == "!!merge":
			f.add(key, path, "a key that is no plain word", "")
		case seen[key.Value]:
			f.add(key, path, fmt.Sprintf("key %q given twice", key.Value), "")
		default:
			seen[key.Value] = true
			each(key, value)
		}
	}
}

func (f *File) scalar(n *yaml.Node, path string, v reflect.Value) {
	want := describeType(v)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		f.add(n, path, fmt.Sprintf("want %s, got %s", want, describe(n)), "")
		return
	}
	t, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	if f.manifest && n.Tag != "!!str" && n.Tag != "!!timestamp" && (isText || v.Type() == durationType || v.Kind() == reflect.String) {
		f.add(n, path, fmt.Sprintf("want a text, got %s", n.Value), fmt.Sprintf("%q", n.Value))
		return
	}
	var err error
	if isText {
		if err = t.UnmarshalText([]byte(n.Value)); err != nil {
			f.unreadable(n, path, err)
			return
		}
	} else if v.Type() == durationType {
		var d time.Duration
		if d, err = time.ParseDuration(n.Value); err == nil {
			v.SetInt(int64(d))
		}
	} else {
		err = n.Decode(v.Addr().Interface())
	}
	if err != nil {
		f.add(n, path, fmt.Sprintf("want %s, got %q", want, n.Value), "")
	}
}

// unreadable notes what a text's own reader says of it. An error that knows the byte that is wrong is placed there.
func (f *File) unreadable(n *yaml.Node, path string, err error) {
	var at interface{ Offset() int }
	if !errors.As(err, &at) {
		f.add(n, path, fmt.Sprintf("%q: %v", n.Value, err), "")
		return
	}
	f.add(n, path, err.Error(), "")
	p := &f.problems[len(f.problems)-1]
	p.Line, p.Column = f.within(n, at.Offset())
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fieldOf returns the field of a struct, or of one that is embedded in it, that has the key.
func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if keyOf(field) == key {
			return v.Field(i), true
		}
		if inline(field) {
			if found, ok := fieldOf(v.Field(i), key); ok {
				return found, true
			}
		}
	}
	return reflect.Value{}, false
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if inline(t.Field(i)) {
			keys = append(keys, keysOf(t.Field(i).Type)...)
		} else if k := keyOf(t.Field(i)); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// inline reports whether the keys of a field's own struct stand beside it, as encoding/json has it.
func inline(f reflect.StructField) bool {
	return f.Anonymous && f.Type.Kind() == reflect.Struct && keyOf(f) == ""
}

// keyOf is the key of a field: its yaml tag, else its json tag; a field with neither has none.
func keyOf(f reflect.StructField) string {
	tag, ok := f.Tag.Lookup("yaml")
	if !ok {
		tag = f.Tag.Get("json")
	}
	key, _, _ := strings.Cut(tag, ",")
	if key == "-" {
		return ""
	}
	return key
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys and values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}

func describeType(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return "a duration such as 500ms or 10s"
	case v.CanInt():
		return "a whole number"
	case v.CanUint():
		return "a whole number of at least 0"
	case v.CanFloat():
		return "a number"
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.Kind() == reflect.String:
		return "a text"
	}
	return "a " + v.Type().Name()
}

// suggest names the nearest of known if one is near, else all of them.
func suggest(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := Distance(strings.ToLower(word), k); d < least && 2*d <= len(k) {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	slices.Sort(known)
	return "known: " + strings.Join(known, ", ")
}

// Distance is the Levenshtein distance between a and b in bytes: how many are to be put in, taken out or changed.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
