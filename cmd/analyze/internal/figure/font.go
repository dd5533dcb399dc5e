// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"sync"

	"golang.org/x/image/font/opentype"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
)

// typeface is Liberation Sans (SIL Open Font License 1.1), cut down to printable ASCII. Its letters
// are as wide as those of Arial and Helvetica, which papers are set in.
var typeface = sync.OnceValues(func() (font.Collection, []byte) {
	for _, face := range liberation.Collection() {
		if face.Font.Variant != "Sans" || face.Font.Style != 0 || face.Font.Weight != 0 {
			continue
		}
		var raw bytes.Buffer
		if _, err := face.Face.WriteSourceTo(nil, &raw); err != nil {
			panic(fmt.Sprintf("figure: reading the built-in font: %v", err))
		}
		small, err := subset(raw.Bytes())
		if err != nil {
			panic(fmt.Sprintf("figure: cutting the built-in font: %v", err))
		}
		parsed, err := opentype.Parse(small)
		if err != nil {
			panic(fmt.Sprintf("figure: parsing the cut font: %v", err))
		}
		return font.Collection{{Font: face.Font, Face: parsed}}, small
	}
	panic("figure: the built-in fonts have no regular sans")
})

// FontFace returns a CSS rule for the family that SVG drawings name, the font within it.
func FontFace() string {
	_, ttf := typeface()
	return "@font-face{font-family:" + family + ";src:url(data:font/ttf;base64," + base64.StdEncoding.EncodeToString(ttf) + ")}"
}

// family names the cut font in SVG: not by its own name, so that an installed font of that name is not taken for it.
const family = "figure-sans"
