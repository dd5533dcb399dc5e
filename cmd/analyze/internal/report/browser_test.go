// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/cmd/analyze/internal/report"
)

func written(t *testing.T, page []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, page, 0o644); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

// coloured counts the pixels of the colour in a part of a picture.
func coloured(img image.Image, in image.Rectangle, r, g, b uint32) int {
	n := 0
	for y := in.Min.Y; y < in.Max.Y; y++ {
		for x := in.Min.X; x < in.Max.X; x++ {
			if cr, cg, cb, _ := img.At(x, y).RGBA(); cr>>8 == r && cg>>8 == g && cb>>8 == b {
				n++
			}
		}
	}
	return n
}

// TestBrowser has one real browser show pages. REPORT_SCREENSHOTS=DIR keeps pictures.
func TestBrowser(t *testing.T) {
	c := browser(t)
	for name, test := range map[string]func(*testing.T, *chrome){
		"a run": testRun, "accessibility": testAccessibility, "without scripts": testWithoutScript, "policy": testPolicy, "two runs": testComparison,
	} {
		t.Run(name, func(t *testing.T) { test(t, c.tab(t)) })
	}
}

// The report of a run is worked with mouse and keys as a reader does.
func testRun(t *testing.T, c *chrome) {
	c.open(written(t, page(t, func(*digest.Run) {})))
	count := func(selector string) int {
		return int(c.eval("document.querySelectorAll(%q).length", selector).(float64))
	}
	text := func(selector string) string {
		return c.eval("document.querySelector(%q).textContent", selector).(string)
	}
	c.screenshot("run", true)

	for id, series := range map[string]int{"plot-latency": 5, "plot-trials": 5, "plot-faults": 5} {
		if got := count("#" + id + " [data-series]"); got != series {
			t.Errorf("%s draws %d series, want %d", id, got, series)
		}
	}
	box := c.box("#plot-latency .canvas")
	rect := image.Rect(int(box[0]), int(box[1]), int(box[0]+box[2]), int(box[1]+box[3]))
	if n := coloured(c.screenshot("latency", false), rect, 0x00, 0x72, 0xb2); n < 100 {
		t.Errorf("%d pixels have the colour of dnsingress: nothing is drawn", n)
	}

	// A system that is ticked off leaves every plot, and what follows from there on.
	c.clickOn("#plot-latency .legend label:nth-of-type(2) input")
	if got := count(`[data-series="dnsingress"]`); got != 0 {
		t.Errorf("%d plots still show dnsingress", got)
	}
	box = c.box("#plot-latency .canvas")
	if n := coloured(c.screenshot("toggled", false), rect, 0x00, 0x72, 0xb2); n > 20 {
		t.Errorf("%d pixels still have the colour of dnsingress", n)
	}
	if c.eval(`document.querySelector("#plot-faults .legend label:nth-of-type(2) input").checked`).(bool) {
		t.Error("the other plots' boxes do not follow")
	}
	c.clickOn("#plot-faults .legend label:nth-of-type(2) input")
	if got := count(`[data-series="dnsingress"]`); got != 3 {
		t.Errorf("%d plots show dnsingress again, want 3", got)
	}

	// The cursor reads values: of every system, at a percentile.
	box = c.box("#plot-latency .canvas")
	c.mouse("mouseMoved", box[0]+box[2]/2, box[1]+box[3]*0.4, 0)
	if said := text("#plot-latency .said"); !strings.HasPrefix(said, "p9") || !strings.Contains(said, "envoy: ") || !strings.HasSuffix(said, " ms") {
		t.Errorf("under the mouse: %q", said)
	}
	if value := text("#plot-latency .legend .value"); !strings.HasSuffix(value, " ms") {
		t.Errorf("the legend says %q", value)
	}
	c.screenshot("hover", false)

	// An event of a trial is read where it lies.
	box = c.box("#plot-faults .canvas")
	line := c.eval(`(r => [r.x, r.y])(document.querySelector("#plot-faults .mark").getBoundingClientRect())`).([]any)
	c.mouse("mouseMoved", line[0].(float64), box[1]+box[3]/2, 0)
	if said := text("#plot-faults .said"); !strings.Contains(said, "dnsingress, 0.18 s: member-out bench/backend-7c9d5-x2x4q") {
		t.Errorf("at an event: %q", said)
	}
	c.screenshot("event", false)
	box = c.box("#plot-latency .canvas")

	// A frame zooms, a double click shows all again.
	shape := func() string {
		return c.eval(`document.querySelector("#plot-latency [data-series]").getAttribute("d")`).(string)
	}
	all := shape()
	c.drag(box[0]+box[2]*0.3, box[1]+box[3]*0.2, box[0]+box[2]*0.6, box[1]+box[3]*0.6)
	zoomed := shape()
	if zoomed == all {
		t.Error("dragging a frame did not zoom")
	}
	c.screenshot("zoomed", false)
	c.click(box[0]+box[2]/2, box[1]+box[3]/2, 2)
	if shape() != all {
		t.Error("a double click did not show all")
	}
	c.clickOn("#plot-latency .buttons button:nth-of-type(1)")
	if shape() == all {
		t.Error("the button does not zoom")
	}

	// By keyboard alone: cursor, zoom, back.
	c.eval(`document.querySelector("#plot-latency .canvas").focus()`)
	c.key("0")
	if shape() != all {
		t.Error("0 did not show all")
	}
	for range 3 {
		c.key("ArrowRight")
	}
	said := text("#plot-latency .said")
	if !strings.HasPrefix(said, "p90 – ") {
		t.Errorf("the third stop by keyboard is %q, want p90", said)
	}
	if live := c.eval(`document.querySelector("#plot-latency .said").getAttribute("aria-live")`); live != "polite" {
		t.Errorf("what keys do is announced %v", live)
	}
	c.key("+")
	if shape() == all {
		t.Error("+ did not zoom")
	}
	c.key("Escape")
	c.key("Tab")
	if on := c.eval("document.activeElement.type"); on != "checkbox" {
		t.Errorf("Tab leads from the plot to %v, want its legend", on)
	}
	c.key(" ")
	if got := count(`#plot-latency [data-series="direct"]`); got != 0 {
		t.Error("the space bar did not tick the system off")
	}
	c.key(" ")

	// Another quantity.
	c.eval(`(s => { s.value = "1"; s.dispatchEvent(new Event("change")) })(document.querySelector("#plot-trials select"))`)
	if name := text("#plot-trials .canvas .name:last-of-type"); name != "p99 (ms)" {
		t.Errorf("the axis of the second quantity is %q", name)
	}

	// Dark and light: as the system has it, and as the reader wants it.
	paper := func() any { return c.eval("getComputedStyle(document.body).backgroundColor") }
	c.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	if got := paper(); got != "rgb(27, 30, 35)" {
		t.Errorf("a dark system has %v paper", got)
	}
	c.screenshot("dark", true)
	c.clickOn("#theme")
	if got := paper(); got != "rgb(255, 255, 255)" {
		t.Errorf("a reader who wants light has %v paper", got)
	}
	c.clickOn("#theme")
	c.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "light"}}}, nil)
	if got := paper(); got != "rgb(27, 30, 35)" {
		t.Errorf("a reader who wants dark has %v paper", got)
	}
	if got := c.eval(`getComputedStyle(document.querySelector(".drawing.dark")).display + getComputedStyle(document.querySelector(".drawing.light")).display`); got != "blocknone" {
		t.Errorf("drawings for dark and light pages are %v", got)
	}
	c.clickOn("#theme")

	// A telephone: nothing reaches beyond the page.
	c.size(375, 800, true)
	if wide := c.eval("document.documentElement.scrollWidth").(float64); wide > 375 {
		t.Errorf("on 375 pixels the page is %v wide", wide)
	}
	c.screenshot("phone", false)

	if said := c.complaints(); len(said) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(said, "\n"))
	}
}

