// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Tolerances between architectures: fused multiply-add changes the last bits of sums, and with them now and then the last
// digit that is printed, or the grey of a pixel on an edge.
const (
	relative6   = 1e-6
	pixelShade  = 0x3000 // of 0xffff
	pixelsApart = 0.002  // share of pixels that may differ by more
)

// alike compares files that were drawn on different architectures. It returns what sets them apart.
func alike(name string, a, b []byte) error {
	switch filepath.Ext(name) {
	case ".png":
		return pixels(a, b)
	case ".pdf":
		return streams(a, b)
	default:
		return texts(string(a), string(b))
	}
}

var number = regexp.MustCompile(`[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?`)

// texts compares word by word, and numbers as numbers: to one in the last digit that is written, or to a millionth.
func texts(a, b string) error {
	as, bs := number.FindAllStringIndex(a, -1), number.FindAllStringIndex(b, -1)
	if len(as) != len(bs) {
		return fmt.Errorf("%d numbers against %d", len(as), len(bs))
	}
	lastA, lastB := 0, 0
	for i := range as {
		if x, y := a[lastA:as[i][0]], b[lastB:bs[i][0]]; x != y {
			return fmt.Errorf("%.40q against %.40q", x, y)
		}
		x, y := a[as[i][0]:as[i][1]], b[bs[i][0]:bs[i][1]]
		if x != y && !near(x, y) {
			return fmt.Errorf("%s against %s", x, y)
		}
		lastA, lastB = as[i][1], bs[i][1]
	}
	if a[lastA:] != b[lastB:] {
		return errors.New("the end differs")
	}
	return nil
}

func near(x, y string) bool {
	a, errA := strconv.ParseFloat(x, 64)
	b, errB := strconv.ParseFloat(y, 64)
	if errA != nil || errB != nil {
		return false
	}
	apart := math.Abs(a - b)
	if apart <= relative6*max(math.Abs(a), math.Abs(b)) {
		return true
	}
	places := min(decimals(x), decimals(y))
	return places > 0 && apart <= 1.01*math.Pow(10, -float64(places))
}

// decimals counts the digits after the point; 0 for whole numbers and for those with an exponent, which are no roundings.
func decimals(s string) int {
	_, fraction, ok := strings.Cut(s, ".")
	if !ok || strings.ContainsAny(fraction, "eE") {
		return 0
	}
	return len(fraction)
}

func pixels(a, b []byte) error {
	x, errX := png.Decode(bytes.NewReader(a))
	y, errY := png.Decode(bytes.NewReader(b))
	if err := errors.Join(errX, errY); err != nil {
		return fmt.Errorf("decoding a picture: %w", err)
	}
	if x.Bounds() != y.Bounds() {
		return fmt.Errorf("%v against %v", x.Bounds(), y.Bounds())
	}
	apart, box := 0, x.Bounds()
	for j := box.Min.Y; j < box.Max.Y; j++ {
		for i := box.Min.X; i < box.Max.X; i++ {
			r, g, b, _ := x.At(i, j).RGBA()
			s, t, u, _ := y.At(i, j).RGBA()
			for _, d := range []int{int(r) - int(s), int(g) - int(t), int(b) - int(u)} {
				if d > pixelShade || d < -pixelShade {
					apart++
					break
				}
			}
		}
	}
	if all := box.Dx() * box.Dy(); float64(apart) > pixelsApart*float64(all) {
		return fmt.Errorf("%d of %d pixels differ", apart, all)
	}
	return nil
}

var stream = regexp.MustCompile(`(?s)stream\r?\n(.*?)\r?\nendstream`)

// streams compares what a PDF draws: its inflated streams. Offsets around them depend on how well they were compressed.
func streams(a, b []byte) error {
	as, bs := stream.FindAllSubmatch(a, -1), stream.FindAllSubmatch(b, -1)
	if len(as) != len(bs) || len(as) == 0 {
		return fmt.Errorf("%d streams against %d", len(as), len(bs))
	}
	for i := range as {
		x, errX := inflate(as[i][1])
		y, errY := inflate(bs[i][1])
		if err := errors.Join(errX, errY); err != nil {
			return err
		}
		if err := texts(string(x), string(y)); err != nil {
			return fmt.Errorf("stream %d: %w", i+1, err)
		}
	}
	return nil
}

// inflate returns the bytes of a stream; one that is not compressed stays as it is.
func inflate(b []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(b))
	if errors.Is(err, zlib.ErrHeader) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inflating a stream: %w", err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("inflating a stream: %w", err)
	}
	return out, nil
}
