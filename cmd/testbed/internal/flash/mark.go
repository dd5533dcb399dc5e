// SPDX-License-Identifier: Apache-2.0

package flash

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// Mark is what the first block of a card says while it is being written: it has no partition table, and nobody boots from it.
type Mark struct {
	Node  string
	Image string // id
	Began time.Time
}

const markTitle = "testbed: this card is being written, or the writing ended in the middle"

// block renders the mark.
func (m Mark) block() []byte {
	b := make([]byte, block)
	copy(b, fmt.Sprintf("%s\nnode: %s\nimage: %s\nbegan: %s\n", markTitle, m.Node, m.Image, m.Began.UTC().Format(time.RFC3339)))
	return b
}

// parseMark reads a card's first block.
func parseMark(b []byte) (Mark, bool) {
	text, _, _ := bytes.Cut(b, []byte{0})
	title, rest, _ := strings.Cut(string(text), "\n")
	if title != markTitle {
		return Mark{}, false
	}
	var m Mark
	for line := range strings.Lines(rest) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "node":
			m.Node = value
		case "image":
			m.Image = value
		case "began":
			m.Began, _ = time.Parse(time.RFC3339, value) // a mark without time is a mark
		}
	}
	return m, true
}
