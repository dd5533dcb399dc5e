// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
)

// mostErrors bounds what is said of one file.
const mostErrors = 20

// Sample is one value of one member at one time.
type Sample struct {
	At        time.Time
	Signal    string // empty: the only one there is
	Namespace string // of the pod; empty: unknown
	Member    string // a pod's name or an address
	Value     float64
}

// Read reads samples from data, a file called name: a Prometheus response if it begins with a brace, else CSV. signal
// is what the values of a Prometheus response are of, and of CSV without a column signal; by m a response's series belong
// to pods, as they do live. An error names every place that is wrong.
func Read(name string, data []byte, signal string, m model.Match) ([]Sample, error) {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		return readRange(name, data, signal, m)
	}
	return readCSV(name, data, signal)
}

func readCSV(name string, data []byte, signal string) ([]Sample, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = '#', -1, true
	var errs []error
	complain := func(field int, format string, a ...any) {
		line, column := r.FieldPos(field)
		errs = append(errs, fmt.Errorf("%s:%d:%d: "+format, append([]any{name, line, column}, a...)...))
	}
	columns := map[string]int{}
	var samples []Sample
	for len(errs) < mostErrors {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if p := (*csv.ParseError)(nil); errors.As(err, &p) {
			errs = append(errs, fmt.Errorf("%s:%d:%d: %w", name, p.Line, p.Column, p.Err))
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		if len(columns) == 0 {
			if columns, err = header(row, signal); err != nil {
				complain(0, "%w", err)
				break
			}
			continue
		}
		if len(row) != len(columns) {
			complain(0, "%d fields, the header has %d", len(row), len(columns))
			continue
		}
		s := Sample{Signal: signal, Member: row[columns["pod"]]}
		if at, ok := columns["signal"]; ok {
			s.Signal = row[at]
		}
		if at, ok := columns["namespace"]; ok {
			s.Namespace = row[at]
		}
		var bad error
		if s.At, bad = instant(row[columns["time"]]); bad != nil {
			complain(columns["time"], "%w", bad)
		}
		if s.Member == "" {
			complain(columns["pod"], "a pod is missing")
		}
		value := row[columns["value"]]
		if s.Value, bad = strconv.ParseFloat(value, 64); bad != nil {
			complain(columns["value"], "%q is no number", value)
		}
		samples = append(samples, s)
	}
	if len(errs) == 0 && len(samples) == 0 {
		errs = append(errs, fmt.Errorf("%s:1:1: no samples (hint: time,signal,pod,value and a line for each)", name))
	}
	return samples, errors.Join(errs...)
}

// header says in which field each column is.
func header(row []string, signal string) (map[string]int, error) {
	columns := map[string]int{}
	for i, c := range row {
		c = strings.ToLower(strings.TrimSpace(c))
		if c == "address" || c == "member" {
			c = "pod"
		}
		if !slices.Contains([]string{"time", "signal", "namespace", "pod", "value"}, c) {
			return nil, fmt.Errorf("unknown column %q (hint: the first line is time,signal,pod,value)", row[i])
		}
		if _, double := columns[c]; double {
			return nil, fmt.Errorf("a second column %s", c)
		}
		columns[c] = i
	}
	for _, c := range []string{"time", "pod", "value"} {
		if _, ok := columns[c]; !ok {
			return nil, fmt.Errorf("no column %s (hint: the first line is time,signal,pod,value)", c)
		}
	}
	if _, ok := columns["signal"]; ok && signal != "" {
		return nil, fmt.Errorf("a column signal, and the file is said to be of %s (hint: give the file without %s=)", signal, signal)
	}
	return columns, nil
}

// instant reads a time.
func instant(text string) (time.Time, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < 1e11 {
		return seconds1970(seconds), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time (hint: 2026-01-02T15:04:05Z, or seconds since 1970)", text)
	}
	return at.UTC(), nil
}

// seconds1970 is a Prometheus timestamp, which has milliseconds.
func seconds1970(s float64) time.Time { return time.UnixMilli(int64(math.Round(s * 1000))).UTC() }

// rangeResponse is what /api/v1/query_range gives.
type rangeResponse struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		Type   string   `json:"resultType"`
		Result []series `json:"result"`
	} `json:"data"`
}

type series struct {
	Metric json.RawMessage      `json:"metric"`
	Values [][2]json.RawMessage `json:"values"`
}

func readRange(name string, data []byte, signal string, m model.Match) ([]Sample, error) {
	var r rangeResponse
	if err := json.Unmarshal(data, &r); err != nil {
		line, column := 1, 1
		if e := (*json.SyntaxError)(nil); errors.As(err, &e) {
			line, column = place(data, int(e.Offset))
		}
		if e := (*json.UnmarshalTypeError)(nil); errors.As(err, &e) {
			line, column = place(data, int(e.Offset))
		}
		return nil, fmt.Errorf("%s:%d:%d: %w (hint: the answer of /api/v1/query_range)", name, line, column, err)
	}
	if r.Status != "success" || r.Data.Type != "matrix" {
		what := r.Error
		if r.Status == "success" {
			what = fmt.Sprintf("the result is a %s", r.Data.Type)
		}
		return nil, fmt.Errorf("%s:1:1: %s is no answer of /api/v1/query_range: %s", name, name, what)
	}
	var samples []Sample
	var errs []error
	for i, one := range r.Data.Result {
		namespace, member, address := promql.Identify(string(one.Metric), m)
		switch {
		case member == "" && address.IsValid():
			namespace, member = "", address.String()
		case member == "":
			errs = append(errs, fmt.Errorf("%s: data.result[%d] %s has no label that tells a pod: %s", name, i, one.Metric, strings.Join(m.Labels(), ", ")))
		}
		for j, v := range one.Values {
			var seconds float64
			var text string
			if err := errors.Join(json.Unmarshal(v[0], &seconds), json.Unmarshal(v[1], &text)); err != nil {
				errs = append(errs, fmt.Errorf("%s: data.result[%d].values[%d]: %w", name, i, j, err))
				break
			}
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: data.result[%d].values[%d]: %q is no number", name, i, j, text))
				break
			}
			samples = append(samples, Sample{seconds1970(seconds), signal, namespace, member, value})
		}
		if len(errs) >= mostErrors {
			break
		}
	}
	if len(errs) == 0 && len(samples) == 0 {
		errs = append(errs, fmt.Errorf("%s:1:1: no samples", name))
	}
	return samples, errors.Join(errs...)
}

// place is the line and column of a byte.
func place(data []byte, offset int) (line, column int) {
	before := data[:min(max(offset, 0), len(data))]
	return 1 + bytes.Count(before, []byte("\n")), max(1, len(before)-bytes.LastIndexByte(before, '\n')-1)
}
