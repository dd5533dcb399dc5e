// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/dnsingress/dnsingress/internal/results"
)

// block holds one row group of samples.parquet by column. Only the columns that figures need are decoded, and no
// row is ever put together: a sample costs tens of nanoseconds rather than microseconds. Slices are reused.
type block struct {
	rows                                            int
	attempt                                         []int32
	intended, sent, dns, connect, tls, first, total []int64
	client, class                                   words
	backend                                         words // of empty texts where the file has no such column
}

// words is a column of few different texts.
type words struct {
	index []int32
	text  []string
}

func (w *words) at(row int) string { return w.text[w.index[row]] }

// readBlocks calls visit for each row group of the samples at path, in order.
func readBlocks(path string, visit func(*block) error) error {
	file, closer, err := results.OpenParquet(path)
	if err != nil {
		return err
	}
	defer closer.Close()
	var b block
	for i, group := range file.RowGroups() {
		if err := b.read(file.Schema(), group); err != nil {
			return fmt.Errorf("reading %s, row group %d: %w", path, i, err)
		}
		if err := visit(&b); err != nil {
			return err
		}
	}
	return nil
}

func (b *block) read(schema *parquet.Schema, group parquet.RowGroup) (err error) {
	defer results.Damaged(&err)
	b.rows = int(group.NumRows())
	chunk := func(name string, kind parquet.Kind) (parquet.ColumnChunk, error) {
		leaf, ok := schema.Lookup(name)
		if !ok || leaf.Node.Type().Kind() != kind || leaf.Node.Optional() || leaf.Node.Repeated() {
			return nil, fmt.Errorf("column %s is missing or of another type", name)
		}
		return group.ColumnChunks()[leaf.ColumnIndex], nil
	}
	for _, c := range []struct {
		name string
		into *[]int64
	}{
		{"intended_ns", &b.intended},
		{"sent_ns", &b.sent},
		{"dns_ns", &b.dns},
		{"connect_ns", &b.connect},
		{"tls_ns", &b.tls},
		{"first_byte_ns", &b.first},
		{"total_ns", &b.total},
	} {
		column, err := chunk(c.name, parquet.Int64)
		if err != nil {
			return err
		}
		if *c.into, err = numbers(column, (*c.into)[:0], b.rows, parquet.Int64Reader.ReadInt64s); err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	column, err := chunk("attempt", parquet.Int32)
	if err != nil {
		return err
	}
	if b.attempt, err = numbers(column, b.attempt[:0], b.rows, parquet.Int32Reader.ReadInt32s); err != nil {
		return fmt.Errorf("column attempt: %w", err)
	}
	for name, into := range map[string]*words{"client": &b.client, "error": &b.class} {
		column, err := chunk(name, parquet.ByteArray)
		if err != nil {
			return err
		}
		if err := into.read(column, b.rows); err != nil {
			return fmt.Errorf("column %s: %w", name, err)
		}
	}
	if _, ok := schema.Lookup("backend"); !ok {
		b.backend.none(b.rows)
		return nil
	}
	if column, err = chunk("backend", parquet.ByteArray); err != nil {
		return err
	}
	if err := b.backend.read(column, b.rows); err != nil {
		return fmt.Errorf("column backend: %w", err)
	}
	return nil
}

// none makes the column one of empty texts.
func (w *words) none(rows int) {
	w.index, w.text = append(w.index[:0], make([]int32, rows)...), append(w.text[:0], "")
}

// numbers appends a column's values to into; R is the reader that pages of its type give.
func numbers[T int32 | int64, R any](column parquet.ColumnChunk, into []T, rows int, read func(R, []T) (int, error)) ([]T, error) {
	err := pages(column, func(page parquet.Page) error {
		values := page.Values()
		reader, ok := values.(R)
		if !ok {
			return fmt.Errorf("its pages give no plain numbers")
		}
		from, n := len(into), int(page.NumValues())
		into = append(into, make([]T, n)...)
		for got := 0; got < n; {
			k, err := read(reader, into[from+got:])
			if got += k; err != nil && (got < n || !errors.Is(err, io.EOF)) {
				return err
			}
			if k == 0 && err == nil {
				return io.ErrNoProgress
			}
		}
		return nil
	})
	if err == nil && len(into) != rows {
		err = fmt.Errorf("%d values for %d rows", len(into), rows)
	}
	return into, err
}

// read reads the column through its dictionary, or text by text where the writer gave its dictionary up.
func (w *words) read(column parquet.ColumnChunk, rows int) error {
	w.index, w.text = w.index[:0], w.text[:0]
	known := map[string]int32{}
	learn := func(text string) int32 {
		i, ok := known[text]
		if !ok {
			i = int32(len(w.text))
			known[text] = i
			w.text = append(w.text, text)
		}
		return i
	}
	err := pages(column, func(page parquet.Page) error {
		if dictionary := page.Dictionary(); dictionary != nil {
			own := make([]int32, dictionary.Len())
			for i := range own {
				own[i] = learn(dictionary.Index(int32(i)).String())
			}
			data := page.Data()
			for _, i := range data.Int32() {
				if int(i) >= len(own) || i < 0 {
					return fmt.Errorf("text %d of a dictionary of %d", i, len(own))
				}
				w.index = append(w.index, own[i])
			}
			return nil
		}
		values, buf := page.Values(), make([]parquet.Value, 512)
		for {
			n, err := values.ReadValues(buf)
			for _, v := range buf[:n] {
				w.index = append(w.index, learn(v.String()))
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	if err == nil && len(w.index) != rows {
		err = fmt.Errorf("%d values for %d rows", len(w.index), rows)
	}
	return err
}

func pages(column parquet.ColumnChunk, visit func(parquet.Page) error) (err error) {
	all := column.Pages()
	defer func() { err = errors.Join(err, all.Close()) }()
	for {
		page, err := all.ReadPage()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = visit(page)
		parquet.Release(page)
		if err != nil {
			return err
		}
	}
}
