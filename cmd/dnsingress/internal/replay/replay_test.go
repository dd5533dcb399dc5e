// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func setup() Setup {
	return Setup{Interval: 5 * time.Second, Staleness: 20 * time.Second, TTL: 5 * time.Second, NegativeTTL: time.Second}
}

// bare is a policy without guards that keeps members below a limit.
func bare(t *testing.T, signal, keep string) *model.Policy {
	t.Helper()
	b, err := steer.ParseBound(keep)
	if err != nil {
		t.Fatal(err)
	}
	return &model.Policy{Signals: []model.Signal{{Name: signal}}, Steer: steer.Policy{Rules: []steer.Rule{{Signal: signal, Keep: b}}}}
}

// series makes samples every five seconds; "." is no sample.
func samplesOf(signal, member, values string) []Sample {
	var out []Sample
	for i, field := range strings.Fields(values) {
		if field != "." {
			var v float64
			if _, err := fmt.Sscan(field, &v); err != nil {
				panic(err)
			}
			out = append(out, Sample{begin.Add(time.Duration(i) * 5 * time.Second), signal, "", member, v})
		}
	}
	return out
}

func tell(o Outcome) []string {
	var out []string
	for _, c := range o.Changes {
		line := fmt.Sprintf("%v %d/%d", c.At.Sub(begin), c.In, c.Ready)
		if c.FailOpen {
			line += " open"
		}
		for _, m := range c.Moves {
			sign := "-"
			if m.In {
				sign = "+"
			}
			line += fmt.Sprintf(" %s%s:%s", sign, m.Member, m.Reason)
		}
		out = append(out, line)
	}
	return out
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name    string
		samples [][2]string // member, values
		want    []string
		moves   int
	}{
		{"steady", [][2]string{{"a", "1 1 1"}, {"b", "2 2 2"}}, []string{"0s 2/2 +a:within +b:within"}, 0},
		{"out and back", [][2]string{{"a", "1 1 1 1"}, {"b", "1 9 9 1"}}, []string{"0s 2/2 +a:within +b:within", "5s 1/2 -b:beyond", "15s 2/2 +b:within"}, 2},
		{"too few left", [][2]string{{"a", "1 9"}, {"b", "1 9"}}, []string{"0s 2/2 +a:within +b:within", "5s 2/2 open"}, 0},
		{"a member comes later and goes", [][2]string{{"a", "1 1 1 1 1 1 1 1 1 1"}, {"b", ". . 1 1"}}, []string{"0s 1/1 +a:within", "10s 2/2 +b:within", "40s 1/1 -b:gone"}, 2},
		// Nothing is heard from 5 s to 45 s: the values are stale after 20 s and readiness counts, as it does live.
		{"metrics away", [][2]string{{"a", "1 1 . . . . . . . 1"}, {"b", "1 9 . . . . . . . 9"}}, []string{"0s 2/2 +a:within +b:within", "5s 1/2 -b:beyond", "25s 2/2 +b:no-signal", "45s 1/2 -b:beyond"}, 3},
		{"fd00::1 and IPv4 are addresses", [][2]string{{"fd00::1", "1"}, {"10.0.0.1", "1"}}, []string{"0s 2/2 +10.0.0.1:within +fd00::1:within"}, 0},
	} {
		var samples []Sample
		for _, s := range c.samples {
			samples = append(samples, samplesOf("load", s[0], s[1])...)
		}
		o, err := Run(bare(t, "load", "< 8"), samples, setup())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, tell(o)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if o.Moves != c.moves {
			t.Errorf("%s: %d moves, want %d", c.name, o.Moves, c.moves)
		}
	}
}

