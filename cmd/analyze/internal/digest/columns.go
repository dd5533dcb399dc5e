// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go"

	"github.com/dnsingress/dnsingress/internal/results"
)

// block holds rows of samples.parquet by column. Only the columns that figures need are decoded, and no row is ever
// put together: a sample costs tens of nanoseconds rather than microseconds. Slices are reused.
type block struct {
	rows                                                     int
	attempt, intended, sent, dns, connect, tls, first, total []int64 // none where there is no number
	client, class                                            words
	backend                                                  words // of empty texts where the file has no such column
}

// none stands for what is no number: a null, a NaN, a column that the file does not have.
const none = math.MinInt64

// blockRows bounds a block: whatever size a writer's row groups have, so much of them is in memory.
const blockRows = 1 << 16

// words is a column of few different texts.
type words struct {
	index []int32
	text  []string
}

func (w *words) at(row int) string { return w.text[w.index[row]] }

// field is a column that blocks have.
type field struct {
	name    string
	numbers *[]int64
	words   *words
	needed  bool // without it a sample says nothing
}

func (b *block) fields() []field {
	return []field{
		{name: "intended_ns", numbers: &b.intended, needed: true},
		{name: "total_ns", numbers: &b.total, needed: true},
		{name: "error", words: &b.class, needed: true},
		{name: "sent_ns", numbers: &b.sent},
		{name: "dns_ns", numbers: &b.dns},
		{name: "connect_ns", numbers: &b.connect},
		{name: "tls_ns", numbers: &b.tls},
		{name: "first_byte_ns", numbers: &b.first},
		{name: "attempt", numbers: &b.attempt},
		{name: "client", words: &b.client},
		{name: "backend", words: &b.backend},
	}
}

// readBlocks calls visit for the rows of the samples at path, a block at a time, in order; row groups are decoded ahead,
// one for each processor. missing names the columns of version 1 that the file does not have, or has as
// something else than numbers or texts; without one that is needed that is an error.
func readBlocks(path string, visit func(*block) error) (missing []string, err error) {
	file, closer, err := results.OpenParquet(path)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	for _, f := range new(block).fields() {
		if _, ok := find(file.Schema(), f); ok || f.name == "backend" { // which came later within version 1
			continue
		}
		if f.needed {
			return nil, fmt.Errorf("reading %s: column %s is missing or of another type", path, f.name)
		}
		missing = append(missing, f.name)
	}
	var running sync.WaitGroup
	stop := make(chan struct{})
	defer func() { // the file is closed when nobody reads it any more
		close(stop)
		running.Wait()
	}()
	ahead := runtime.GOMAXPROCS(0)
	slots, queue := make(chan *slot, ahead), make(chan *slot, ahead)
	for range ahead {
		slots <- newSlot()
	}
	running.Go(func() {
		defer close(queue)
		for _, group := range file.RowGroups() {
			select {
			case <-stop:
				return
			case s := <-slots:
				s.full = make(chan decoded)
				running.Go(func() { s.decode(file.Schema(), group, stop) })
				queue <- s
			}
		}
	})
	group := 0
	for s := range queue {
		for d := range s.full {
			if d.err != nil {
				return missing, fmt.Errorf("reading %s, row group %d: %w", path, group, d.err)
			}
			if err := visit(d.block); err != nil {
				return missing, err
			}
			s.free <- d.block
		}
		slots <- s
		group++
	}
	return missing, nil
}

// slot decodes one row group at a time into two blocks: one is filled while the other is read.
type slot struct {
	free chan *block
	full chan decoded
}

type decoded struct {
	*block
	err error
}

func newSlot() *slot {
	s := &slot{free: make(chan *block, 2)}
	s.free <- new(block)
	s.free <- new(block)
	return s
}

// decode sends the group's blocks, or an error as the last of them, and then closes full.
func (s *slot) decode(schema *parquet.Schema, group parquet.RowGroup, stop <-chan struct{}) {
	defer close(s.full)
	cursors := map[string]*cursor{}
	defer func() {
		for _, c := range cursors {
			c.close()
		}
	}()
	for left := group.NumRows(); left > 0; {
		var b *block
		select {
		case <-stop:
			return
		case b = <-s.free:
		}
		b.rows = int(min(left, blockRows))
		left -= int64(b.rows)
		err := b.read(schema, group, cursors)
		select {
		case <-stop:
			return
		case s.full <- decoded{b, err}:
		}
		if err != nil {
			return
		}
	}
}

// read fills the block with its number of rows, from where the cursors stand.
func (b *block) read(schema *parquet.Schema, group parquet.RowGroup, cursors map[string]*cursor) (err error) {
	defer results.Damaged(&err)
	for _, f := range b.fields() {
		c := cursors[f.name]
		if leaf, ok := find(schema, f); ok && c == nil {
			c = &cursor{kind: leaf.Node.Type().Kind(), pages: group.ColumnChunks()[leaf.ColumnIndex].Pages()}
			cursors[f.name] = c
		}
		switch {
		case f.numbers != nil:
			*f.numbers = slices.Grow((*f.numbers)[:0], b.rows)[:b.rows]
			err = c.numbers(*f.numbers)
		default:
			f.words.index = slices.Grow(f.words.index[:0], b.rows)[:b.rows]
			f.words.text, err = c.words(f.words.index)
		}
		if err != nil {
			return fmt.Errorf("column %s: %w", f.name, err)
		}
	}
	return nil
}

// find returns the column of a field where it is one of its kind: numbers of any width, as other programs write them back.
func find(schema *parquet.Schema, f field) (parquet.LeafColumn, bool) {
	leaf, ok := schema.Lookup(f.name)
	if !ok || leaf.Node.Repeated() || leaf.MaxDefinitionLevel > 1 {
		return leaf, false
	}
	switch leaf.Node.Type().Kind() {
	case parquet.Int32, parquet.Int64, parquet.Float, parquet.Double:
		return leaf, f.numbers != nil
	case parquet.ByteArray:
		return leaf, f.words != nil
	default:
		return leaf, false
	}
}
