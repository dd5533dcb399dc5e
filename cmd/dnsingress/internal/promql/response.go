// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// response is what the Prometheus HTTP API answers to query and query_range.
type response struct {
	Status    string
	ErrorType string
	Error     string
	Warnings  []string
	kind      string // of the result: vector, matrix, scalar or string
	table     *table // the series
	points    []point
	series    int
}

// point is the value of one series at one instant.
type point struct {
	series int32 // position in the table
	step   int32 // of a range query; 0 in a vector
	value  float64
}

// steps are the instants of a range query. Zero: one instant.
type steps struct {
	first time.Time
	every time.Duration
	count int
}

// decode reads a response. last is the table that the query's last response had: a series that is written as it was
// there costs one comparison.
func decode(r io.Reader, limit int, last *table, m model.Match, of steps) (*response, error) {
	d := decoder{scanner: newScanner(r, limit), steps: of, builder: builder{last: last}, points: make([]point, 0, last.size())}
	if err := d.object(d.top); err != nil {
		return nil, err
	}
	if d.Status == "" {
		return nil, errors.New("no status")
	}
	d.out.table = d.builder.table(m)
	for i := range d.points {
		d.points[i].series = d.builder.position(d.points[i].series)
	}
	d.out.points, d.out.series = d.points, len(d.builder.order)
	return &d.out, nil
}

type decoder struct {
	*scanner
	steps   steps
	builder builder
	points  []point
	out     response
	Status  string
	moment  string // the time of the last sample of a vector: all have the same
	middle  string // with what is around it, as servers write it: ,"value":[TIME,"
}

const middle = `,"value":[,"`

func (d *decoder) top(key string) error {
	switch key {
	case "status", "errorType", "error":
		v, err := d.text()
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		switch key {
		case "status":
			d.Status, d.out.Status = string(v), string(v)
		case "errorType":
			d.out.ErrorType = string(v)
		default:
			d.out.Error = string(v)
		}
		return nil
	case "warnings":
		if c, err := d.peek(); err != nil || c != '[' {
			_, err = d.raw()
			return err
		}
		return d.each('[', ']', func() error {
			v, err := d.text()
			d.out.Warnings = append(d.out.Warnings, string(v))
			return err
		})
	case "data":
		if c, err := d.peek(); err != nil || c != '{' {
			_, err = d.raw()
			return err
		}
		return d.object(d.data)
	}
	_, err := d.raw()
	return err
}

func (d *decoder) data(key string) error {
	switch key {
	case "resultType":
		v, err := d.text()
		d.out.kind = string(v)
		return err
	case "result":
		if d.out.kind == "scalar" || d.out.kind == "string" {
			_, err := d.raw()
			return err
		}
		if c, err := d.peek(); err != nil || c != '[' {
			_, err = d.raw()
			return err
		}
		if err := d.each('[', ']', d.one); err != nil {
			return fmt.Errorf("reading series %d: %w", len(d.builder.order)+1, err)
		}
		return nil
	}
	_, err := d.raw()
	return err
}

// one takes a series.
func (d *decoder) one() error {
	first := len(d.points)
	id, found := int32(0), false
	begin := d.builder.expected()
	if begin != "" && d.follows(begin) { // the whole way from the brace to behind the labels
		id, found = d.builder.hit(), true
		if value, ok := d.usual(); ok {
			d.points = append(d.points, point{series: id, value: value})
			return nil
		}
		if err := d.rest(); err != nil {
			return err
		}
	} else if err := d.object(func(key string) error {
		if key == "metric" && !found {
			labels, err := d.raw()
			if err != nil {
				return err
			}
			id, found = d.builder.find(labels), true
			return nil
		}
		return d.field(key)
	}); err != nil {
		return err
	}
	if !found {
		id = d.builder.find([]byte("{}"))
	}
	for i := first; i < len(d.points); i++ {
		d.points[i].series = id
	}
	return nil
}

// usual takes what is behind the labels, if it is written as with the series before but for the value itself.
func (d *decoder) usual() (value float64, ok bool) {
	const tail = `"]}`
	n := len(d.middle)
	text := d.window[d.at:min(d.end, d.at+n+64)]
	if n == 0 || len(text) <= n || string(text[:n]) != d.middle {
		return 0, false
	}
	number := text[n:]
	end := bytes.IndexByte(number, '"')
	if end < 0 || len(number) < end+len(tail) || string(number[end:end+len(tail)]) != tail {
		return 0, false
	}
	value, err := strconv.ParseFloat(string(number[:end]), 64)
	if err != nil {
		return 0, false
	}
	d.at += n + end + len(tail)
	return value, true
}

// rest takes the members of a series behind its labels.
func (d *decoder) rest() error {
	for {
		c, err := d.peek()
		if err != nil {
			return err
		}
		d.at++
		switch c {
		case '}':
			return nil
		case ',':
		default:
			return fmt.Errorf("%q where ',' or '}' should be", c)
		}
		key, err := d.text()
		if err != nil {
			return err
		}
		name := internKey(key)
		if err := d.expect(':'); err != nil {
			return err
		}
		if err := d.field(name); err != nil {
			return err
		}
	}
}

// field takes a member of a series that is not its labels.
func (d *decoder) field(key string) error {
	switch key {
	case "value":
		return d.sample()
	case "values":
		return d.each('[', ']', d.sample)
	}
	_, err := d.raw()
	return err
}

// sample takes [time, "value"].
func (d *decoder) sample() error {
	if err := d.expect('['); err != nil {
		return err
	}
	number, err := d.raw()
	if err != nil {
		return err
	}
	step := int32(0)
	if d.steps.count > 0 {
		seconds, err := strconv.ParseFloat(string(number), 64)
		if err != nil {
			return fmt.Errorf("reading a time: %w", err)
		}
		away := seconds*1e9 - float64(d.steps.first.UnixNano())
		nearest := math.Round(away / float64(d.steps.every))
		if !(nearest >= 0 && nearest < float64(d.steps.count)) {
			return fmt.Errorf("the time %s is not in the range that was asked for", number)
		}
		step = int32(nearest)
	} else if d.moment != string(number) {
		d.moment = string(number)
		d.middle = middle[:len(middle)-2] + d.moment + middle[len(middle)-2:]
	}
	if err := d.expect(','); err != nil {
		return err
	}
	text, err := d.text()
	if err != nil {
		return err
	}
	value, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return fmt.Errorf("reading a value: %w", err)
	}
	d.points = append(d.points, point{step: step, value: value})
	return d.expect(']')
}
