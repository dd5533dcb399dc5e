// SPDX-License-Identifier: Apache-2.0

package user

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Ports is a range of source ports, both ends included. The zero value is none.
type Ports struct{ Low, High uint16 }

// ParsePorts reads "LOW-HIGH".
func ParsePorts(s string) (Ports, error) {
	low, high, _ := strings.Cut(s, "-")
	a, err := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	if err != nil || err2 != nil || a == 0 || b < a {
		return Ports{}, fmt.Errorf("%q is no range of ports (hint: 20000-59999)", s)
	}
	return Ports{uint16(a), uint16(b)}, nil
}

func (p Ports) set() bool  { return p.Low != 0 }
func (p Ports) count() int { return int(p.High) - int(p.Low) + 1 }

func (p Ports) String() string { return fmt.Sprintf("%d-%d", p.Low, p.High) }

// slice returns the i-th of n equal parts of the range.
func (p Ports) slice(i, n int) *portRing {
	size := p.count() / n
	return &portRing{low: int(p.Low) + i*size, size: size}
}

// portRing gives out one user's ports in turn, so that each rests as long as possible.
type portRing struct {
	low, size int

	mu   sync.Mutex
	next int
}

func (r *portRing) take() uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = (r.next + 1) % r.size
	return uint16(r.low + r.next)
}
