// SPDX-License-Identifier: Apache-2.0

package geo

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/language"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ label, code, path string }{
		{"IE", "IE", "GEO-EU/IE"},
		{"ie", "IE", "GEO-EU/IE"},
		{"irl", "IE", "GEO-EU/IE"},
		{"Ireland", "IE", "GEO-EU/IE"},
		{"aus", "AU", "GEO-OC/AU"},
		{"australia", "AU", "GEO-OC/AU"},
		{"USA", "US", "GEO-NA/US"},
		{"uk", "GB", "GEO-EU/GB"},
		{"south-africa", "ZA", "GEO-AF/ZA"},
		{"Côte d'Ivoire", "", ""}, // outside ASCII
		{"Cote d'Ivoire", "CI", "GEO-AF/CI"},
		{"NA", "NA", "GEO-AF/NA"}, // Namibia
		{"geo-na", "GEO-NA", "GEO-NA"},
		{"GEO-EU", "GEO-EU", "GEO-EU"},
		{"us-ca", "US-CA", "GEO-NA/US/US-CA"},
		{"DE-BY", "DE-BY", "GEO-EU/DE/DE-BY"},
		{"*", "*", "*"},
		{"default", "*", "*"},
		{" IE ", "IE", "GEO-EU/IE"},
		{"", "", ""},
		{"XX", "", ""},
		{"EU", "", ""},
		{"GEO-XX", "", ""},
		{"GEO-", "", ""},
		{"GEO-EU NA", "", ""},
		{"US-XX", "", ""},
		{"US-", "", ""},
		{"DE-TOOLONG", "", ""},
		{"us-east1", "", ""},
		{"zzz", "", ""},
		{"-", "", ""},
	} {
		code, err := Parse(c.label)
		if code != c.code || (err == nil) != (c.code != "") {
			t.Errorf("%q is %q (%v), want %q", c.label, code, err, c.code)
			continue
		}
		if err != nil {
			if !strings.Contains(err.Error(), "(hint: ") {
				t.Errorf("%q: %v gives no hint", c.label, err)
			}
			continue
		}
		if got := Path(code); got != c.path {
			t.Errorf("%q is at %q, want %q", c.label, got, c.path)
		}
	}
	if got := Path("zone-a/node-7"); got != "zone-a/node-7" {
		t.Errorf("what is no code became %q", got)
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct{ continent, country, part, want string }{
		{"EU", "IE", "L", "GEO-EU/IE/IE-L"},
		{"EU", "IE", "", "GEO-EU/IE"},
		{"EU", "", "", "GEO-EU"},
		{"AS", "CY", "", "GEO-EU/CY"}, // as Path says
		{"", "US", "CA", "GEO-NA/US/US-CA"},
		{"", "ZZ", "", "ZZ"},
		{"", "", "", ""},
	} {
		if got := Place(c.continent, c.country, c.part); got != c.want {
			t.Errorf("%+v is at %q", c, got)
		}
	}
}

// TestCountries compares the table with another.
func TestCountries(t *testing.T) {
	if !slices.IsSortedFunc(countries[:], func(a, b country) int { return strings.Compare(a.code, b.code) }) {
		t.Error("the table is not in order")
	}
	if len(countries) != 249+1 {
		t.Errorf("%d countries", len(countries))
	}
	groups := map[string]string{"002": "AF", "142": "AS", "150": "EU", "003": "NA", "005": "SA", "009": "OC"}
	differ := 0
	for _, c := range countries {
		r, err := language.ParseRegion(c.code)
		if err != nil || !r.IsCountry() || c.code != "XK" && r.ISO3() != c.three {
			t.Errorf("%+v: %v %v", c, r.ISO3(), err)
		}
		for group, continent := range groups {
			if language.MustParseRegion(group).Contains(r) && continent != c.continent {
				differ++
			}
		}
		for _, label := range []string{c.code, strings.ToLower(c.three), c.name} {
			if got, err := Parse(label); got != c.code {
				t.Errorf("%q is %q: %v", label, got, err)
			}
		}
	}
	if differ != 9 { // AQ BV CC CY GS HM IO TF TL
		t.Errorf("%d countries are on another continent in CLDR", differ)
	}
}

func FuzzParse(f *testing.F) {
	for _, label := range []string{"IE", "aus", "GEO-EU", "us-ca", "*", "default", "ireland", "", "GEO-", "-", "É"} {
		f.Add(label)
	}
	f.Fuzz(func(t *testing.T, label string) {
		code, err := Parse(label)
		if (err == nil) == (code == "") {
			t.Fatalf("%q is %q: %v", label, code, err)
		}
		if again, err := Parse(code); code != "" && again != code {
			t.Fatalf("%q is %q, which is %q: %v", label, code, again, err)
		}
		if code != "" && !strings.HasSuffix(Path(code), code) {
			t.Fatalf("%q is at %q", code, Path(code))
		}
	})
}
