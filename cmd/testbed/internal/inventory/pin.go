// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// PinHostKeys enters the public keys of nodes, by name, in an inventory's file where it has none yet, and leaves every other
// byte as it is. It returns how many it entered.
func PinHostKeys(path string, keys map[string]string) (int, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("pinning host keys: %w", err)
	}
	out, added, err := pinned(src, keys)
	if err != nil {
		return 0, fmt.Errorf("pinning host keys in %s: %w", path, err)
	}
	if added == 0 {
		return 0, nil
	}
	inv, err := Parse(path, out)
	if err != nil {
		return 0, fmt.Errorf("pinning host keys: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if n, ok := inv.Node(name); !ok || n.HostKey == "" {
			return 0, fmt.Errorf("pinning host keys in %s: %s is not written in a way that can be added to (hint: add hostKey: %q by hand)", path, name, keys[name])
		}
	}
	info, err := os.Stat(path)
	if err == nil {
		err = os.WriteFile(path+".new", out, info.Mode().Perm())
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return 0, fmt.Errorf("pinning host keys: %w", err)
	}
	return added, nil
}

// pinned returns the file with the keys that it did not have.
func pinned(src []byte, keys map[string]string) (out []byte, added int, err error) {
	var doc struct {
		Nodes []yaml.Node `yaml:"nodes"`
	}
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, 0, err
	}
	lines := bytes.SplitAfter(src, []byte("\n"))
	for _, n := range slices.Backward(doc.Nodes) { // from the end, so that the places before stay
		var name *yaml.Node
		has := false
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch n.Content[i].Value {
			case "name":
				name = n.Content[i+1]
			case "hostKey":
				has = true
			}
		}
		if name == nil || has || keys[name.Value] == "" {
			continue
		}
		value := fmt.Sprintf("hostKey: %q", keys[name.Value])
		if n.Style&yaml.FlowStyle == 0 {
			at := n.Content[0].Column - 1
			lines = slices.Insert(lines, name.Line, []byte(strings.Repeat(" ", at)+value+"\n"))
			added++
			continue
		}
		line, column, ok := closing(lines, n.Line-1, n.Column-1)
		if !ok {
			return nil, 0, errors.New("a brace is not closed")
		}
		lines[line] = slices.Concat(lines[line][:column], []byte(", "+value), lines[line][column:])
		added++
	}
	return bytes.Join(lines, nil), added, nil
}

// closing finds the brace that closes the one at a place.
func closing(lines [][]byte, line, column int) (int, int, bool) {
	depth, quote := 0, byte(0)
	for ; line < len(lines); line, column = line+1, 0 {
		for ; column < len(lines[line]); column++ {
			switch c := lines[line][column]; {
			case quote != 0:
				if c == '\\' && quote == '"' {
					column++
				} else if c == quote {
					quote = 0
				}
			case c == '"' || c == '\'':
				quote = c
			case c == '#' && column > 0 && lines[line][column-1] == ' ':
				column = len(lines[line])
			case c == '{':
				depth++
			case c == '}':
				if depth--; depth == 0 {
					return line, column, true
				}
			}
		}
	}
	return 0, 0, false
}
