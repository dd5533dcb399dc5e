// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type plan struct {
	Version int               `yaml:"version"`
	Name    string            `yaml:"name"`
	Wait    time.Duration     `yaml:"wait"`
	Rate    float64           `yaml:"rate"`
	Hosts   []host            `yaml:"hosts"`
	Limit   *int              `yaml:"limit"`
	Labels  map[string]string `yaml:"labels"`
	Path    string            // no key
}

type host struct {
	Name    string     `yaml:"name"`
	Address netip.Addr `yaml:"address"`
}

func TestDecodesEveryKind(t *testing.T) {
	var got plan
	f := Decode("plan.yaml", []byte(`version: 1
name: "x"
wait: 1m30s
rate: 12.5
limit: 3
labels: {a: b}
hosts:
  - {name: one, address: "fd00::1"}
`), &got)
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	three := 3
	want := plan{1, "x", 90 * time.Second, 12.5, []host{{"one", netip.MustParseAddr("fd00::1")}}, &three, map[string]string{"a": "b"}, ""}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if !f.Has("hosts[0].address") || f.Has("hosts[1].address") || f.Has("path") {
		t.Error("Has is wrong about hosts[0].address, hosts[1].address or path")
	}
}

func TestReportsEverythingAtOnce(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"many": {
			"version: one\nnmae: x\nwait: soon\nwait: 1s\nhosts:\n  - name: a\n    address: nowhere\n    port: 3\nlabels: [a]\nlimit: {}\nPathology: x\nRatee: 1\n",
			`p.yaml:1:10: version: want a whole number, got "one"
p.yaml:2:1: unknown key "nmae" (hint: did you mean "name"?)
p.yaml:3:7: wait: want a duration such as 500ms or 10s, got "soon"
p.yaml:4:1: key "wait" given twice
p.yaml:7:14: hosts[0].address: "nowhere": ParseAddr("nowhere"): unable to parse IP
p.yaml:8:5: hosts[0]: unknown key "port" (hint: known: address, name)
p.yaml:9:9: labels: want keys and values, got a list
p.yaml:10:8: limit: want a whole number, got keys and values
p.yaml:11:1: unknown key "Pathology" (hint: known: hosts, labels, limit, name, rate, version, wait)
p.yaml:12:1: unknown key "Ratee" (hint: did you mean "rate"?)`,
		},
		"empty":  {"# nothing\n", "p.yaml:1:1: the file is empty"},
		"syntax": {"a: [\n", "p.yaml:1:1: did not find expected node content (hint: the file is no YAML)"},
		"second": {"name: a\n---\nname: b\n", "p.yaml:2:1: a second document (hint: one document a file)"},
		"alias":  {"name: &x a\nhosts: *x\n", "p.yaml:2:8: hosts: an alias (hint: write the value out)"},
		"scalar": {"hello\n", `p.yaml:1:1: want keys and values, got "hello"`},
		"null":   {"name:\nlimit:\n", "p.yaml:1:6: name: want a text, got nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			var p plan
			err := Decode("p.yaml", []byte(test.in), &p).Err()
			if err == nil {
				t.Fatal("no error")
			}
			if d := cmp.Diff(test.want, err.Error()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPlacesTheCallersFindings(t *testing.T) {
	var p plan
	f := Decode("p.yaml", []byte("version: 2\nhosts:\n  - name: a\n"), &p)
	f.Problem("version", "this program reads 1", "version %d", p.Version)
	f.Problem("hosts[0].address", "", "no address")
	err := f.Err()
	want := "p.yaml:1:10: version: version 2 (hint: this program reads 1)\np.yaml:3:5: hosts[0].address: no address"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if problem := (Problem{}); !errors.As(err, &problem) || problem.Line != 1 {
		t.Errorf("errors.As gave %+v", problem)
	}
}

func TestSaysOneThingOfWhatIsNoYAML(t *testing.T) {
	for _, in := range []string{"", "a: [", "a: b\n  c: d\n"} {
		var p plan
		f := Decode("p.yaml", []byte(in), &p)
		f.Problem("version", "", "missing")
		if err := f.Err(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// Either is a struct whose keys stand beside those of the one it is in.
type Either struct {
	Either word `json:"either,omitempty"`
}

// word reads itself from a JSON text or number.
type word string

func (w *word) UnmarshalJSON(data []byte) error {
	if data[0] == '{' {
		return errors.New("neither")
	}
	*w = word(strings.Trim(string(data), `"`))
	return nil
}

func TestManifests(t *testing.T) {
	type object struct {
		Kind  string     `json:"kind"`
		Share netip.Addr `json:"share,omitempty"`
		Count int        `json:"count"`

		Labels map[string]string `json:"labels"`
		Inner  map[string]string `json:"inner"`
		Either `json:",inline"`
	}
	read := func(data string) (got []object, errs string) {
		for _, f := range Manifests("all.yaml", []byte(data)) {
			var o object
			f.Decode(&o)
			if err := f.Err(); err != nil {
				errs += err.Error() + "\n"
			}
			got = append(got, o)
		}
		return got, errs
	}
	for _, c := range []struct {
		name, data string
		want       []object
		errs       string
	}{
		{"several, some empty", "---\nkind: A\ncount: 1\n---\n# nothing\n---\nkind: B\n---\n", []object{{Kind: "A", Count: 1}, {Kind: "B"}}, ""},
		{"lines count from the file's beginning", "kind: A\n---\nkind: B\ncuont: 2\n", []object{{Kind: "A"}, {Kind: "B"}}, "all.yaml:4:1: unknown key \"cuont\" (hint: did you mean \"count\"?)\n"},
		{"numbers are no texts", "kind: 5\nshare: 1.5\n", []object{{}}, "all.yaml:1:7: kind: want a text, got 5 (hint: \"5\")\nall.yaml:2:8: share: want a text, got 1.5 (hint: \"1.5\")\n"},
		{"JSON", `{"kind": "A", "count": 3}`, []object{{Kind: "A", Count: 3}}, ""},
		{"JSON one after another", "{\"kind\": \"A\"}\n{\n\t\"kind\": \"B\",\n\t\"cuont\": 3}", []object{{Kind: "A"}, {Kind: "B"}}, "all.yaml:4:2: unknown key \"cuont\" (hint: did you mean \"count\"?)\n"},
		{"JSON on one line", `{"kind": "A"} {"kind": 1}`, []object{{Kind: "A"}, {}}, "all.yaml:1:24: kind: want a text, got 1 (hint: \"1\")\n"},
		{"null is nothing", "kind: null\ncount:\n", []object{{}}, ""},
		{"aliases", "labels: {a: &x A}\nkind: *x\n", []object{{Kind: "A", Labels: map[string]string{"a": "A"}}}, ""},
		{"merge keys", "inner: &x {a: b, c: d}\nlabels: {<<: *x, a: e}\n", []object{{Inner: map[string]string{"a": "b", "c": "d"}, Labels: map[string]string{"a": "e", "c": "d"}}}, ""},
		{"an alias within itself", "labels: &x {a: *x}\n", []object{{Labels: map[string]string{"a": ""}}}, "all.yaml:1:16: labels.a: an alias (hint: write the value out)\n"},
		{"reads itself", "either: 5", []object{{Either: Either{Either: "5"}}}, ""},
		{"reads itself not", "\neither: {a: b}", []object{{}}, "all.yaml:2:9: either: keys and values: neither\n"},
		{"empty", "---\n", []object{{}}, "all.yaml:1:1: the file is empty\n"},
		{
			"what is no YAML takes nothing along that stands behind it", "# a comment\n%YAML 1.1\n---\nkind: A\n--- # second\nkind: B\ncount: {a}-{b}\n---\n\n---\nkind: C\n",
			[]object{{Kind: "A"}, {}, {Kind: "C"}},
			"all.yaml:7:8: did not find expected key (hint: in quotation marks: \"{a}-{b}\")\n",
		},
		{
			"the line that cannot be read, not where its block began", "kind: A\nlabels:\n  a: [b,\n    c]\n  d: 'e\n  f: g\nh: i\n",
			[]object{{}},
			"all.yaml:5:3: found unexpected end of stream (hint: the file is no YAML)\n",
		},
		{"a tab in front", "kind: A\nlabels:\n\ta: b\n", []object{{}}, "all.yaml:3:1: found character that cannot start any token (hint: the file is no YAML)\n"},
		{"three dashes within a text begin no document", "kind: |\n  a\n  ---\n  b\n...\n---\nkind: ---a\n", []object{{Kind: "a\n---\nb\n"}, {Kind: "---a"}}, ""},
		{"no YAML behind a good document", "kind: A\n---\nkind: {\n", []object{{Kind: "A"}, {}}, "all.yaml:3:1: did not find expected node content (hint: the file is no YAML)\n"},
	} {
		got, errs := read(c.data)
		if d := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if errs != c.errs {
			t.Errorf("%s: got %q, want %q", c.name, errs, c.errs)
		}
	}
}

// even is a text that knows where it is wrong.
type even struct{}

type oddAt int

func (o oddAt) Error() string { return "odd" }
func (o oddAt) Offset() int   { return int(o) }

func (*even) UnmarshalText(text []byte) error {
	if at := strings.IndexAny(string(text), "13579"); at >= 0 {
		return oddAt(at)
	}
	return nil
}

func TestPlacesWithinTexts(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"plain", "a: 2 4 5", "f:1:8: a: odd"},
		{"double quotes", `a: "2 4 5"`, "f:1:9: a: odd"},
		{"single quotes", `{a: '2 4 5'}`, "f:1:10: a: odd"},
		{"escapes move what follows: the beginning", `a: "\x32 5"`, "f:1:4: a: odd"},
		{"literal block", "a: |\n  2 4\n    4 2 7\n", "f:3:9: a: odd"},
		{"literal block, chomped, with an empty line", "a: |-\r\n  2\r\n\r\n  5", "f:4:3: a: odd"},
		{"folded block: the beginning", "a: >\n  2 4\n  5\n", "f:1:4: a: odd"},
		{"plain over two lines: the beginning", "a: 2\n  5\n", "f:1:4: a: odd"},
	} {
		var v struct {
			A even `json:"a"`
		}
		f := Decode("f", []byte(c.data), &v)
		if err := f.Err(); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
		f = Decode("f", []byte(c.data), &struct {
			A any `json:"a"`
		}{})
		f.ProblemWithin("a", strings.IndexAny(f.find("a").Value, "13579"), "", "odd")
		if err := f.Err(); err == nil || err.Error() != c.want {
			t.Errorf("%s: the caller's: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestListsWithinManifests(t *testing.T) {
	f := Manifests("f", []byte("kind: List\nitems:\n  - kind: A\n    name: 'x'\n  - kind: B\n    labels: {a.b/c: d}\n    oops: 1\n"))[0]
	items := f.Each("items")
	if f.Text("kind") != "List" || len(items) != 2 || items[0].Text("name") != "x" || items[1].Text("labels") != "" || f.Each("kind") != nil {
		t.Fatalf("%d items, kind %q", len(items), f.Text("kind"))
	}
	var v struct {
		Kind   string            `json:"kind"`
		Labels map[string]string `json:"labels"`
	}
	items[1].Decode(&v)
	items[1].Problem(`labels["a.b/c"]`, "", "bad")
	want := "f:6:21: labels[\"a.b/c\"]: bad\nf:7:5: unknown key \"oops\" (hint: known: kind, labels)"
	if err := items[1].Err(); err == nil || err.Error() != want || items[1].Unread() {
		t.Errorf("got %v, want %s", err, want)
	}
	if items[0].Decode(&struct {
		Name int `json:"name"`
	}{}); !items[0].Unread() {
		t.Error("a text was read as a number")
	}
}

// FuzzManifests: what is read is never more than the file has, and always ends.
func FuzzManifests(f *testing.F) {
	f.Add([]byte("kind: A\n---\nkind: B\n"))
	f.Add([]byte(`{"a": 1} {"a": [2]}`))
	f.Add([]byte("a: &a [*a, &b [*a]]\nb: *b\n"))
	f.Add([]byte("a: &a {x: y}\nb: &b {<<: *a}\nc: {<<: [*a, *b]}\n"))
	f.Add([]byte("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\ne: [*d,*d]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
		for _, file := range Manifests("f", data) {
			var v any
			file.Decode(&struct {
				A *any `json:"a"`
			}{&v})
			_ = file.Text("a")
			if p := file.Place(`a["b"][0]`); p.Line < 1 || p.Line > lines || p.Column < 1 {
				t.Errorf("a place that is not in the file: %v", p)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("version: 1\nhosts: [{name: a, address: '::1'}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("<<: {name: x}\nlabels: {<<: [a]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p plan
		file := Decode("f", data, &p)
		file.Problem("hosts[0].name", "h", "x")
		if err := file.Err(); err == nil || file.root != nil && !strings.Contains(err.Error(), "hosts[0].name: x (hint: h)") {
			t.Fatalf("lost a problem: %v", err)
		}
	})
}
