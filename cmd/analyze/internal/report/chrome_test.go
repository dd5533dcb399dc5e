// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// chrome is one page of a headless Chromium, driven over the DevTools protocol's pipe (--remote-debugging-pipe: JSON
// messages ended by a zero byte on descriptors 3 and 4). Mouse and keys go the way that a person's do.
type chrome struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	session string
	id      int
	events  []message // that came while a reply was awaited
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// browser starts a Chromium, or ends the test where there is none.
func browser(t *testing.T) *chrome {
	t.Helper()
	path := ""
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil && path == "" {
			path = p
		}
	}
	if path == "" {
		text := "NOT TESTED in a browser: there is no chromium (hint: apt-get install chromium; make report-browser)"
		if os.Getenv("CI") == "true" || os.Getenv("TEST_PAGE") != "" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run",
		"--force-color-profile=srgb", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir())
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	// A browser that hangs is killed, and then every read from it ends.
	dog := time.AfterFunc(10*time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		in.Close() // ends it
		cmd.Wait()
		dog.Stop()
		out.Close()
	})
	return &chrome{t: t, in: in, out: bufio.NewReader(out)}
}

// tab returns an empty page of the browser, for one test at a time.
func (c *chrome) tab(t *testing.T) *chrome {
	t.Helper()
	tab := &chrome{t: t, in: c.in, out: c.out, id: c.id}
	t.Cleanup(func() { c.id = tab.id })
	var target struct {
		ID string `json:"targetId"`
	}
	tab.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct {
		Session string `json:"sessionId"`
	}
	tab.call("Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)
	tab.session = attached.Session
	tab.size(1200, 900, false)
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		tab.call(domain+".enable", nil, nil)
	}
	return tab
}

func (c *chrome) size(width, height int, mobile bool) {
	c.t.Helper()
	c.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}, nil)
}

// call sends a command and decodes its result into result, when that is not nil.
func (c *chrome) call(method string, params, result any) {
	c.t.Helper()
	c.id++
	if params == nil {
		params = struct{}{}
	}
	m := map[string]any{"id": c.id, "method": method, "params": params}
	if c.session != "" {
		m["sessionId"] = c.session
	}
	b, err := json.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.in.Write(append(b, 0)); err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	for {
		m := c.receive()
		if m.ID != c.id {
			c.events = append(c.events, m)
			continue
		}
		if m.Error != nil {
			c.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				c.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

func (c *chrome) receive() (m message) {
	c.t.Helper()
	b, err := c.out.ReadBytes(0)
	if err == nil {
		err = json.Unmarshal(b[:len(b)-1], &m)
	}
	if err != nil {
		c.t.Fatalf("hearing the browser: %v", err)
	}
	return m
}

// open loads a page and waits until it has loaded.
func (c *chrome) open(url string) {
	c.t.Helper()
	c.events = nil
	c.call("Page.navigate", map[string]any{"url": url}, nil)
	for _, m := range c.events {
		if m.Method == "Page.loadEventFired" {
			return
		}
	}
	for {
		m := c.receive()
		c.events = append(c.events, m)
		if m.Method == "Page.loadEventFired" {
			return
		}
	}
}

// complaints returns what the page has written to its console, thrown or asked of a network so far.
func (c *chrome) complaints() []string {
	var out []string
	for _, m := range c.events {
		switch m.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
			out = append(out, string(m.Params))
		case "Network.requestWillBeSent":
			var p struct {
				Request struct {
					URL string `json:"url"`
				} `json:"request"`
			}
			if json.Unmarshal(m.Params, &p); !strings.HasPrefix(p.Request.URL, "file:") && !strings.HasPrefix(p.Request.URL, "data:") {
				out = append(out, "it asked for "+p.Request.URL)
			}
		}
	}
	return out
}

// eval returns the value of an expression in the page, after two frames were drawn, as JSON decodes it.
func (c *chrome) eval(expression string, a ...any) any {
	c.t.Helper()
	var r struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		Exception *struct {
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	code := fmt.Sprintf(expression, a...)
	c.call("Runtime.evaluate", map[string]any{
		"expression":    "new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f))).then(() => (" + code + "))",
		"returnByValue": true, "awaitPromise": true,
	}, &r)
	if r.Exception != nil {
		c.t.Fatalf("%s: %s", code, r.Exception.Exception.Description)
	}
	return r.Result.Value
}

// box scrolls the element that the selector finds into view and returns where it is: left, top, width, height.
func (c *chrome) box(selector string) [4]float64 {
	c.t.Helper()
	v := c.eval("(e => { e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height] })(document.querySelector(%q))", selector).([]any)
	return [4]float64{v[0].(float64), v[1].(float64), v[2].(float64), v[3].(float64)}
}

func (c *chrome) mouse(kind string, x, y float64, clicks int) {
	c.t.Helper()
	button := map[bool]string{true: "left", false: "none"}[clicks > 0]
	c.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": x, "y": y, "button": button, "buttons": min(clicks, 1), "clickCount": clicks, "pointerType": "mouse"}, nil)
}

func (c *chrome) click(x, y float64, clicks int) {
	c.t.Helper()
	c.mouse("mouseMoved", x, y, 0)
	for i := 1; i <= clicks; i++ {
		c.mouse("mousePressed", x, y, i)
		c.mouse("mouseReleased", x, y, i)
	}
}

func (c *chrome) clickOn(selector string) {
	c.t.Helper()
	b := c.box(selector)
	c.click(b[0]+b[2]/2, b[1]+b[3]/2, 1)
}

// drag presses at one place and lets go at another.
func (c *chrome) drag(x0, y0, x1, y1 float64) {
	c.t.Helper()
	c.mouse("mouseMoved", x0, y0, 0)
	c.mouse("mousePressed", x0, y0, 1)
	c.mouse("mouseMoved", (x0+x1)/2, (y0+y1)/2, 1)
	c.mouse("mouseMoved", x1, y1, 1)
	c.mouse("mouseReleased", x1, y1, 1)
}

// key presses a key by its name ("ArrowRight", "+", "Tab").
func (c *chrome) key(name string) {
	c.t.Helper()
	code := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}[name]
	p := map[string]any{"type": "keyDown", "key": name, "windowsVirtualKeyCode": code}
	if len(name) == 1 {
		p["text"] = name
	}
	c.call("Input.dispatchKeyEvent", p, nil)
	c.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name, "windowsVirtualKeyCode": code}, nil)
}

// screenshot returns a picture of the viewport, or of the whole page, and keeps it as NAME.png where REPORT_SCREENSHOTS names a directory.
func (c *chrome) screenshot(name string, whole bool) image.Image {
	c.t.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	c.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &shot)
	b, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		c.t.Fatal(err)
	}
	if dir := os.Getenv("REPORT_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(dir+"/"+name+".png", b, 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		c.t.Fatal(err)
	}
	return img
}
