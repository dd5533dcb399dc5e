// SPDX-License-Identifier: Apache-2.0

package objects

import "sync"

// Shared holds strings that very many objects have in common, such as the names of nodes, once. Nil shares nothing.
type Shared struct {
	mu      sync.Mutex
	strings map[string]string
}

// NewShared returns an empty one.
func NewShared() *Shared { return &Shared{strings: map[string]string{}} }

// string gives the same string, which others may have, too.
func (s *Shared) string(text string) string {
	if s == nil || text == "" {
		return text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.strings[text]; ok {
		return known
	}
	s.strings[text] = text
	return text
}