// What a screen reader is told: everything that can be worked has a name, and so has every plot and figure.
func testAccessibility(t *testing.T, c *chrome) {
	c.open(written(t, page(t, func(*digest.Run) {})))
	var tree struct {
		Nodes []struct {
			Ignored bool `json:"ignored"`
			Role    struct {
				Value string `json:"value"`
			} `json:"role"`
			Name struct {
				Value string `json:"value"`
			} `json:"name"`
		} `json:"nodes"`
	}
	c.call("Accessibility.getFullAXTree", nil, &tree)
	seen := map[string]int{}
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		role := strings.ToLower(n.Role.Value)
		switch role {
		case "button", "checkbox", "combobox", "link", "application", "image", "img", "table", "navigation":
			seen[role]++
			if role == "table" {
				continue // named by its caption, which Chromium counts as its name
			}
			if strings.TrimSpace(n.Name.Value) == "" {
				t.Errorf("a %s has no name", role)
			}
		}
	}
	for role, least := range map[string]int{"application": 3, "checkbox": 15, "button": 9, "combobox": 1, "navigation": 1} {
		if seen[role] < least {
			t.Errorf("%d of role %s, want %d or more: %v", seen[role], role, least, seen)
		}
	}
}

// Without scripts the page says as much, with figures in the place of plots.
func testWithoutScript(t *testing.T, c *chrome) {
	c.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	c.open(written(t, page(t, func(*digest.Run) {})))
	c.screenshot("without-script", true)
	var document struct {
		Root struct {
			ID int `json:"nodeId"`
		} `json:"root"`
	}
	c.call("DOM.getDocument", nil, &document)
	for selector, want := range map[string]bool{"noscript p": true, "#theme": false, ".plot": false, "figure": true} {
		var found struct {
			ID int `json:"nodeId"`
		}
		c.call("DOM.querySelector", map[string]any{"nodeId": document.Root.ID, "selector": selector}, &found)
		var styles struct {
			Computed []struct{ Name, Value string } `json:"computedStyle"`
		}
		c.call("CSS.enable", nil, nil)
		c.call("CSS.getComputedStyleForNode", map[string]any{"nodeId": found.ID}, &styles)
		shown := true
		for _, s := range styles.Computed {
			if s.Name == "display" {
				shown = s.Value != "none"
			}
		}
		if found.ID == 0 || shown != want {
			t.Errorf("%s is shown: %v, want %v", selector, shown, want)
		}
	}
	if said := c.complaints(); len(said) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(said, "\n"))
	}
}

