// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/figure"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/report"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/table"
)

const v1 = "../../../../internal/results/testdata/v1/quickstart/20261121T200000Z"

func page(t *testing.T, change func(*digest.Run)) []byte {
	t.Helper()
	run, err := digest.Open(t.Context(), v1, nil)
	if err != nil {
		t.Fatal(err)
	}
	change(run)
	p := report.Page{
		Run: run, Cells: run.Cells(),
		Figures: []*figure.Figure{figure.Phases("phases", []figure.Bar{{System: "direct", Parts: []figure.Part{{Name: "dns", Value: 1}}, Trials: []float64{1}}})},
		Tables:  []*table.Table{{Name: "results", Caption: "Results", Columns: []table.Column{{Head: "system"}}, Rows: [][]table.Cell{{table.Text("<i>direct</i>")}}}},
	}
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// The page needs nothing but itself, its links lead somewhere, and its tables and images say what they are.
func TestSelfContained(t *testing.T) {
	doc, err := html.Parse(bytes.NewReader(page(t, func(*digest.Run) {})))
	if err != nil {
		t.Fatal(err)
	}
	ids, links := map[string]bool{}, []string{}
	images, scripts, level := 0, 0, 0
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "link", "img", "iframe", "object", "form":
			t.Errorf("the page has a <%s>", n.Data)
		case "script":
			scripts++
		case "a":
			links = append(links, attribute(n, "href"))
		case "th":
			if attribute(n, "scope") == "" {
				t.Error("a table header without a scope")
			}
		case "h1", "h2", "h3":
			if l := int(n.Data[1] - '0'); l > level+1 {
				t.Errorf("%s follows h%d", n.Data, level)
			} else {
				level = l
			}
		}
		if attribute(n, "role") == "img" {
			images++
			if attribute(n, "aria-label") == "" {
				t.Error("an image without words for it")
			}
		}
		for _, a := range n.Attr {
			if (a.Key == "src" || a.Key == "href") && !strings.HasPrefix(a.Val, "#") {
				t.Errorf("<%s> refers to %q", n.Data, a.Val)
			}
		}
		if id := attribute(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("id %q is there twice", id)
			}
			ids[id] = true
		}
	}
	if len(links) < 7 || images != 2 {
		t.Errorf("%d links and %d images, want 7 or more and 2 (light and dark)", len(links), images)
	}
	if scripts != 2 {
		t.Errorf("%d scripts, want the plots' data and plot.js", scripts)
	}
	for _, l := range links {
		if !ids[strings.TrimPrefix(l, "#")] {
			t.Errorf("link to %q leads nowhere", l)
		}
	}
}

// Whatever files hold, it is text.
func TestEscaping(t *testing.T) {
	const evil = `<script>alert(1)</script>`
	b := page(t, func(run *digest.Run) {
		run.Manifest.Question, run.Scenario = evil, evil
		run.Manifest.Settings["a"] = evil
		run.Trials[0].System, run.Trials[0].ID = evil, evil
		run.Trials[1].Verdict.Valid = false
		run.Trials[1].Verdict.Reasons = []string{evil}
		run.Warnings = append(run.Warnings, digest.Warning{Text: evil})
	})
	if n := bytes.Count(b, []byte("<script")); n != 2 {
		t.Errorf("%d scripts are in the page, want its own 2", n)
	}
	if n := bytes.Count(b, []byte("&lt;script&gt;")); n < 6 {
		t.Errorf("the text is there %d times, want 6 or more", n)
	}
	if !bytes.Contains(b, []byte("&lt;i&gt;direct")) {
		t.Error("a table cell was not escaped")
	}
}

// What the run says of itself is in the page.
func TestContents(t *testing.T) {
	b := string(page(t, func(run *digest.Run) { run.Manifest.Source.Dirty = true }))
	for _, want := range []string{
		"generator on client-1 lagged", "20 of 21 trials are valid", "connect-refused 260", "bench/backend-7c9d5-x2x4q", "client-2: 0.0380 ms",
		"proxies.reached-by", "This run is made up by a test", "traefik", "3.6.2", "6.1.0-32-amd64", "version: 1", "with uncommitted changes", "prefers-color-scheme",
	} {
		if !strings.Contains(b, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}
