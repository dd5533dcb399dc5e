// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// pen draws with a theme on a canvas. Origin and units are the canvas's: bottom left, points.
type pen struct {
	draw.Canvas
	theme *Theme
	wrote func(text string, box vg.Rectangle) // tests watch that nothing is clipped or overlaps
}

func (p *pen) line(c color.Color, width float64, dashes []vg.Length, pts ...vg.Point) {
	if len(pts) > 1 {
		p.StrokeLines(draw.LineStyle{Color: c, Width: vg.Points(width), Dashes: dashes}, pts)
	}
}

func (p *pen) rect(c color.Color, x0, y0, x1, y1 vg.Length) {
	if x1 > x0 && y1 > y0 {
		p.FillPolygon(c, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
	}
}

// write draws a line of text aligned at a point.
func (p *pen) write(s string, size float64, c color.Color, x draw.XAlignment, y draw.YAlignment, at vg.Point) {
	p.set(s, p.theme.style(size, c, x, y), at)
}

// turned draws a line of text that reads upwards, its top at the point and centred there.
func (p *pen) turned(s string, size float64, c color.Color, at vg.Point) {
	style := p.theme.style(size, c, draw.XCenter, draw.YTop)
	style.Rotation = math.Pi / 2
	p.set(s, style, at)
}

func (p *pen) set(s string, style draw.TextStyle, at vg.Point) {
	s = printable(s)
	p.FillText(style, at, s)
	if p.wrote != nil && s != "" {
		box := style.Rectangle(s)
		p.wrote(s, vg.Rectangle{Min: box.Min.Add(at), Max: box.Max.Add(at)})
	}
}

// printable replaces what the font of figures does not hold: names come from files.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < first || r > last {
			return '?'
		}
		return r
	}, s)
}

func (p *pen) width(s string, size float64) vg.Length {
	return p.theme.style(size, p.theme.Ink, draw.XLeft, draw.YTop).Width(printable(s))
}

// note writes small print at the bottom left, broken into lines that fit, and returns the height that it takes.
// With dry it only measures.
func (p *pen) note(s string, dry bool) vg.Length {
	const lead = 1.22 * noteSize
	lines, current := []string{}, ""
	for word := range strings.FieldsSeq(s) {
		if next := strings.TrimSpace(current + " " + word); p.width(next, noteSize) <= p.Max.X-p.Min.X-2*edge || current == "" {
			current = next
			continue
		}
		lines, current = append(lines, current), word
	}
	if current != "" {
		lines = append(lines, current)
	}
	if !dry {
		for i, l := range lines {
			p.write(l, noteSize, p.theme.Muted, draw.XLeft, draw.YBottom, vg.Point{X: p.Min.X + edge, Y: p.Min.Y + edge + vg.Length(len(lines)-1-i)*lead})
		}
	}
	return vg.Length(len(lines))*lead + edge
}

// markRadius is that of a series' points.
const markRadius = vg.Length(2)

// edge is the margin around everything.
const edge = vg.Length(2)

// key is one entry of a legend.
type key struct {
	name  string
	line  *stroke     // a line sample, or
	fill  color.Color // a patch
	ring  bool        // a trial's point
	mark  bool        // the shape on the line sample
	point bool        // the shape alone
	drop  bool        // a mark that stands on an axis
	last  bool        // ends its row
}

// legend draws the entries in centred rows, hanging from the top, and returns the height that it takes.
func (p *pen) legend(keys []key) vg.Length {
	const (
		sample, pad, gap = vg.Length(15), vg.Length(2.5), vg.Length(8)
		lead             = vg.Length(1.35 * labelSize)
	)
	patch := func(k key) vg.Length {
		if k.line != nil && !k.point {
			return sample
		}
		return labelSize * 0.8
	}
	width := func(k key) vg.Length { return patch(k) + pad + p.width(k.name, labelSize) }
	var rows [][]key
	room := p.Max.X - p.Min.X - 2*edge
	used := room + 1
	for i, k := range keys {
		if w := width(k); used+gap+w > room || i > 0 && keys[i-1].last {
			rows = append(rows, nil)
			used = w
		} else {
			used += gap + w
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], k)
	}
	for i, row := range rows {
		total := -gap
		for _, k := range row {
			total += gap + width(k)
		}
		x := p.Min.X + edge + (room-total)/2
		y := p.Max.Y - edge - (vg.Length(i)+0.5)*lead
		for _, k := range row {
			switch {
			case k.point:
				p.mark(*k.line, vg.Point{X: x + patch(k)/2, Y: y}, 1.25*markRadius)
			case k.line != nil:
				p.line(k.line.color, 1.2, k.line.dashes, vg.Point{X: x, Y: y}, vg.Point{X: x + sample, Y: y})
				if k.mark {
					p.mark(*k.line, vg.Point{X: x + sample/2, Y: y}, markRadius)
				}
			case k.ring:
				p.dot(p.theme.Ink, vg.Point{X: x + patch(k)/2, Y: y})
			case k.drop:
				p.drop(p.theme.Ink, vg.Point{X: x + patch(k)/2, Y: y - 2})
			default:
				h := patch(k) / 2
				p.rect(k.fill, x, y-h, x+2*h, y+h)
			}
			p.write(k.name, labelSize, p.theme.Ink, draw.XLeft, draw.YCenter, vg.Point{X: x + patch(k) + pad, Y: y})
			x += width(k) + gap
		}
	}
	return vg.Length(len(rows))*lead + edge + 2
}
