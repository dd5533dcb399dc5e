// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"slices"
	"strconv"
)

// thousands writes n with commas. Figures hold ASCII only: the PDF's font encoding knows no more.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count says how many of a thing each has: "3 trials", "2 to 3 trials".
func count(each []int, what string) string {
	if len(each) == 0 {
		return "0 " + what + "s"
	}
	least, most := slices.Min(each), slices.Max(each)
	switch {
	case least != most:
		return fmt.Sprintf("%d to %d %ss", least, most, what)
	case most == 1:
		return "1 " + what
	default:
		return fmt.Sprintf("%d %ss", most, what)
	}
}
