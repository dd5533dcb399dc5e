// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// State is what a twin's state file tells: what may stand. It is written before each thing is made,
// so that what stands is never more than it tells.
type State struct {
	Cluster   string   `json:"cluster"`
	Inventory string   `json:"inventory"` // path of the file
	Digest    string   `json:"digest"`    // of what the file said
	Base      string   `json:"base"`      // root file system under every node
	Nodes     []string `json:"nodes"`
}

func (s *State) add(node string) {
	if !slices.Contains(s.Nodes, node) {
		s.Nodes = append(s.Nodes, node)
	}
}

type stateFile struct {
	mu   sync.Mutex
	path string
}

func (f *stateFile) read() (State, bool, error) {
	var s State
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, fmt.Errorf("reading the twin's state: %w (hint: root)", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, false, fmt.Errorf("reading the twin's state %s: %w (hint: remove the file; 'testbed down' finds the rest by name)", f.path, err)
	}
	return s, true, nil
}

func (f *stateFile) update(change func(*State) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, _, err := f.read()
	if err != nil {
		return err
	}
	if err := change(&s); err != nil {
		return err
	}
	if err := writeJSON(f.path, s); err != nil {
		return fmt.Errorf("writing the twin's state: %w", err)
	}
	return nil
}

// writeJSON replaces a file as a whole.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(b, '\n'))
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}
