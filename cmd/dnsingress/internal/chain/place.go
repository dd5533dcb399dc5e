// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"strings"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
)

// fit says how well an option for one place suits clients at another: 0 not at all, more the nearer. An option for
// anywhere suits better than one that names no place, as in zone.Group.
func fit(option, client string) int {
	switch option {
	case "":
		return 1
	case geo.Anywhere:
		return 2
	}
	at, path := geo.Path(option), geo.Path(client)
	if path != at && !strings.HasPrefix(path, at+"/") {
		return 0
	}
	return 3 + strings.Count(at, "/")
}