func TestRunCountsTime(t *testing.T) {
	samples := append(samplesOf("load", "a", "1 1 1 1 1"), samplesOf("load", "b", "1 9 9 9 1")...)
	o, err := Run(bare(t, "load", "< 8"), samples, setup())
	if err != nil {
		t.Fatal(err)
	}
	if o.Decisions != 5 || o.MeanTTL != 5*time.Second || o.To.Sub(o.From) != 20*time.Second {
		t.Errorf("%+v", o)
	}
	if a, b := o.Members[0], o.Members[1]; a.Share != 1 || a.Leaves != 0 || b.Share != 0.25 || b.Leaves != 1 || b.LongestOut != 15*time.Second || math.Abs(b.Weight-0.5) > 1e-9 {
		t.Errorf("%+v", o.Members)
	}
}

// Two signals with intervals of their own are evaluated each at its own instants, and a check stands until it turns.
func TestRunEvaluatesEachSignalAtItsInstants(t *testing.T) {
	p := bare(t, "load", "< 8")
	alive, err := steer.ParseBound("> 0")
	if err != nil {
		t.Fatal(err)
	}
	p.Signals[0].Interval = 10 * time.Second
	p.Signals = append(p.Signals, model.Signal{Name: "idle", Interval: 15 * time.Second})
	p.Checks = []model.HealthCheck{{Name: "alive"}}
	p.Steer.Rules = append(p.Steer.Rules, steer.Rule{Signal: "alive", Keep: alive})
	samples := append(samplesOf("load", "a", "1 1 1 1 1 1 1 1"), samplesOf("load", "b", "1 9 1 9 9 1 1 1")...)
	samples = append(samples, Sample{begin, "alive", "", "a", 1}, Sample{begin, "alive", "", "b", 1}, Sample{begin.Add(27 * time.Second), "alive", "", "b", 0})
	o, err := Run(p, samples, setup())
	if err != nil {
		t.Fatal(err)
	}
	// The load of b is 9 at 5 s and 15 s, when nobody asks, and at 20 s, when somebody does.
	want := []string{"0s 2/2 +a:within +b:within", "20s 1/2 -b:beyond"}
	if d := cmp.Diff(want, tell(o)); d != "" {
		t.Error(d)
	}
}

