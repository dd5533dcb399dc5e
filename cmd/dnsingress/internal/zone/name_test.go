// SPDX-License-Identifier: Apache-2.0

package zone

import (
	"bytes"
	"testing"
)

// TestFold compares fold with bytes one by one, for every octet at every place.
func TestFold(t *testing.T) {
	for size := range 20 {
		for place := range size {
			for c := range 256 {
				from := bytes.Repeat([]byte{'M'}, size)
				from[place] = byte(c)
				to := make([]byte, size)
				fold(to, from)
				for i := range from {
					if to[i] != lower(from[i]) {
						t.Fatalf("% x became % x", from, to)
					}
				}
			}
		}
	}
}
