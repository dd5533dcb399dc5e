// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// thousands writes n with commas. Figures hold ASCII only: the PDF's font encoding knows no more.
func thousands(n int64) string { return commas(strconv.FormatInt(n, 10)) }

// commas groups the digits before the point of a number.
func commas(number string) string {
	whole, fraction, point := strings.Cut(number, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + fraction
	}
	return whole
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
