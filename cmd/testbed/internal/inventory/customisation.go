// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// customisation checks what an image is to get: each value becomes one line, or one word, of a file that firmware reads.
func (c *checker) customisation(path string, image Image) {
	c.oneOf(path+".init", image.Init, "cloud-init", "firstrun")
	for i, line := range image.Config {
		if line == "" || strings.ContainsFunc(line, unprintable) {
			c.file.Problem(fmt.Sprintf("%s.config[%d]", path, i), "as dtoverlay=disable-wifi", "%q is no line of config.txt", line)
		}
	}
	for i, word := range image.Cmdline {
		if word == "" || strings.ContainsFunc(word, unprintable) || strings.Contains(word, " ") {
			c.file.Problem(fmt.Sprintf("%s.cmdline[%d]", path, i), "one word, as cgroup_enable=memory", "%q is no argument of the kernel", word)
		}
	}
	setting := regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
	for _, key := range slices.Sorted(maps.Keys(image.EEPROM)) {
		at := path + ".eeprom." + key
		if !setting.MatchString(key) {
			c.file.Problem(at, "as BOOT_ORDER", "%q is no setting of the boot EEPROM", key)
		}
		if value := image.EEPROM[key]; value == "" || strings.ContainsFunc(value, unprintable) {
			c.file.Problem(at, `as "0xf12"`, "%q is no value of a setting", value)
		}
	}
}

func unprintable(r rune) bool { return r < ' ' || r > '~' }
