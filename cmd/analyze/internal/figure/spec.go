// SPDX-License-Identifier: Apache-2.0

package figure

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/analyze/internal/digest"
	"github.com/dnsingress/dnsingress/internal/results"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Spec declares a figure: an entry of a figures file.
type Spec struct {
	// Name is that of the file, without extension. Of a figure for each of several levels, the levels are added to it.
	Name string `yaml:"name"`
	// Kind is how it is drawn: see Kinds.
	Kind string `yaml:"kind"`
	// Title says what it shows, in a line; empty: the kind's own.
	Title string `yaml:"title"`
	// Where chooses trials by the levels of factors. "kind" (steady, fault, churn, find-max, idle) and "fault" (the fault's kind) are factors too.
	Where map[string][]string `yaml:"where"`
	// Series are the factors whose levels are told apart as lines, rows or panels; empty: system.
	Series []string `yaml:"series"`
	// Each are the factors for which there is a figure a level; without it all that vary and are told apart by nothing else.
	Each []string `yaml:"each"`
	// X is a factor whose levels are numbers, or a quantity, as the kind has it.
	X string `yaml:"x"`
	// Y is a quantity; empty: the kind's own.
	Y string `yaml:"y"`

	quiet bool // one of the default set: without data it is left out without a word
}

type file struct {
	Version int    `yaml:"version"`
	Figures []Spec `yaml:"figures"`
}

//go:embed default.yaml
var defaults []byte

// DefaultFile is the figures file that is used where none is given: an example of every kind.
func DefaultFile() []byte { return slices.Clone(defaults) }

// Defaults returns the figures that every run gets. Those that the run has no data for are left out.
func Defaults() []Spec {
	specs, err := Parse("default.yaml", defaults)
	if err != nil {
		panic(err) // the file is part of the program, and of its tests
	}
	for i := range specs {
		specs[i].quiet = true
	}
	return specs
}

var fileName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)

// Parse reads a figures file called name. The error tells everything that is wrong with it, each with its place.
func Parse(name string, data []byte) ([]Spec, error) {
	var f file
	y := strictyaml.Decode(name, data, &f)
	if f.Version != 1 {
		y.Problem("version", "version: 1", "want 1, got %d", f.Version)
	}
	if len(f.Figures) == 0 {
		y.Problem("figures", "a list of {name: …, kind: …}", "no figure")
	}
	kinds := Kinds()
	var kindNames, quantities []string
	for _, k := range kinds {
		kindNames = append(kindNames, k.Name)
	}
	for _, q := range digest.Quantities() {
		quantities = append(quantities, q.Name)
	}
	names := map[string]bool{}
	for i, s := range f.Figures {
		at := func(key string) string { return fmt.Sprintf("figures[%d].%s", i, key) }
		switch {
		case !fileName.MatchString(s.Name):
			y.Problem(at("name"), "small letters, digits, - and .", "%q is no name for a file", s.Name)
		case names[s.Name]:
			y.Problem(at("name"), "", "%q is taken by a figure above", s.Name)
		}
		names[s.Name] = true
		at0 := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == s.Kind })
		if at0 < 0 {
			y.Problem(at("kind"), suggest(s.Kind, kindNames), "no kind of figure is called %q", s.Kind)
			continue
		}
		k := kinds[at0]
		quantity := func(key, name string) {
			if _, ok := digest.QuantityOf(name); name == "" || ok {
				return
			}
			// A quantity that only some scenarios measure is known by its unit; what looks like a slip is one.
			if hint := suggest(name, quantities); strings.HasPrefix(hint, "did") || !strings.Contains(name, "_") {
				y.Problem(at(key), hint+" or a percentile such as p99.9, or a measure of trials such as lookup_cold_p50_ms", "no quantity is called %q", name)
			}
		}
		switch {
		case s.Y != "" && k.Y == "":
			y.Problem(at("y"), "leave it out", "a figure of kind %s takes no y", k.Name)
		default:
			quantity("y", s.Y)
		}
		switch {
		case s.X != "" && k.X == nothing:
			y.Problem(at("x"), "leave it out", "a figure of kind %s takes no x", k.Name)
		case k.X == aQuantity:
			quantity("x", s.X)
		}
		for _, kind := range s.Where["kind"] {
			if !slices.Contains(kindsOfTrial(), kind) {
				y.Problem(at("where.kind"), strings.Join(kindsOfTrial(), ", "), "no kind of trial is called %q", kind)
			}
		}
		for _, key := range []string{"series", "each"} {
			for _, factor := range map[string][]string{"series": s.Series, "each": s.Each}[key] {
				if factor == s.X && factor != "" || key == "each" && slices.Contains(s.Series, factor) {
					y.Problem(at(key), "", "factor %q is used twice", factor)
				}
			}
		}
	}
	return f.Figures, y.Err()
}

// suggest names the nearest of known if one is near, else all of them.
func suggest(word string, known []string) string {
	for _, k := range known {
		if d := strictyaml.Distance(word, k); d > 0 && d <= 2 && 2*d <= len(k) {
			return fmt.Sprintf("did you mean %q?", k)
		}
	}
	return "known: " + strings.Join(known, ", ")
}

// kindsOfTrial are those that "kind" may ask for.
func kindsOfTrial() []string {
	return []string{results.KindSteady, results.KindFault, results.KindChurn, results.KindFindMax, results.KindIdle}
}
