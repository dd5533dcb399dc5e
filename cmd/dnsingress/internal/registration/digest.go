// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Entry is what one name server registers with one zone.
type Entry struct {
	Host      string              // canonical
	Addresses []netip.Addr        // in order
	Children  map[string][]string // the DS of each child, in order, in presentation form
}

// digest is of all of it: equal entries, and nothing else that anybody could find, have equal ones.
func (e *Entry) digest() string {
	h := sha256.New()
	fmt.Fprintln(h, e.Host)
	for _, a := range e.Addresses {
		fmt.Fprintln(h, a)
	}
	for _, child := range slices.Sorted(maps.Keys(e.Children)) {
		fmt.Fprintln(h, child, strings.Join(e.Children[child], ","))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
