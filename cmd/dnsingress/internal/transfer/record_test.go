// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"testing"
)

// TestAppendName follows pointers back, and never in a circle.
func TestAppendName(t *testing.T) {
	head := "............" // the header
	long := ""
	for range 4 {
		long += "\x3f" + "0123456789012345678901234567890123456789012345678901234567890123456789"[:63]
	}
	for what, c := range map[string]struct {
		msg  string
		at   int
		want string // "": an error
		end  int
	}{
		"plain":              {"\x01a\x00", 12, "\x01a\x00", 15},
		"root":               {"\x00", 12, "\x00", 13},
		"pointer":            {"\x01a\x00\x01b\xc0\x0c", 15, "\x01b\x01a\x00", 19},
		"pointer to pointer": {"\x01a\x00\x01b\xc0\x0c\xc0\x0f", 19, "\x01b\x01a\x00", 21},
		"to itself":          {"\xc0\x0c", 12, "", 0},
		"forward":            {"\xc0\x0e\x00", 12, "", 0},
		"circle":             {"\x01a\xc0\x0c", 14, "", 0},
		"into the header":    {"\xc0\x02", 12, "", 0},
		"half a pointer":     {"\x01a\xc0", 12, "", 0},
		"label type":         {"\x41a\x00", 12, "", 0},
		"cut off":            {"\x05ab", 12, "", 0},
		"no end":             {"\x01a", 12, "", 0},
		"too long":           {long + "\x00", 12, "", 0},
		"longest":            {long[:192] + "\x3d" + long[1:62] + "\x00", 12, long[:192] + "\x3d" + long[1:62] + "\x00", 12 + 255},
	} {
		name, end, err := appendName(nil, []byte(head+c.msg), c.at)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s: %q", what, name)
			}
			continue
		}
		if err != nil || string(name) != c.want || end != c.end {
			t.Errorf("%s: %q until %d, %v; want %q until %d", what, name, end, err, c.want, c.end)
		}
	}
}
