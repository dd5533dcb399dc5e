// SPDX-License-Identifier: Apache-2.0

// Package flash writes images to cards so that what ends in the middle is seen, and what is not what was meant is refused:
// disks that are in use, cards that hold less than they say, bytes that come back as others.
//
// The order is what makes a torn write visible. First a mark takes the place of the partition table; then everything else is
// written, forced out and read back past the page cache; the first mebibyte comes last. So a card either carries the mark, or
// the whole image that has been read back.
package flash
