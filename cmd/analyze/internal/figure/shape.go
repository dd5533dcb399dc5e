// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// shape is the form of a point.
type shape int

const (
	unset shape = iota
	disc
	square
	triangle
	diamond
	wedge
	hexagon
	cross
	plus
	star
)

// outline returns the corners of a shape of radius r, or the ends of its strokes.
func (s shape) outline(at vg.Point, r vg.Length) (corners []vg.Point, strokes [][2]vg.Point) {
	ring := func(n int, turn, r vg.Length) (out []vg.Point) {
		for i := range n {
			a := 2 * math.Pi * (float64(i)/float64(n) + float64(turn))
			out = append(out, vg.Point{X: at.X + r*vg.Length(math.Cos(a)), Y: at.Y + r*vg.Length(math.Sin(a))})
		}
		return out
	}
	spokes := func(n int, turn, r vg.Length) (out [][2]vg.Point) {
		for _, end := range ring(n, turn, r) {
			out = append(out, [2]vg.Point{at, end})
		}
		return out
	}
	switch s {
	case square:
		return ring(4, 0.125, 1.2*r), nil
	case triangle:
		return ring(3, 0.25, 1.25*r), nil
	case diamond:
		return ring(4, 0, 1.3*r), nil
	case wedge:
		return ring(3, 0.75, 1.25*r), nil
	case hexagon:
		return ring(6, 0, 1.15*r), nil
	case cross:
		return nil, spokes(4, 0.125, 1.3*r)
	case plus:
		return nil, spokes(4, 0, 1.3*r)
	case star:
		return nil, spokes(6, 0.25, 1.3*r)
	default:
		return ring(24, 0, r), nil
	}
}

// mark draws a point of a series, filled, with a rim of paper that keeps neighbours apart.
func (p *pen) mark(s stroke, at vg.Point, r vg.Length) {
	corners, strokes := s.shape.outline(at, r)
	for _, l := range strokes {
		p.line(p.theme.Paper, 2, nil, l[0], l[1])
	}
	for _, l := range strokes {
		p.line(s.color, 1.1, nil, l[0], l[1])
	}
	if corners != nil {
		p.FillPolygon(s.color, corners)
		p.line(p.theme.Paper, 0.4, nil, append(corners, corners[0])...)
	}
}

// faint draws the point of one trial: the outline alone.
func (p *pen) faint(s stroke, at vg.Point, r vg.Length) {
	c := blend(s.color, p.theme.Paper, 0.6)
	corners, strokes := s.shape.outline(at, r)
	for _, l := range strokes {
		p.line(c, 0.5, nil, l[0], l[1])
	}
	if corners != nil {
		p.line(c, 0.5, nil, append(corners, corners[0])...)
	}
}

// whisker draws a range along one axis, with caps.
func (p *pen) whisker(c color.Color, from, to vg.Point) {
	const cap = vg.Length(1.3)
	p.line(c, 0.7, nil, from, to)
	across := vg.Point{X: cap}
	if from.Y == to.Y {
		across = vg.Point{Y: cap}
	}
	for _, end := range []vg.Point{from, to} {
		p.line(c, 0.7, nil, end.Sub(across), end.Add(across))
	}
}

// dot draws a trial's point: a ring that shows on every colour.
func (p *pen) dot(c color.Color, at vg.Point) {
	const r = 1.7
	p.DrawGlyphNoClip(draw.GlyphStyle{Color: p.theme.Paper, Radius: r, Shape: draw.CircleGlyph{}}, at)
	p.SetLineStyle(draw.LineStyle{Color: c, Width: 0.7})
	var path vg.Path
	path.Move(vg.Point{X: at.X + r, Y: at.Y})
	path.Arc(at, r, 0, 2*math.Pi)
	path.Close()
	p.Stroke(path)
}
