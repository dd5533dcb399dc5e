// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// plainly reads a vector with encoding/json; false: it is none, or has keys that each reader may take otherwise.
func plainly(body []byte) ([]map[string]json.RawMessage, bool) {
	var top, data map[string]json.RawMessage // maps, because structs take keys in any case
	var kind string
	var series []map[string]json.RawMessage
	if json.Unmarshal(body, &top) != nil || json.Unmarshal(top["data"], &data) != nil || json.Unmarshal(data["resultType"], &kind) != nil ||
		kind != "vector" || json.Unmarshal(data["result"], &series) != nil {
		return nil, false
	}
	for key, most := range map[string]int{"data": 1, "result": 1, "resultType": 1, "metric": len(series), "value": len(series), "values": 0} {
		if bytes.Count(body, []byte(`"`+key+`"`)) > most || bytes.Contains(body, []byte(`\u`)) {
			return nil, false // doubled
		}
	}
	return series, true
}

// FuzzDecode has decode agree with encoding/json on what is a response and what it says, in whatever pieces it comes.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		vector(`{"metric":{"pod":"web-1","namespace":"shop"},"value":[1,"2.5"]}`, `{"metric":{"instance":"[fd00::1]:9100"},"value":[1.5e3,"NaN"]}`),
		vector(`{"value":[1,"-Inf"],"metric":{"pod":"a\"b\u0041"}}`, `{"metric":{},"histogram":[1,{"count":"1","buckets":[[0,"1","2","3"]]}]}`),
		`{"status":"error","errorType":"bad_data","error":"1:1: parse error"}`,
		`{"status":"success","warnings":["partial"],"data":{"result":[],"resultType":"vector","stats":{"a":[1,{"b":null}]}}}`,
		`{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`,
		` { "status" : "success" , "data" : { "resultType" : "vector" , "result" : [ { "metric" : { "pod" : "a" } , "value" : [ 1 , "1" ] } ] } } `,
		vector(`{"metric":{"pod":"web-1"},"va`),
		`<html>`, ``, `{}`, `[`, `{"status":"success"`, `{"data":{"result":[{"metric":{"pod":`,
	} {
		f.Add([]byte(body), false)
		f.Add([]byte(body), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, bytewise bool) {
		first, err := decode(bytes.NewReader(body), maxBody, nil, model.Match{}, steps{})
		if err != nil {
			return
		}
		from := &bytes.Buffer{}
		from.Write(body)
		var again *response
		if bytewise {
			again, err = decode(iotest.OneByteReader(from), maxBody, first.table, model.Match{}, steps{})
		} else {
			again, err = decode(iotest.DataErrReader(from), maxBody, first.table, model.Match{}, steps{})
		}
		if err != nil {
			t.Fatalf("the second time: %v", err)
		}
		if fmt.Sprint(pointsOf(first)) != fmt.Sprint(pointsOf(again)) || first.series != again.series || first.Status != again.Status || first.kind != again.kind {
			t.Fatalf("%+v and the second time %+v", first, again)
		}
		want, ok := plainly(body)
		if !ok {
			return
		}
		if first.series != len(want) {
			t.Fatalf("%d series, want %d", first.series, len(want))
		}
		n := 0
		for _, s := range want {
			var sample []any
			if json.Unmarshal(s["value"], &sample) != nil || len(sample) != 2 {
				continue
			}
			text, _ := sample[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatalf("took %q for a value", text)
			}
			if got := first.points[n].value; got != value && !(math.IsNaN(got) && math.IsNaN(value)) {
				t.Fatalf("value %v, want %v", got, value)
			}
			n++
		}
		if n != len(first.points) {
			t.Fatalf("%d values, want %d", len(first.points), n)
		}
	})
}

func pointsOf(r *response) []string {
	var out []string
	for _, p := range r.points {
		out = append(out, r.table.begins[p.series]+strconv.FormatFloat(p.value, 'g', -1, 64))
	}
	return out
}

