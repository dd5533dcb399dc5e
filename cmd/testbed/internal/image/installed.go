// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/ext4"
)

// installed returns the versions of the packages that a root file system has, by name. One without dpkg has none.
func installed(root io.ReaderAt) (map[string]string, error) {
	f, err := ext4.Open(root)
	if err != nil {
		return nil, err
	}
	status, err := f.ReadFile("/var/lib/dpkg/status")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	versions := map[string]string{}
	for paragraph := range strings.SplitSeq(string(status), "\n\n") {
		fields := map[string]string{}
		for line := range strings.SplitSeq(paragraph, "\n") {
			if key, value, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, " ") {
				fields[key] = value
			}
		}
		if strings.HasSuffix(fields["Status"], " installed") {
			versions[fields["Package"]] = fields["Version"]
		}
	}
	return versions, nil
}

// missing returns the packages that are not installed, or in an older version: apt would refuse to put an older one in the
// place of a newer.
func missing(packages []deb, installed map[string]string) []deb {
	return slices.DeleteFunc(slices.Clone(packages), func(d deb) bool {
		parts := strings.Split(d.name(), "_")
		have, ok := installed[parts[0]]
		return ok && compareVersions(have, strings.ReplaceAll(parts[1], "%3a", ":")) >= 0
	})
}

// compareVersions orders versions of Debian packages (Debian Policy §5.6.12).
func compareVersions(a, b string) int {
	epochA, upstreamA, revisionA := splitVersion(a)
	epochB, upstreamB, revisionB := splitVersion(b)
	return cmp.Or(comparePart(epochA, epochB), comparePart(upstreamA, upstreamB), comparePart(revisionA, revisionB))
}

func splitVersion(v string) (epoch, upstream, revision string) {
	if e, rest, ok := strings.Cut(v, ":"); ok {
		epoch, v = e, rest
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return epoch, v[:i], v[i+1:]
	}
	return epoch, v, ""
}

// comparePart compares pieces without digits and numbers in turn.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		i, j := 0, 0
		for i < len(a) && !digit(a[i]) || j < len(b) && !digit(b[j]) {
			if c := cmp.Compare(rank(a, i), rank(b, j)); c != 0 {
				return c
			}
			i, j = i+1, j+1
		}
		a, b = strings.TrimLeft(a[min(i, len(a)):], "0"), strings.TrimLeft(b[min(j, len(b)):], "0")
		i = len(a) - len(strings.TrimLeft(a, "0123456789"))
		j = len(b) - len(strings.TrimLeft(b, "0123456789"))
		if c := cmp.Or(cmp.Compare(i, j), strings.Compare(a[:i], b[:j])); c != 0 {
			return c
		}
		a, b = a[i:], b[j:]
	}
	return 0
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// rank orders a byte that is no digit: a tilde before the end of a piece, letters before all else.
func rank(s string, i int) int {
	switch {
	case i >= len(s) || digit(s[i]):
		return 0
	case s[i] == '~':
		return -1
	case s[i] >= 'A' && s[i] <= 'Z' || s[i] >= 'a' && s[i] <= 'z':
		return int(s[i])
	}
	return int(s[i]) + 256
}
