// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"image/color"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Theme is the look of every figure.
type Theme struct {
	Paper, Ink, Muted, Grid, Fault color.Color
	systems                        map[string]stroke
	others                         []stroke
	parts                          map[string]color.Color
	text                           text.Handler
}

// stroke is how a system's lines look: the dash pattern tells systems apart where colour does not.
type stroke struct {
	color  color.Color
	dashes []vg.Length
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
			"direct":     {black, []vg.Length{0.8, 1.6}},
			"dnsingress": {blue, nil},
			"nginx":      {green, []vg.Length{4, 1.8}},
			"traefik":    {purple, []vg.Length{4, 1.5, 0.9, 1.5}},
			"envoy":      {vermillion, []vg.Length{1.8, 1.2}},
		},
		others: []stroke{{orange, []vg.Length{6, 2}}, {sky, []vg.Length{6, 1.5, 0.9, 1.5, 0.9, 1.5}}, {muted, []vg.Length{3, 3}}},
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

// system returns the line of a system; i tells systems that the theme does not know apart.
func (t *Theme) system(name string, i int) stroke {
	if s, ok := t.systems[name]; ok {
		return s
	}
	return t.others[i%len(t.others)]
}

// knows tells whether a system has a line of its own.
func (t *Theme) knows(system string) bool {
	_, ok := t.systems[system]
	return ok
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
