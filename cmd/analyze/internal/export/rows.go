// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/dnsingress/dnsingress/internal/results"
)

// rows makes the file at path of the rows that fill adds, and counts them. Both formats take columns from T's parquet tags.
func rows[T any](format, path string, fill func(add func(T) error) error) (n int64, err error) {
	write, finish, err := writer[T](format, path)
	if err != nil {
		return 0, err
	}
	err = fill(func(row T) error {
		n++
		return write(row)
	})
	return n, errors.Join(err, finish())
}

func writer[T any](format, path string) (write func(T) error, finish func() error, err error) {
	if format == CSV {
		return csvWriter[T](path)
	}
	w, err := results.CreateRows[T](path)
	if err != nil {
		return nil, nil, err
	}
	return func(row T) error { return w.Write(row) }, w.Close, nil
}

// csvWriter writes RFC 4180 with a header; what is no finite number is an empty field.
func csvWriter[T any](path string) (write func(T) error, finish func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, nil, fmt.Errorf("creating %s: %w", path, err)
	}
	buffer := bufio.NewWriterSize(f, 1<<16)
	w := csv.NewWriter(buffer)
	names, fields := columns(reflect.TypeFor[T]())
	record := make([]string, len(fields))
	finish = func() error {
		w.Flush()
		if err := errors.Join(w.Error(), buffer.Flush(), f.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		return nil
	}
	if err := w.Write(names); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("writing %s: %w", path, err), f.Close())
	}
	return func(row T) error {
		v := reflect.ValueOf(&row).Elem()
		for i, index := range fields {
			record[i] = text(v.FieldByIndex(index))
		}
		if err := w.Write(record); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		return nil
	}, finish, nil
}

// columns returns the names of a row's columns and where their fields are, those of embedded structs among them.
func columns(t reflect.Type) (names []string, fields [][]int) {
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("parquet"), ",")
		names, fields = append(names, name), append(fields, f.Index)
	}
	return names, fields
}

func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Float64:
		if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
		return ""
	case reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	default:
		return strconv.FormatInt(v.Int(), 10)
	}
}
