// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"
)

func TestAlike(t *testing.T) {
	picture := func(change int) string {
		img := image.NewGray(image.Rect(0, 0, 100, 100))
		for i := range change {
			img.SetGray(i%100, i/100, color.Gray{0xff})
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	document := func(draws string) string {
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		if _, err := w.Write([]byte(draws)); err != nil {
			t.Fatal(err)
		}
		w.Close()
		return fmt.Sprintf("%%PDF-1.3\n1 0 obj\n<</Length %d>>\nstream\n%s\nendstream\nendobj\nxref %d\n", b.Len(), b.String(), b.Len())
	}
	for name, c := range map[string]struct {
		file, a, b string
		differ     string // begin of what sets them apart; empty: nothing
	}{
		"the same":                {"a.csv", "1,2", "1,2", ""},
		"last bits":               {"a.csv", "x,0.30000000000000004", "x,0.3", ""},
		"a millionth":             {"a.csv", "1234567", "1234568", ""},
		"more than a millionth":   {"a.csv", "123456", "123457", "123456 against 123457"},
		"the last digit":          {"a.svg", `d="M10.25 3.5"`, `d="M10.26 3.4"`, ""},
		"two in the last digit":   {"a.svg", `d="M10.25"`, `d="M10.27"`, "10.25 against 10.27"},
		"another count":           {"a.md", "3 trials", "4 trials", "3 against 4"},
		"another word":            {"a.md", "3 trials", "3 tribes", "the end differs"},
		"a word in between":       {"a.md", "3 trials 4", "3 tribes 4", `" trials "`},
		"a number less":           {"a.md", "3 4", "3", "2 numbers against 1"},
		"exponents":               {"a.csv", "1e-09", "1.0000000001e-09", ""},
		"an exponent more":        {"a.csv", "1e-09", "1e-08", "1e-09 against 1e-08"},
		"a few pixels":            {"a.png", picture(0), picture(10), ""},
		"many pixels":             {"a.png", picture(0), picture(100), "100 of 10000 pixels differ"},
		"no picture":              {"a.png", picture(0), "x", "decoding a picture"},
		"a document":              {"a.pdf", document(strings.Repeat("1.25 0 l ", 9)), document(strings.Repeat("1.26 0 l ", 9)), ""},
		"a document that differs": {"a.pdf", document("1.25 0 l"), document("1.35 0 l"), "stream 1: 1.25 against 1.35"},
		"a document of nothing":   {"a.pdf", "", "", "0 streams"},
	} {
		t.Run(name, func(t *testing.T) {
			err := alike(c.file, []byte(c.a), []byte(c.b))
			if (err != nil) != (c.differ != "") || err != nil && !strings.HasPrefix(err.Error(), c.differ) {
				t.Errorf("%v, want %q", err, c.differ)
			}
		})
	}
}
