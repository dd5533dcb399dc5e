// SPDX-License-Identifier: Apache-2.0

package figure

import (
	"cmp"
	"reflect"
	"slices"
)

// Kind is a way to draw trials. A new one is one file with a method of Catalog that returns it.
type Kind struct {
	Name string // as figures files have it
	Does string // in a line
	X    argument
	// Y is the quantity that is drawn where a Spec names none; empty: the kind takes none.
	Y string
	// Faults says that fault trials are drawn, and not steady ones, where a Spec does not choose.
	Faults bool
	// Draw returns nil where the data show nothing.
	Draw func(Data) *Figure
}

// argument is what a Spec's x means.
type argument int

const (
	nothing   argument = iota
	aFactor            // whose levels are numbers
	aQuantity          // of trials
)

// Catalog has one method for each kind.
type Catalog struct{}

// Kinds returns all kinds by name. They are the methods of Catalog, so that a new kind needs a file and no list to be kept.
func Kinds() []Kind {
	catalog := reflect.ValueOf(Catalog{})
	var out []Kind
	for i := range catalog.NumMethod() {
		out = append(out, catalog.Method(i).Interface().(func() Kind)())
	}
	slices.SortFunc(out, func(a, b Kind) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (a argument) String() string {
	return [...]string{"-", "factor", "quantity"}[a]
}
