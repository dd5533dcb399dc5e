// SPDX-License-Identifier: Apache-2.0

// Package geo knows the codes by which clients' locations are named: countries, subdivisions and continents, as Route 53,
// Kuadrant and external-dns write them and as people do. It is pure.
package geo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Anywhere is the code for clients whom no other is for.
const Anywhere = "*"

// continentPrefix tells a continent from a country: NA is Namibia, GEO-NA is North America.
const continentPrefix = "GEO-"

// continents are MaxMind's and Route 53's.
const continents = "AF AN AS EU NA OC SA"

// Parse reads a label for a location, in whatever case: a country by its ISO 3166-1 code of two or three letters (IE, irl, aus; UK
// is GB) or its English name (ireland, "South Africa", south-africa), a subdivision by its ISO 3166-2 code (US-CA), a
// continent (GEO-EU), or "*" or "default" for everybody else. The code that it returns is IE, US-CA, GEO-EU or "*".
func Parse(label string) (code string, err error) {
	upper := strings.ToUpper(strings.TrimSpace(label))
	switch {
	case upper == Anywhere || upper == "DEFAULT":
		return Anywhere, nil
	case strings.HasPrefix(upper, continentPrefix):
		if listed(continents, upper[len(continentPrefix):]) {
			return upper, nil
		}
		return "", fmt.Errorf("geo code %q is no continent (hint: %s and one of %s)", label, continentPrefix, continents)
	}
	if c, ok := byLabel(upper); ok {
		return c.code, nil
	}
	if of, part, ok := strings.Cut(upper, "-"); ok && len(of) == 2 {
		if c, ok := byCode(of); ok && subdivision(c, part) {
			return c.code + "-" + part, nil
		}
	}
	if listed(continents, upper) {
		return "", fmt.Errorf("geo code %q is no country (hint: the continent is %s%s)", label, continentPrefix, upper)
	}
	return "", fmt.Errorf("geo code %q is unknown (hint: a country as IE or IRL, a subdivision as US-CA, a continent as GEO-EU, or * for everybody else)", label)
}

// Path returns where a code that Parse gave is, from the largest place to the smallest, as zone.Locations has it:
// GEO-EU/IE for IE, GEO-NA/US/US-CA for US-CA. What is no such code is returned as it is.
func Path(code string) string {
	of, _, _ := strings.Cut(code, "-")
	c, ok := byCode(of)
	switch {
	case !ok:
		return code
	case code == c.code:
		return continentPrefix + c.continent + "/" + code
	case subdivision(c, code[len(of)+1:]):
		return continentPrefix + c.continent + "/" + c.code + "/" + code
	}
	return code
}

// Place returns the path of what a database of locations knows of a network: codes of continent (EU), country (IE) and
// subdivision (L), each of which may be empty. The continent follows from a country that is known, so that it is the same one
// everywhere.
func Place(continent, country, part string) string {
	if c, ok := byCode(country); ok {
		continent = c.continent
	}
	var path []string
	if listed(continents, continent) {
		path = append(path, continentPrefix+continent)
	}
	if country != "" {
		path = append(path, country)
		if part != "" {
			path = append(path, country+"-"+part)
		}
	}
	return strings.Join(path, "/")
}

// subdivision tells whether a country can have a subdivision of that code: of the United States they are known, of others
// the form is (ISO 3166-2: one to three letters and digits).
func subdivision(c country, part string) bool {
	if c.code == "US" {
		return listed(states, part)
	}
	alphanumeric := func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }
	return len(part) >= 1 && len(part) <= 3 && strings.IndexFunc(part, func(r rune) bool { return !alphanumeric(r) }) < 0
}

// listed tells whether a code is one of a list with spaces between.
func listed(codes, code string) bool {
	return code != "" && strings.Contains(" "+codes+" ", " "+code+" ") && !strings.Contains(code, " ")
}

// byCode returns the country with a code of two letters, in upper case.
func byCode(code string) (country, bool) {
	i, found := slices.BinarySearchFunc(countries[:], code, func(c country, code string) int { return cmp.Compare(c.code, code) })
	if !found {
		return country{}, false
	}
	return countries[i], true
}

// byLabel returns the country that a label in upper case names in whatever way.
func byLabel(label string) (country, bool) {
	switch len(label) {
	case 2:
		if label == "UK" { // reserved for it in ISO 3166-1
			label = "GB"
		}
		return byCode(label)
	case 3:
		for _, c := range countries {
			if c.three == label {
				return c, true
			}
		}
	}
	if name := letters(label); len(name) > 3 {
		for _, c := range countries {
			if letters(strings.ToUpper(c.name)) == name {
				return c, true
			}
		}
	}
	return country{}, false
}

// letters leaves only those of A to Z.
func letters(upper string) string {
	return strings.Map(func(r rune) rune {
		if r < 'A' || r > 'Z' {
			return -1
		}
		return r
	}, upper)
}
