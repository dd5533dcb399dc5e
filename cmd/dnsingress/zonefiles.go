// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/pflag"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zonefile"
)

// zoneFlags say how zone files are read.
type zoneFlags struct {
	origin  string
	options bool
}

func (f *zoneFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.origin, "origin", "", "domain `NAME` that relative names before any $ORIGIN belong to")
	flags.BoolVar(&f.options, "options", false, "take comments such as \"; geo IE, weight 100, set a\" for whom a record is, as dnsingress records writes them")
}

func (f *zoneFlags) load(path string) (*zone.Zone, files.Seen, error) {
	if f.options {
		return zonefile.LoadOptions(path, f.origin)
	}
	return zonefile.Load(path, f.origin)
}