// The policy in the page's head keeps a script out that got into it nevertheless.
func testPolicy(t *testing.T, c *chrome) {
	b := page(t, func(*digest.Run) {})
	b = bytes.Replace(b, []byte("</main>"), []byte(`<script>document.title = "taken over"</script><img src="https://192.0.2.1/x.png"></main>`), 1)
	c.open(written(t, b))
	if title := c.eval("document.title"); title == "taken over" {
		t.Error("a foreign script ran")
	}
	refused := 0
	for _, m := range c.events {
		var p struct {
			Entry struct{ Text string } `json:"entry"`
		}
		if m.Method == "Log.entryAdded" && json.Unmarshal(m.Params, &p) == nil && strings.Contains(p.Entry.Text, "Content Security Policy") {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("the policy refused %d of 2", refused)
	}
}

// Two runs beside each other are drawn on the same axes.
func testComparison(t *testing.T, c *chrome) {
	open := func(change func(*digest.Run)) *digest.Run {
		run, err := digest.Open(t.Context(), v1, nil)
		if err != nil {
			t.Fatal(err)
		}
		change(run)
		return run
	}
	x := report.Comparison{A: open(func(*digest.Run) {}), B: open(func(r *digest.Run) {
		r.Manifest.Source.Commit, r.Manifest.Substrate = strings.Repeat("b", 40), "pi"
		for i := range r.Trials { // as if every latency had been written to another histogram
			r.Trials[i].Failed += uint64(i)
		}
	}), Headlines: []string{"p99 of nginx: 3.1 ms, then 2.9 ms"}}
	var b bytes.Buffer
	if err := x.Write(&b); err != nil {
		t.Fatal(err)
	}
	c.open(written(t, b.Bytes()))
	c.screenshot("comparison", true)
	for _, id := range []string{"plot-latency", "plot-trials", "plot-faults"} {
		if got := fmt.Sprint(c.eval("document.querySelectorAll(%q).length", "#"+id+" [data-series]")); got != "10" {
			t.Errorf("%s draws %s series, want 10", id, got)
		}
	}
	if got := c.eval(`document.querySelector('#plot-latency [data-series="nginx B"]').getAttribute("stroke-dasharray")`); got != "6 4" {
		t.Errorf("B's lines are dashed %v", got)
	}
	if said := c.complaints(); len(said) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(said, "\n"))
	}
}
