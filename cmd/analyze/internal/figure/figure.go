// SPDX-License-Identifier: Apache-2.0

// Package figure draws the figures of a run: one file a kind. A figure is made
// for one column of a two-column paper (ColumnWidth) at 100 % size, reads in
// greyscale (systems differ by dash pattern, components by lightness), and is
// the same bytes for the same data: no date, no random order, fonts that are
// part of the program.
package figure

import (
	"bytes"
	"fmt"
	"image/png"
	"io"
	"regexp"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgpdf"
	"gonum.org/v1/plot/vg/vgsvg"
)

// ColumnWidth is the width of every figure: one column of the usual two-column formats (ACM, IEEE, USENIX).
const ColumnWidth = 3.3 * vg.Inch

// dpi of PNG files: 990 pixels for a column.
const dpi = 300

// Figure is a drawing of a fixed size that can be written in several formats.
type Figure struct {
	Name   string // file name without extension
	Title  string // what it shows, in a line: the caption's first sentence and the alternative text
	Height vg.Length
	draw   func(p *pen)
}

// Formats lists the formats that Encode knows.
func Formats() []string { return []string{"pdf", "png", "svg"} }

// Encode writes the figure as pdf, png or svg.
func (f *Figure) Encode(w io.Writer, format string, theme *Theme) error {
	var out []byte
	var err error
	switch format {
	case "pdf":
		out, err = f.pdf(theme)
	case "png":
		out, err = f.png(theme)
	case "svg":
		out, err = f.svg(theme)
	default:
		return fmt.Errorf("drawing %s: unknown format %q (hint: pdf, png or svg)", f.Name, format)
	}
	if err != nil {
		return fmt.Errorf("drawing %s.%s: %w", f.Name, format, err)
	}
	if _, err := w.Write(out); err != nil {
		return fmt.Errorf("writing %s.%s: %w", f.Name, format, err)
	}
	return nil
}

func (f *Figure) paint(c vg.CanvasSizer, theme *Theme) {
	p := &pen{Canvas: draw.New(c), theme: theme}
	f.draw(p)
}

// A PDF says when it was made; identical data must give identical bytes. The replacement keeps the length,
// so that the offsets in the file's cross-reference table stay right.
var pdfDate = regexp.MustCompile(`/(CreationDate|ModDate) \(D:\d{14}\)`)

func (f *Figure) pdf(theme *Theme) ([]byte, error) {
	c := vgpdf.New(ColumnWidth, f.Height)
	f.paint(c, theme)
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, err
	}
	return pdfDate.ReplaceAll(b.Bytes(), []byte("/$1 (D:20000101000000)")), nil
}

func (f *Figure) png(theme *Theme) ([]byte, error) {
	c := vgimg.NewWith(vgimg.UseWH(ColumnWidth, f.Height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(theme.Paper))
	f.paint(c, theme)
	var b bytes.Buffer
	err := png.Encode(&b, c.Image())
	return b.Bytes(), err
}

// svgFont is how vgsvg names the font, before and after the family is put in its place.
var svgFont = regexp.MustCompile(`font-family:[^;]*;font-variant:[a-z]*;font-weight:[a-z]*;font-style:[a-z]*`)

// Inline returns the figure as an SVG element for a page that holds FontFace.
func (f *Figure) Inline(theme *Theme) ([]byte, error) {
	c := vgsvg.New(ColumnWidth, f.Height)
	f.paint(c, theme)
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("drawing %s: %w", f.Name, err)
	}
	out := svgFont.ReplaceAll(b.Bytes(), []byte("font-family:"+family+",Arial,Helvetica,sans-serif"))
	return out[bytes.Index(out, []byte("<svg")):], nil
}

func (f *Figure) svg(theme *Theme) ([]byte, error) {
	out, err := f.Inline(theme)
	if err != nil {
		return nil, err
	}
	end := bytes.IndexByte(out, '>') + 1
	return slices.Concat([]byte(`<?xml version="1.0"?>`+"\n"), out[:end], []byte("\n<style>"+FontFace()+"</style>"), out[end:]), nil
}
