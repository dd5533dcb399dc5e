// SPDX-License-Identifier: Apache-2.0

package objects

import "sync"

// Shared holds values that very many objects have in common, such as the names of nodes, once. Nil shares nothing.
type Shared struct {
	mu      sync.Mutex
	strings map[string]*string
	bools   [2]bool
}

// NewShared returns an empty one.
func NewShared() *Shared { return &Shared{strings: map[string]*string{}, bools: [2]bool{false, true}} }

// string gives a pointer to what p points to, which others may have, too.
func (s *Shared) string(p *string) *string {
	if s == nil || p == nil {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.strings[*p]; known != nil {
		return known
	}
	s.strings[*p] = p
	return p
}

// bool is string for conditions.
func (s *Shared) bool(p *bool) *bool {
	switch {
	case s == nil || p == nil:
		return p
	case *p:
		return &s.bools[1]
	}
	return &s.bools[0]
}
