// SPDX-License-Identifier: Apache-2.0

package flash

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits say what a card must be like.
type Limits struct {
	Image  int64 // bytes that are to be written
	Expect int64 // what the cards hold, as printed on them; 0: anything
	Force  bool  // one that is larger is taken too
}

// tolerance: cards of one nominal size differ, and what is printed counts in powers of ten.
const tolerance = 1.1

// Check says everything that speaks against writing to the disk. What is in use is never written to, forced or not.
func (d Disk) Check(l Limits) error {
	var errs []error
	problem := func(hint, format string, a ...any) {
		errs = append(errs, fmt.Errorf("%s: %s (hint: %s)", d.Path, fmt.Sprintf(format, a...), hint))
	}
	if d.Partition {
		problem("the whole disk, as /dev/sdX or /dev/mmcblkN", "it is a partition")
	}
	if d.ReadOnly {
		problem("the slide on the card's side", "it is read-only")
	}
	switch {
	case d.System:
		problem("another device", "this machine runs from it: %s", strings.Join(append(d.Mounts, d.Users...), ", "))
	case len(d.Mounts) > 0:
		problem("umount, and see that it is the card that is meant", "it is mounted at %s", strings.Join(d.Mounts, ", "))
	case len(d.Users) > 0:
		problem("another device", "it is in use: %s", strings.Join(d.Users, ", "))
	}
	switch {
	case d.Size < l.Image:
		problem("a larger card", "it holds %s, the image has %s", Bytes(d.Size), Bytes(l.Image))
	case l.Expect > 0 && float64(d.Size) > float64(l.Expect)*tolerance && !l.Force:
		problem("--force if it is the card that is meant", "it holds %s, cards are expected to hold %s", Bytes(d.Size), Bytes(l.Expect))
	}
	return errors.Join(errs...)
}

// Describe says what the kernel knows of the disk.
func (d Disk) Describe() string {
	if !d.Device {
		return "a file"
	}
	return or(strings.TrimSpace(d.Model+" "+d.Serial), "a disk without a name")
}

// Bytes writes a size for people.
func Bytes(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// Rate writes how much of a size a second has, for people.
func Rate(n int64, d time.Duration) string {
	return Bytes(int64(float64(n) / max(d.Seconds(), 1e-6)))
}
