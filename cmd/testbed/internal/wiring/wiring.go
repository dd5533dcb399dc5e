// SPDX-License-Identifier: Apache-2.0

// Package wiring draws which node of an inventory is plugged in at which port of which switch.
package wiring

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Measures in pixels.
const (
	column     = 44  // a port, and the node below it
	margin     = 24  // around all
	leastWidth = 900 // the legend needs that
	title      = 56  // above a switch
	body       = 64  // of a switch
	cable      = 56
	board      = 196 // of a node, which stands upright
	legend     = 96
)

// colours of the groups, distinguishable for the colour blind (Okabe and Ito).
var colours = map[string]string{inventory.Control: "#e69f00", inventory.Worker: "#56b4e9", inventory.Client: "#009e73"}

// drawing collects elements.
type drawing struct{ strings.Builder }

// SVG writes the drawing of an inventory: a row for each switch, its ports in order, below each its node. It is the same for
// the same inventory, byte for byte.
func SVG(w io.Writer, inv *inventory.Inventory) error {
	most := 0
	for _, s := range inv.Switches {
		most = max(most, s.Ports)
	}
	width, row := max(2*margin+most*column, leastWidth), title+body+cable+board+margin
	height := len(inv.Switches)*row + legend + margin
	var d drawing
	fmt.Fprintf(&d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" font-family="DejaVu Sans, Arial, sans-serif" font-size="12">`+"\n", width, height)
	d.WriteString("<!-- SPDX-License-Identifier: Apache-2.0; drawn by: testbed power wiring -i " + escape(base(inv.Path)) + " -->\n")
	fmt.Fprintf(&d, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for i, s := range inv.Switches {
		d.powerSwitch(inv, s, margin, i*row)
	}
	d.legend(margin, len(inv.Switches)*row)
	d.WriteString("</svg>\n")
	_, err := io.WriteString(w, d.String())
	return err
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

func (d *drawing) text(x, y int, more, format string, a ...any) {
	fmt.Fprintf(d, `<text x="%d" y="%d"%s>%s</text>`+"\n", x, y, more, escape(fmt.Sprintf(format, a...)))
}

func (d *drawing) rect(x, y, w, h int, fill string) {
	fmt.Fprintf(d, `<rect x="%d" y="%d" width="%d" height="%d" rx="3" fill="%s" stroke="#333333"/>`+"\n", x, y, w, h, fill)
}

func (d *drawing) powerSwitch(inv *inventory.Inventory, s inventory.Switch, x, y int) {
	var idle, worst float64
	nodes := make(map[int]inventory.Node)
	for _, n := range inv.Nodes {
		if n.Port.Switch == s.Name {
			nodes[n.Port.Index] = n
			idle, worst = idle+n.Watts.Idle, worst+n.Watts.Worst
		}
	}
	d.text(x, y+26, ` font-size="16" font-weight="bold"`, "%s", s.Name)
	d.text(x, y+44, "", "%d ports, %g W; %d nodes draw %g W idle and %g W at worst", s.Ports, s.BudgetWatts, len(nodes), idle, worst)
	y += title
	d.rect(x, y, s.Ports*column, body, "#dddddd")
	for i := 1; i <= s.Ports; i++ {
		left := x + (i-1)*column
		middle := left + column/2
		n, used := nodes[i]
		fill := "#ffffff"
		switch {
		case used:
			fill = colour(n)
		case slices.Contains(s.Deny, i):
			fill = "#999999"
		}
		d.rect(left+6, y+18, column-12, 28, fill)
		d.text(middle, y+37, ` text-anchor="middle"`, "%d", i)
		bottom := y + body
		if !used {
			if slices.Contains(s.Deny, i) {
				d.upright(middle, bottom+10, "", "never switched")
			}
			continue
		}
		fmt.Fprintf(d, `<path d="M %d %d V %d" stroke="%s" stroke-width="4" fill="none"/>`+"\n", middle, y+46, bottom+cable, colour(n))
		d.rect(left+3, bottom+cable, column-6, board, colour(n))
		d.upright(middle-6, bottom+cable+8, ` font-weight="bold"`, n.Name)
		d.upright(middle+10, bottom+cable+8, ` font-size="10"`, cmp.Or(strings.Join(n.Roles, ", "), n.Address.String()))
	}
}

// upright writes text downwards.
func (d *drawing) upright(x, y int, more, text string) {
	d.text(x, y, fmt.Sprintf(` transform="rotate(90 %d %d)"%s`, x, y, more), "%s", text)
}

func colour(n inventory.Node) string {
	for _, g := range n.Groups {
		if c, ok := colours[g]; ok {
			return c
		}
	}
	return "#ffffff"
}

func (d *drawing) legend(x, y int) {
	for i, l := range []struct{ colour, text string }{
		{colours[inventory.Control], "control: etcd and API server; Prometheus, orchestrator, netboot"},
		{colours[inventory.Worker], "worker: pods, and DNS"},
		{colours[inventory.Client], "client: load generators and their resolvers"},
		{"#999999", "never switched: controller and uplink, a laptop, SFP+"},
	} {
		left, top := x+i%2*(leastWidth-2*margin)/2, y+i/2*32
		d.rect(left, top, 20, 20, l.colour)
		d.text(left+28, top+15, "", "%s", l.text)
	}
	d.text(x, y+legend-16, ` fill="#333333"`, "Each line is one Ethernet cable; it carries the node's traffic and its power. There is no other network.")
}
