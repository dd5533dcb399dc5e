// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/dnssec"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

// signingFlags are those of commands that can sign the zones that they read.
type signingFlags struct {
	keys     []string
	validity time.Duration
}

func (f *signingFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.keys, "dnssec-key", nil, "`FILE` of a key to sign its zone with: the .key or .private of a pair (repeatable)")
	c.Flags().DurationVar(&f.validity, "dnssec-validity", dnssec.DefaultValidity, "how long signatures are valid; they are renewed after half of it")
}

// signing signs zones with the keys that the flags, or the configuration, name.
type signing struct {
	signers map[string]*dnssec.Signer // by origin
	keys    map[string][]*dnssec.Key
	log     *slog.Logger
}

func newSigning(log *slog.Logger) *signing {
	return &signing{signers: map[string]*dnssec.Signer{}, keys: map[string][]*dnssec.Key{}, log: log}
}

func (s *signing) add(origin string, o dnssec.Options) error {
	o.Log = s.log
	signer, err := dnssec.New(origin, o)
	if err != nil {
		return err
	}
	s.signers[origin], s.keys[origin] = signer, o.Keys
	return nil
}

// load reads the keys.
func (f *signingFlags) load(log *slog.Logger) (*signing, error) {
	s := newSigning(log)
	zones, err := dnssec.LoadAll(f.keys)
	errs := []error{err}
	for _, origin := range slices.Sorted(maps.Keys(zones)) {
		errs = append(errs, s.add(origin, dnssec.Options{Keys: zones[origin], Validity: f.validity}))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, cli.Misuse("%w", err)
	}
	return s, nil
}

// configuredSigning reads the keys that the zones of a configuration are signed with.
func configuredSigning(c *config.Config, log *slog.Logger) (*signing, error) {
	s := newSigning(log)
	var errs []error
	for _, z := range c.Zones {
		if len(z.DNSSEC.Keys) == 0 {
			continue
		}
		zones, err := dnssec.LoadAll(z.DNSSEC.Keys)
		if err == nil {
			err = s.add(z.Origin, dnssec.Options{
				Keys: slices.Concat(slices.Collect(maps.Values(zones))...), Validity: *z.DNSSEC.Validity,
				AddressTTL: uint32(*z.DNSSEC.AddressTTL / time.Second),
			})
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, cli.Misuse("%w", err)
	}
	return s, nil
}

// sign returns a zone ready to be published: signed, if there is a key for it. Successive readings of one zone share
// their signatures.
func (s *signing) sign(z *zone.Zone) (*zone.Zone, error) {
	signer := s.signers[z.Origin()]
	if signer == nil {
		return z, nil
	}
	return signer.Sign(z)
}

// unused says which keys are for none of some zones, by origin.
func (s *signing) unused(origins []string) error {
	var names []string
	for origin, keys := range s.keys {
		if slices.Contains(origins, origin) {
			continue
		}
		for _, k := range keys {
			names = append(names, k.Name())
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return cli.Misuse("no zone is read that these keys sign: %s (hint: a key's zone is in its name)", strings.Join(names, ", "))
}

// follow registers the metrics and returns what keeps the signatures fresh of what a catalog publishes.
func (s *signing) follow(catalog *zone.Catalog, registerer prometheus.Registerer) ([]func(context.Context) error, error) {
	var parts []func(context.Context) error
	var collectors dnssec.Collectors
	for _, origin := range slices.Sorted(maps.Keys(s.signers)) {
		signer := s.signers[origin]
		signer.Follow(catalog)
		collectors = append(collectors, signer)
		parts = append(parts, signer.Run)
		for _, k := range s.keys[origin] {
			s.log.Info("signing", "zone", origin, "key", k.Name(), "signsKeys", k.SignsKeys())
		}
	}
	if len(collectors) > 0 {
		if err := registerer.Register(collectors); err != nil {
			return nil, fmt.Errorf("registering DNSSEC metrics: %w", err)
		}
	}
	return parts, nil
}
