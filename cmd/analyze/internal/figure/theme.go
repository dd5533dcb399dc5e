// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Theme is the look of every figure.
type Theme struct {
	Paper, Ink, Muted, Grid, Fault color.Color
	systems                        map[string]stroke
	others                         []stroke // of names that the theme does not know, in order
	parts                          map[string]color.Color
	text                           text.Handler
}

// stroke is how a system's lines and points look: dash pattern and shape tell systems apart where colour does not.
type stroke struct {
	color  color.Color
	dashes []vg.Length
	shape  shape
}

// The palette of Okabe and Ito, "Color universal design" (2008), told apart by readers of every colour vision.
var (
	black      = hex(0x000000)
	orange     = hex(0xE69F00)
	sky        = hex(0x56B4E9)
	green      = hex(0x009E73)
	blue       = hex(0x0072B2)
	vermillion = hex(0xD55E00)
	purple     = hex(0xCC79A7)
)

func hex(rgb uint32) color.RGBA {
	return color.RGBA{uint8(rgb >> 16), uint8(rgb >> 8), uint8(rgb), 0xff}
}

// Light is the theme of files: ink on white paper.
func Light() *Theme {
	return theme(hex(0xFFFFFF), hex(0x1A1A1A), hex(0x5A5A5A), hex(0xE3E3E3), hex(0xF3E3D3), black, blue)
}

// Dark is the theme for dark pages: the same hues, those too dark for it made lighter.
func Dark() *Theme {
	return theme(hex(0x1B1E23), hex(0xE8E8E8), hex(0xA5A8AD), hex(0x383C44), hex(0x4A3A2A), hex(0xF2F2F2), hex(0x3FA0DC))
}

func theme(paper, ink, muted, grid, fault, black, blue color.RGBA) *Theme {
	fonts, _ := typeface()
	t := &Theme{
		Paper: paper, Ink: ink, Muted: muted, Grid: grid, Fault: fault,
		text: text.Plain{Fonts: font.NewCache(fonts)},
		systems: map[string]stroke{
			"direct":     {black, []vg.Length{0.8, 1.6}, cross},
			"dnsingress": {blue, nil, disc},
			"nginx":      {green, []vg.Length{4, 1.8}, square},
			"traefik":    {purple, []vg.Length{4, 1.5, 0.9, 1.5}, triangle},
			"envoy":      {vermillion, []vg.Length{1.8, 1.2}, diamond},
			"static":     {blend(ink, paper, 0.55), []vg.Length{6, 1.6}, plus},
		},
		others: []stroke{
			{orange, []vg.Length{7, 2}, hexagon},
			{sky, []vg.Length{6, 1.5, 0.9, 1.5, 0.9, 1.5}, wedge},
			{purple, []vg.Length{3, 1.2}, star},
			{green, []vg.Length{1, 1}, cross},
			{blend(ink, paper, 0.7), []vg.Length{9, 1.5, 3, 1.5}, square},
			{vermillion, []vg.Length{5, 1, 1, 1}, triangle},
			{blue, []vg.Length{2.5, 2.5}, diamond},
			{black, []vg.Length{10, 2}, disc},
		},
	}
	pale := blend(sky, paper, 0.55)
	t.parts = map[string]color.Color{ // neighbours in a stack differ in lightness; dnsingress keeps its system's colour
		"proxy": orange, "controller": blend(orange, ink, 0.5), "dnsingress": blue, "resolver": pale,
		"prometheus": blend(ink, paper, 0.6), "softirq": blend(ink, paper, 0.25),
		"send lag": blend(ink, paper, 0.4), "dns": blue, "connect": pale, "tls": purple, "first byte": orange, "rest": blend(ink, paper, 0.25),
	}
	return t
}

// blend mixes share of a into b: solid tints, since transparency does not survive every printer.
func blend(a, b color.Color, share float64) color.RGBA {
	ar, ag, ab, _ := a.RGBA()
	br, bg, bb, _ := b.RGBA()
	mix := func(x, y uint32) uint8 { return uint8((float64(x)*share + float64(y)*(1-share)) / 257) }
	return color.RGBA{mix(ar, br), mix(ag, bg), mix(ab, bb), 0xff}
}

// strokes returns a stroke for each of the names of one figure. A level of a product ("nginx-least") that stands there
// without its product has the product's colour; all dash patterns and shapes differ as long as there are any.
func (t *Theme) strokes(names []string) []stroke {
	out := make([]stroke, len(names))
	taken := map[string]bool{}
	for i, name := range names {
		s, ok := t.systems[name]
		if product, _, level := strings.Cut(name, "-"); !ok && level && !slices.Contains(names, product) {
			if s, ok = t.systems[product]; taken[product] {
				ok = false
			}
			taken[product] = taken[product] || ok
		}
		out[i] = s
		if !ok {
			out[i].shape = unset
		}
	}
	for i := range out {
		if out[i].shape == unset {
			out[i] = t.fresh(out, i)
		}
	}
	return out
}

// fresh returns a stroke that differs from those that are set in shape and colour, or else in shape, or else in order.
func (t *Theme) fresh(set []stroke, i int) stroke {
	taken := func(o stroke, colour bool) bool {
		return slices.ContainsFunc(set, func(s stroke) bool { return s.shape == o.shape || colour && s.color == o.color })
	}
	for _, colour := range []bool{true, false} {
		for _, o := range t.others {
			if !taken(o, colour) {
				return o
			}
		}
	}
	return t.others[i%len(t.others)]
}

// heat is the colour of a share of the whole scale, 0 to 1: from paper to dark, so that greyscale keeps the order.
func (t *Theme) heat(share float64) color.RGBA {
	stops := []color.Color{t.Paper, sky, blue, blend(blue, t.Ink, 0.25)}
	if luma(t.Paper) < 0.5 { // on dark pages more is lighter
		stops = []color.Color{t.Paper, blend(blue, t.Paper, 0.7), sky, blend(sky, t.Ink, 0.25)}
	}
	at := min(max(share, 0), 1) * float64(len(stops)-1)
	i := min(int(at), len(stops)-2)
	return blend(stops[i+1], stops[i], at-float64(i))
}

func luma(c color.Color) float64 {
	r, g, b, _ := c.RGBA()
	return (0.2126*float64(r) + 0.7152*float64(g) + 0.0722*float64(b)) / 0xffff
}

// Sizes of type, in points: seven is the least that ACM and IEEE print.
const (
	labelSize = 7.0
	noteSize  = 6.0
)

// Only one weight is used: emphasis is by colour and place, and a PDF holds one font.
func (t *Theme) style(size float64, c color.Color, x draw.XAlignment, y draw.YAlignment) draw.TextStyle {
	return draw.TextStyle{
		Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)},
		XAlign: x, YAlign: y, Handler: t.text,
	}
}
