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

// signing signs zones with what the flags, or the configuration, name.
type signing struct {
	options map[string]dnssec.Options // by origin
	signers map[string]*dnssec.Signer
	log     *slog.Logger
}

// load reads the keys.
func (f *signingFlags) load(log *slog.Logger) (*signing, error) {
	s := &signing{options: map[string]dnssec.Options{}, signers: map[string]*dnssec.Signer{}, log: log}
	zones, err := dnssec.LoadAll(f.keys)
	if err != nil {
		return nil, cli.Misuse("%w", err)
	}
	for origin, keys := range zones {
		s.options[origin] = dnssec.Options{Keys: keys, Validity: f.validity, Log: log}
	}
	return s, nil
}

// configuredSigning reads the keys that the zones of a configuration are signed with.
func configuredSigning(c *config.Config, log *slog.Logger) (*signing, error) {
	s := &signing{options: map[string]dnssec.Options{}, signers: map[string]*dnssec.Signer{}, log: log}
	var errs []error
	for _, z := range c.Zones {
		if len(z.DNSSEC.Keys) == 0 {
			continue
		}
		o := dnssec.Options{Validity: *z.DNSSEC.Validity, AddressTTL: uint32(*z.DNSSEC.AddressTTL / time.Second), Log: log}
		zones, err := dnssec.LoadAll(z.DNSSEC.Keys)
		errs = append(errs, err)
		for _, keys := range zones {
			o.Keys = append(o.Keys, keys...)
		}
		if err == nil {
			_, err = dnssec.New(z.Origin, o) // the zones are made later
			errs = append(errs, err)
		}
		s.options[z.Origin] = o
	}
	if err := errors.Join(errs...); err != nil {
		return nil, cli.Misuse("%w", err)
	}
	return s, nil
}

// sign returns a zone ready to be published: signed, if there is a key for it. Successive readings of one zone share
// their signatures.
func (s *signing) sign(z *zone.Zone) (*zone.Zone, error) {
	origin := z.Origin()
	o, wanted := s.options[origin]
	if !wanted {
		return z, nil
	}
	if s.signers[origin] == nil {
		signer, err := dnssec.New(origin, o)
		if err != nil {
			return nil, cli.Misuse("%w", err)
		}
		s.signers[origin] = signer
	}
	return s.signers[origin].Sign(z)
}

// unused says which keys are for zones that were never signed.
func (s *signing) unused() error {
	var names []string
	for origin, o := range s.options {
		if s.signers[origin] != nil {
			continue
		}
		for _, k := range o.Keys {
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
	if err := s.unused(); err != nil {
		return nil, err
	}
	var parts []func(context.Context) error
	var collectors dnssec.Collectors
	for _, origin := range slices.Sorted(maps.Keys(s.signers)) {
		signer := s.signers[origin]
		signer.Follow(catalog)
		collectors = append(collectors, signer)
		parts = append(parts, signer.Run)
		for _, k := range s.options[origin].Keys {
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
