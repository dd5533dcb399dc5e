// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/location"
)

// locationFlags say where clients are.
type locationFlags struct{ source location.Source }

func (f *locationFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.source.Database, "geo", "", "database `FILE` in MaxMind's format that says in which country clients are, read again when it changes (default: none)")
	flags.StringVar(&f.source.File, "locations", "", "YAML `FILE` with the locations of networks that the database does not know, as \"2001:db8::/32: IE\", read again when it changes (default: none)")
}

// load reads the files.
func (f *locationFlags) load(registry prometheus.Registerer, log *slog.Logger) (*location.Follower, error) {
	return location.New(f.source, registry, log)
}

// configuredLocations are those of the configuration of run.
func configuredLocations(c *config.Config, registry prometheus.Registerer, log *slog.Logger) (*location.Follower, error) {
	return location.New(location.Source{Database: c.DNS.LocationDatabase, Networks: c.DNS.Locations}, registry, log)
}
