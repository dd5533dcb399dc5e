// SPDX-License-Identifier: Apache-2.0

package zone

import "fmt"

// Unavailable returns a zone whose every answer is SERVFAIL: one that a server is responsible for and has no
// data of, or none that it may still use (RFC 1035 §3.3.13: EXPIRE).
func Unavailable(origin string) (*Zone, error) {
	b, err := NewBuilder(origin)
	if err != nil {
		return nil, fmt.Errorf("making an unavailable zone: %w", err)
	}
	z := b.zone
	z.unavailable = true
	return z, nil
}

// Available tells whether there is anything to answer from.
func (z *Zone) Available() bool { return !z.unavailable }
