// SPDX-License-Identifier: Apache-2.0

package flash

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"

	mathrand "math/rand/v2"
)

// block is the unit of what is probed, and of the mark.
const block = 4096

// probes are places of a card where something is written that only that place can give back. Cards that hold less than they
// say either forget what is beyond, or write it where they have something else already: their address has fewer bits than
// the size that they tell, so places at powers of two apart show it.
type probes struct {
	seed  uint64
	size  int64
	at    []int64  // rising
	was   [][]byte // what was there
	there []byte   // a buffer
}

// places returns the places of a card of size bytes that are probed.
func places(size int64) []int64 {
	const even = 64
	var list []int64
	add := func(at int64) {
		if at = at / block * block; at > 0 && at+block <= size { // the first block is the mark's
			list = append(list, at)
		}
	}
	for i := range int64(even) {
		add(size / even * i)
	}
	for n := int64(1 << 20); n > 0 && n < size; n <<= 1 {
		add(n)
		add(n - block)
	}
	add(size - block)
	slices.Sort(list)
	return slices.Compact(list)
}

// content is what belongs to a place: nothing that a card has made up, or kept from before, looks like it.
func (p *probes) content(b []byte, at int64) {
	r := mathrand.New(mathrand.NewPCG(p.seed, uint64(at)))
	binary.LittleEndian.PutUint64(b, p.seed)
	binary.LittleEndian.PutUint64(b[8:], uint64(at))
	for i := 16; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
}

// LyingError says that a card holds less than it tells.
type LyingError struct {
	Path  string
	Says  int64 // bytes
	Keeps int64 // bytes, at most
	At    int64 // the first place that was seen to be lost
}

func (e *LyingError) Error() string {
	return fmt.Sprintf("%s says that it holds %s, and keeps %s at most: what was written at byte %d is not there (hint: the card lies about its size; throw it away)",
		e.Path, Bytes(e.Says), Bytes(e.Keeps), e.At)
}

// probe writes to all places of a card and reads them again. What was there is kept for restore, which is to be called in any
// case.
func probe(ctx context.Context, dev device, path string, size int64) (*probes, error) {
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	b, err := buffer(block)
	if err != nil {
		return nil, err
	}
	p := &probes{seed: binary.LittleEndian.Uint64(seed[:]), size: size, there: b}
	for _, at := range places(size) {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		if _, err := dev.ReadAt(b, at); err != nil {
			return p, fmt.Errorf("reading the card at byte %d of %d: %w (hint: it is broken, or lies about its size)", at, size, err)
		}
		p.at, p.was = append(p.at, at), append(p.was, bytes.Clone(b))
	}
	for _, at := range p.at {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		p.content(b, at)
		if _, err := dev.WriteAt(b, at); err != nil {
			return p, fmt.Errorf("writing to the card at byte %d of %d: %w (hint: it is broken, or lies about its size)", at, size, err)
		}
	}
	return p, p.verify(dev, path, 0)
}

// verify reads the places from the byte from on.
func (p *probes) verify(dev device, path string, from int64) error {
	if err := dev.Sync(); err != nil {
		return fmt.Errorf("writing to the card: %w", err)
	}
	want := make([]byte, block)
	lie := &LyingError{Path: path, Says: p.size, Keeps: p.size, At: -1}
	begins := int64(0) // the card's addresses begin anew after a divisor of this
	for _, at := range p.at {
		if at < from {
			continue
		}
		if _, err := dev.ReadAt(p.there, at); err != nil {
			return fmt.Errorf("reading the card at byte %d of %d: %w (hint: it is broken, or lies about its size)", at, p.size, err)
		}
		if p.content(want, at); bytes.Equal(want, p.there) {
			continue
		}
		if lie.At < 0 {
			lie.At = at
		}
		// What was meant for another place tells that the card takes both for one.
		other := int64(binary.LittleEndian.Uint64(p.there[8:]))
		if binary.LittleEndian.Uint64(p.there) == p.seed && other != at {
			begins = divisor(begins, max(other-at, at-other))
			lie.Keeps = min(lie.Keeps, begins)
		} else {
			lie.Keeps = min(lie.Keeps, at)
		}
	}
	if lie.At >= 0 {
		return lie
	}
	return nil
}

// divisor returns the greatest number that divides both.
func divisor(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// restore puts back what was at the places from the byte from on.
func (p *probes) restore(dev device, from int64) error {
	defer free(p.there)
	for i, at := range p.at {
		if at < from {
			continue
		}
		copy(p.there, p.was[i])
		if _, err := dev.WriteAt(p.there, at); err != nil {
			return fmt.Errorf("writing to the card: %w", err)
		}
	}
	if err := dev.Sync(); err != nil {
		return fmt.Errorf("writing to the card: %w", err)
	}
	return nil
}