func TestReadsWhatItWrites(t *testing.T) {
	for _, c := range []struct{ name, data, signal string }{
		{"CSV", "time,signal,pod,value\n1767225600,load,a,1.5\n2026-01-01T00:00:05Z,load,a,+Inf\n", ""},
		{"CSV of one signal, columns in another order", "value,address,time\n1.5,a,1767225600.000\nInf,a,1767225605\n", "load"},
		{"Prometheus", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[[1767225600,"1.5"],[1767225605,"+Inf"]]}]}}`, "load"},
	} {
		got, err := Read("x", []byte(c.data), c.signal, model.Match{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if d := cmp.Diff([]Sample{{begin, "load", "", "a", 1.5}, {begin.Add(5 * time.Second), "load", "", "a", math.Inf(1)}}, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct{ data, signal, want string }{
		{"", "", "x:1:1: no samples (hint: time,signal,pod,value and a line for each)"},
		{"time,pod,pod,value\n", "", "x:1:1: a second column pod"},
		{"time,value\n", "", "x:1:1: no column pod (hint: the first line is time,signal,pod,value)"},
		{"time,signal,pod,value\n1,load,a,1\n", "load", "x:1:1: a column signal, and the file is said to be of load (hint: give the file without load=)"},
		{"time,pod,value\n1,,NaN\n", "", "x:2:3: a pod is missing"},
		{"time,pod,value\n1,\"a,1\n", "", "x:2:8: extraneous or missing \" in quoted-field"},
		{`{"status":"error","error":"bad_data"}`, "", "x:1:1: x is no answer of /api/v1/query_range: bad_data"},
		{`{"status":"success","data":{"resultType":"vector","result":[]}}`, "", "x:1:1: x is no answer of /api/v1/query_range: the result is a vector"},
		{`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"job":"j"},"values":[[1,"1"]]}]}}`, "", `x: data.result[0] {"job":"j"} has no label that tells a pod: pod, address, ip, pod_ip, instance`},
		{`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"j"},"values":[[1,"one"]]}]}}`, "", `x: data.result[0].values[0]: "one" is no number`},
	} {
		if _, err := Read("x", []byte(c.data), c.signal, model.Match{}); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.data, err, c.want)
		}
	}
}

// Two pods of one name in two namespaces are two, unless the policy's namespace says that one of them is nobody's.
func TestNamespaces(t *testing.T) {
	data := `{"status":"success","data":{"resultType":"matrix","result":[
		{"metric":{"namespace":"shop","pod":"web-0"},"values":[[1767225600,"1"],[1767225605,"1"]]},
		{"metric":{"namespace":"blog","pod":"web-0"},"values":[[1767225600,"9"],[1767225605,"9"]]},
		{"metric":{"namespace":"shop","pod":"web-1"},"values":[[1767225600,"1"],[1767225605,"1"]]}]}}`
	samples, err := Read("x", []byte(data), "load", model.Match{})
	if err != nil {
		t.Fatal(err)
	}
	for namespace, want := range map[string]string{"": "0s 2/3 +shop/web-0:within +shop/web-1:within", "shop": "0s 2/2 +shop/web-0:within +shop/web-1:within"} {
		with := setup()
		with.Namespace = namespace
		o, err := Run(bare(t, "load", "< 8"), samples, with)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{want}, tell(o)); d != "" {
			t.Errorf("namespace %q: %s", namespace, d)
		}
	}
	with := setup()
	with.Namespace = "elsewhere"
	if _, err := Run(bare(t, "load", "< 8"), samples, with); err == nil {
		t.Error("samples of other namespaces alone are taken")
	}
}

// Series belong to pods by the signal's match, and to addresses without their ports, as they do live.
func TestReadMatches(t *testing.T) {
	read := func(labels string, m model.Match) string {
		samples, err := Read("x", []byte(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":`+labels+`,"values":[[1,"1"]]}]}}`), "load", m)
		if err != nil {
			return err.Error()
		}
		return samples[0].name()
	}
	for _, c := range []struct {
		labels string
		match  model.Match
		want   string
	}{
		{`{"pod":"scraper-1","exported_pod":"web-0","exported_namespace":"shop"}`, model.Match{Pod: "exported_pod", Namespace: "exported_namespace"}, "shop/web-0"},
		{`{"instance":"[fd00::1]:8080"}`, model.Match{}, "fd00::1"},
		{`{"pod":"web-0"}`, model.Match{Address: "addr"}, `x: data.result[0] {"pod":"web-0"} has no label that tells a pod: addr`},
	} {
		if got := read(c.labels, c.match); got != c.want {
			t.Errorf("%s: %s, want %s", c.labels, got, c.want)
		}
	}
}

// A pod without a sample at an evaluation is no data at once, and so is one with two.
func TestGaps(t *testing.T) {
	for name, b := range map[string][]Sample{
		"gap":       samplesOf("load", "b", "1 1 . . . 1"),
		"ambiguous": append(samplesOf("load", "b", "1 1 1 1 1 1"), samplesOf("load", "b", ". . 2 2 2 .")...),
	} {
		p := bare(t, "load", "< 8")
		p.Steer.Guards.NoData = steer.NoDataDrop
		o, err := Run(p, append(samplesOf("load", "a", "1 1 1 1 1 1"), b...), setup())
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"0s 2/2 +a:within +b:within", "10s 1/2 -b:no-data", "25s 2/2 +b:within"}
		if d := cmp.Diff(want, tell(o)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("time,signal,pod,value\n1767225600,load,a,1.5\n"))
	f.Add([]byte("value,address,time\nInf,a,2026-01-01T00:00:05Z\n"))
	f.Add([]byte(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[[1767225600,"1.5"]]}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		samples, err := Read("x", data, "", model.Match{})
		if err == nil && len(samples) == 0 {
			t.Error("neither samples nor an error")
		}
		for _, s := range samples {
			if err == nil && (s.Member == "" || s.At.IsZero()) {
				t.Errorf("%+v", s)
			}
		}
	})
}
