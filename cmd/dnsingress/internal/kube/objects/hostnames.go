// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// intersect gives the names that both a listener's and a route's host name stand for, of which "*." in front is any
// number of labels and empty is every name. Both are in lower case and fully qualified. ok: there are such names.
func intersect(a, b string) (name string, ok bool) {
	switch {
	case a == "" || a == b:
		return b, true
	case b == "" || within(a, b):
		return a, true
	case within(b, a):
		return b, true
	}
	return "", false
}

// within reports whether every name that inner stands for is below the wildcard outer.
func within(inner, outer string) bool {
	suffix, wildcard := strings.CutPrefix(outer, "*")
	inner = strings.TrimPrefix(inner, "*.")
	if !wildcard {
		return false
	}
	// "*.b.test." is within "*.b.test." and "*.test.", and b.test. within "*.test." alone.
	return strings.HasSuffix(inner, suffix) && len(inner) > len(suffix)
}

// canonicalHost is a host name of a spec in lower case and fully qualified; empty stays empty.
func canonicalHost(name string) string {
	if name == "" {
		return ""
	}
	return dns.CanonicalName(name)
}

// checkedHosts are those of names that are host names, in lower case and fully qualified.
func checkedHosts(names []string, at string) (hosts []string, problems []model.Problem) {
	for i, name := range names {
		if !hostname(name) {
			problems = append(problems, model.Problem{Reason: "InvalidHostname", Path: fmt.Sprintf(at, i), Message: fmt.Sprintf(
				"%q is no host name (hint: letters, digits and hyphens between dots, at most 63 bytes each)", name)})
			continue
		}
		hosts = appendNew(hosts, dns.CanonicalName(name))
	}
	return hosts, problems
}