// TestTheNextAnswer decodes answers whose series come, go, move and double, each with the table of the one before, and
// wants what a reader without memory finds.
func TestTheNextAnswer(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var last *table
	for round := range 200 {
		var series []string
		for range r.IntN(40) {
			n := r.IntN(30)
			series = append(series, fmt.Sprintf(`{"metric":{"namespace":"n%d","pod":"p\u0041%d"},"value":[%d,"%d"]}`, n%3, n, round, r.IntN(100)))
		}
		if round%3 > 0 { // mostly in one order, as servers do
			series = []string{series0(round, 1), series0(round, 2), series0(round, 3)}
		}
		body := vector(series...)
		got, err := decode(strings.NewReader(body), maxBody, last, model.Match{}, steps{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := decode(strings.NewReader(body), maxBody, nil, model.Match{}, steps{})
		if err != nil {
			t.Fatal(err)
		}
		a, b := got.table.samples(got.points, got.series), want.table.samples(want.points, want.series)
		for n := range 30 {
			v1, c1 := a.Value(fmt.Sprintf("n%d", n%3), fmt.Sprintf("pA%d", n), netip.Addr{})
			v2, c2 := b.Value(fmt.Sprintf("n%d", n%3), fmt.Sprintf("pA%d", n), netip.Addr{})
			if v1 != v2 || c1 != c2 {
				t.Fatalf("round %d: pod %d has %v of %d, want %v of %d", round, n, v1, c1, v2, c2)
			}
		}
		if a.Series != b.Series || a.Strays != b.Strays {
			t.Fatalf("round %d: %d series and %d strays, want %d and %d", round, a.Series, a.Strays, b.Series, b.Strays)
		}
		last = got.table
	}
}

func series0(round, n int) string {
	return fmt.Sprintf(`{"metric":{"namespace":"n%d","pod":"p\u0041%d"},"value":[%d,"%d"]}`, n%3, n, round, round+n)
}

// TestSameTable has a table kept as long as it fits, and made anew when most of its series are gone.
func TestSameTable(t *testing.T) {
	body := func(first, last int) string {
		var series []string
		for i := first; i <= last; i++ {
			series = append(series, fmt.Sprintf(`{"metric":{"pod":"web-%d"},"value":[1,"%d"]}`, i, i))
		}
		return vector(series...)
	}
	read := func(body string, last *table) *table {
		r, err := decode(strings.NewReader(body), maxBody, last, model.Match{}, steps{})
		if err != nil {
			t.Fatal(err)
		}
		return r.table
	}
	ten := read(body(1, 10), nil)
	if read(body(1, 10), ten) != ten || read(body(1, 8), ten) != ten {
		t.Error("a table that fits was made anew")
	}
	if n := read(body(1, 11), ten).size(); n != 11 {
		t.Errorf("%d series, want 11", n)
	}
	if n := read(body(1, 2), ten).size(); n != 2 {
		t.Errorf("%d series, want 2: those that are gone are kept", n)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	body := vector(`{"metric":{"pod":"` + strings.Repeat("x", 100) + `"},"value":[1,"1"]}`)
	if _, err := decode(strings.NewReader(body), 100, nil, model.Match{}, steps{}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v", err)
	}
	endless := `{"status":"` + strings.Repeat("x", 2*largestValue)
	if _, err := decode(strings.NewReader(endless), maxBody, nil, model.Match{}, steps{}); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v", err)
	}
}

func TestMatch(t *testing.T) {
	address := netip.MustParseAddr("fd00::1")
	for _, c := range []struct {
		name, labels string
		match        model.Match
		found        bool
	}{
		{"other pod label", `{"exported_pod":"web-1","pod":"exporter"}`, model.Match{Pod: "exported_pod"}, true},
		{"other namespace label", `{"p":"web-1","ns":"shop","namespace":"monitoring"}`, model.Match{Pod: "p", Namespace: "ns"}, true},
		{"other namespace", `{"p":"web-1","ns":"x"}`, model.Match{Pod: "p", Namespace: "ns"}, false},
		{"default namespace label", `{"p":"web-1","namespace":"x"}`, model.Match{Pod: "p"}, false},
		{"address alone", `{"pod":"exporter","endpoint":"[fd00::1]:80"}`, model.Match{Address: "endpoint"}, true},
		{"address behind pod", `{"endpoint":"fd00::1"}`, model.Match{Pod: "p", Address: "endpoint"}, true},
		{"no default address", `{"instance":"fd00::1"}`, model.Match{Address: "endpoint"}, false},
		{"no pod label", `{"pod":"web-1"}`, model.Match{Pod: "p"}, false},
	} {
		body := vector(`{"metric":` + c.labels + `,"value":[1,"7"]}`)
		r, err := decode(strings.NewReader(body), maxBody, nil, c.match, steps{})
		if err != nil {
			t.Fatal(err)
		}
		if _, n := r.table.samples(r.points, r.series).Value("shop", "web-1", address); (n == 1) != c.found {
			t.Errorf("%s: %d series", c.name, n)
		}
	}
}

// BenchmarkDecode reads answers of 100,000 pods, of which all values and no series change.
func BenchmarkDecode(b *testing.B) {
	var bodies [2]string
	for round := range bodies {
		var body strings.Builder
		body.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
		for i := range 100_000 {
			if i > 0 {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `{"metric":{"namespace":"team-%d","pod":"service-%d-7d9f8c6b5-%05d"},"value":[1795307740.781,"%d.%d"]}`, i/1000, i/100, i, i%17, round)
		}
		body.WriteString(`]}}`)
		bodies[round] = body.String()
	}
	r, err := decode(strings.NewReader(bodies[0]), maxBody, nil, model.Match{}, steps{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(bodies[0])))
	b.ReportAllocs()
	round := 0
	for b.Loop() {
		round++
		next, err := decode(strings.NewReader(bodies[round%2]), maxBody, r.table, model.Match{}, steps{})
		if err != nil {
			b.Fatal(err)
		}
		next.table.samples(next.points, next.series)
	}
}

func TestRangeTimes(t *testing.T) {
	of := steps{time.Unix(100, 0), 5 * time.Second, 3}
	matrix := func(values string) string {
		return `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[` + values + `]}]}}`
	}
	r, err := decode(strings.NewReader(matrix(`[100,"1"],[105.001,"2"],[110,"3"]`)), maxBody, nil, model.Match{}, of)
	if err != nil || fmt.Sprint(r.points) != "[{0 0 1} {0 1 2} {0 2 3}]" {
		t.Errorf("points %v, %v", r.points, err)
	}
	for _, values := range []string{`[95,"1"]`, `[115,"1"]`, `[1e300,"1"]`, `["x","1"]`} {
		if _, err := decode(strings.NewReader(matrix(values)), maxBody, nil, model.Match{}, of); err == nil {
			t.Errorf("%s was taken", values)
		}
	}
}
