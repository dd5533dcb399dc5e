// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// cursor reads a column of a row group page by page, whatever size pages have. A nil cursor reads a column that is not there.
type cursor struct {
	kind  parquet.Kind
	pages parquet.Pages
	page  parquet.Page // which values are of; nil at first

	plain  []int64 // the page's numbers from at on: the page's own memory, or wide
	index  []int32 // or its texts, as places in text
	at     int
	wide   []int64
	text   []string // every text so far; only ever grows, so that blocks may keep what there was
	known  map[string]int32
	places []int32

	dictionary parquet.Dictionary // which own is of
	own        []int32
}

func (c *cursor) close() {
	if c.page != nil {
		parquet.Release(c.page)
	}
	c.page = nil
	_ = c.pages.Close() // of what was read to the end, or given up
}

// load reads the next page; a column that ends too early is an error.
func (c *cursor) load() (err error) {
	if c.page != nil {
		parquet.Release(c.page)
		c.page = nil
	}
	c.at, c.plain, c.index = 0, nil, nil
	page, err := c.pages.ReadPage()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("fewer values than rows: %w", io.ErrUnexpectedEOF)
	}
	if err != nil {
		return err
	}
	c.page = page
	if c.kind == parquet.ByteArray {
		return c.loadTexts()
	}
	return c.loadNumbers()
}

// numbers reads as many values as into has.
func (c *cursor) numbers(into []int64) error {
	if c == nil {
		for i := range into {
			into[i] = none
		}
		return nil
	}
	for len(into) > 0 {
		if c.at == len(c.plain) {
			if err := c.load(); err != nil {
				return err
			}
			continue
		}
		n := copy(into, c.plain[c.at:])
		c.at += n
		into = into[n:]
	}
	return nil
}

// words reads as many texts as into has, as places in what it returns.
func (c *cursor) words(into []int32) ([]string, error) {
	if c == nil {
		clear(into)
		return []string{""}, nil
	}
	for len(into) > 0 {
		if c.at == len(c.index) {
			if err := c.load(); err != nil {
				return nil, err
			}
			continue
		}
		n := copy(into, c.index[c.at:])
		c.at += n
		into = into[n:]
	}
	return c.text, nil
}

// whole is a number that is not whole, or beyond what instants need, as none.
func whole(v float64) int64 {
	if math.IsNaN(v) || math.Abs(v) >= 1<<62 {
		return none
	}
	return int64(v)
}

func (c *cursor) loadNumbers() error {
	data := c.page.Data()
	defs := c.page.DefinitionLevels()
	if c.kind == parquet.Int64 && c.page.Dictionary() == nil && defs == nil {
		c.plain = data.Int64()
		return nil
	}
	out := c.wide[:0]
	switch dictionary := c.page.Dictionary(); {
	case dictionary != nil:
		values := make([]int64, dictionary.Len())
		for i := range values {
			switch v := dictionary.Index(int32(i)); c.kind {
			case parquet.Int64:
				values[i] = v.Int64()
			case parquet.Int32:
				values[i] = int64(v.Int32())
			case parquet.Double:
				values[i] = whole(v.Double())
			default:
				values[i] = whole(float64(v.Float()))
			}
		}
		for _, i := range data.Int32() {
			if int(i) >= len(values) || i < 0 {
				return fmt.Errorf("number %d of a dictionary of %d", i, len(values))
			}
			out = append(out, values[i])
		}
	case c.kind == parquet.Int64:
		out = append(out, data.Int64()...)
	case c.kind == parquet.Int32:
		for _, v := range data.Int32() {
			out = append(out, int64(v))
		}
	case c.kind == parquet.Double:
		for _, v := range data.Double() {
			out = append(out, whole(v))
		}
	default:
		for _, v := range data.Float() {
			out = append(out, whole(float64(v)))
		}
	}
	var err error
	c.plain, err = spread(out, defs, none)
	c.wide = c.plain
	return err
}

// spread puts the values that are there in the places of a page with nulls.
func spread[T any](values []T, defs []byte, null T) ([]T, error) {
	if defs == nil {
		return values, nil
	}
	from := len(values)
	values = slices.Grow(values, max(0, len(defs)-from))[:max(len(defs), from)]
	for at := len(defs) - 1; at >= 0; at-- {
		if defs[at] == 0 {
			values[at] = null
			continue
		}
		if from--; from < 0 {
			return nil, errors.New("fewer values than are said to be there")
		}
		values[at] = values[from]
	}
	if from > 0 {
		return nil, errors.New("more values than are said to be there")
	}
	return values[:len(defs)], nil
}

func (c *cursor) loadTexts() error {
	data := c.page.Data()
	out := c.places[:0]
	if dictionary := c.page.Dictionary(); dictionary != nil {
		if dictionary != c.dictionary {
			c.dictionary, c.own = dictionary, make([]int32, dictionary.Len())
			for i := range c.own {
				c.own[i] = c.learn(dictionary.Index(int32(i)).ByteArray())
			}
		}
		for _, i := range data.Int32() {
			if int(i) >= len(c.own) || i < 0 {
				return fmt.Errorf("text %d of a dictionary of %d", i, len(c.own))
			}
			out = append(out, c.own[i])
		}
	} else {
		bytes, offsets := data.ByteArray()
		for i := 1; i < len(offsets); i++ {
			out = append(out, c.learn(bytes[offsets[i-1]:offsets[i]]))
		}
	}
	defs := c.page.DefinitionLevels()
	empty := int32(0)
	if defs != nil {
		empty = c.learn(nil)
	}
	var err error
	c.index, err = spread(out, defs, empty)
	c.places = c.index
	return err
}

// learn returns the place of a text in text.
func (c *cursor) learn(text []byte) int32 {
	i, ok := c.known[string(text)]
	if !ok {
		if c.known == nil {
			c.known = map[string]int32{}
		}
		i = int32(len(c.text))
		c.text = append(c.text, string(text))
		c.known[string(text)] = i
	}
	return i
}
