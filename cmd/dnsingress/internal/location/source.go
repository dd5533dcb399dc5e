// SPDX-License-Identifier: Apache-2.0

package location

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Source says where locations come from.
type Source struct {
	// Database is a file in MaxMind's format. Empty: none.
	Database string
	// File holds more Networks, in YAML. Empty: none.
	File string
	// Networks are places by network, as Parse reads them. They count for addresses that the database does not know.
	Networks map[string]string
}

// Empty tells whether there are no locations at all.
func (s Source) Empty() bool { return s.Database == "" && s.File == "" && len(s.Networks) == 0 }

// Parse reads a network, as 2001:db8::/32, and where it is: a country, subdivision or continent by its code (IE, US-CA, GEO-EU),
// whose path it gives, or any path of own names (zone-a/node-7).
func Parse(network, place string) (netip.Prefix, string, error) {
	p, err := netip.ParsePrefix(network)
	if err != nil {
		return p, "", fmt.Errorf("%q is no network (hint: 2001:db8::/32 or 192.0.2.0/24)", network)
	}
	if p != p.Masked() {
		return p, "", fmt.Errorf("%q is no network, but an address in one (hint: %v)", network, p.Masked())
	}
	const most = 255 // octets, as of what is compared with it
	path := geo.Path(place)
	switch {
	case place == "":
		return p, "", errors.New("it is nowhere (hint: leave it out)")
	case len(path) > most:
		return p, "", fmt.Errorf("a place of %d octets (hint: at most %d)", len(path), most)
	case slices.Contains(strings.Split(path, "/"), ""):
		return p, "", fmt.Errorf("place %q has a part without a name (hint: GEO-EU/IE, or IE alone)", place)
	case place == zone.Anywhere:
		return p, "", fmt.Errorf("place %q is everywhere (hint: leave the network out)", place)
	}
	return p, path, nil
}

// Follower keeps a table of locations as its source has them.
type Follower struct {
	source Source
	log    *slog.Logger
	table  atomic.Pointer[zone.Locations]
	seen   files.Seen

	ranges, built prometheus.Gauge
}

// New reads a source; the error joins all that is wrong with it. registerer may be nil.
func New(s Source, registerer prometheus.Registerer, log *slog.Logger) (*Follower, error) {
	f := &Follower{
		source: s, log: log,
		ranges: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dnsingress_location_ranges", Help: "Ranges of client addresses that are told apart by where they are.",
		}),
		built: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dnsingress_location_database_built_timestamp_seconds", Help: "When the database of locations was made; 0: there is none.",
		}),
	}
	var err error
	if f.seen, err = f.load(); err != nil {
		return nil, err
	}
	if registerer != nil {
		registerer.MustRegister(f.ranges, f.built)
	}
	return f, nil
}

// Table is what there is at present; what it points to changes with the files.
func (f *Follower) Table() *atomic.Pointer[zone.Locations] { return &f.table }

// Run reads files again when they change until ctx ends. What cannot be read is logged, and the table stays.
func (f *Follower) Run(ctx context.Context) error {
	if len(f.seen) == 0 {
		return nil
	}
	path := f.source.Database
	if path == "" {
		path = f.source.File
	}
	read := func() files.Seen {
		seen, err := f.load()
		if err != nil {
			f.log.Error("keeping the old locations", "error", err)
		}
		return seen
	}
	follower := files.Follower{What: "a file of locations", Path: path, Read: read, Log: f.log}
	return follower.Run(ctx, f.seen, nil)
}

// load reads everything, and publishes it if all of it can be read.
func (f *Follower) load() (files.Seen, error) {
	seen := files.Seen{}
	begin := time.Now()
	networks, err := f.source.networks(seen)
	t, errTable := zone.NewLocations(networks)
	err = errors.Join(err, errTable)
	var built time.Time
	if path := f.source.Database; path != "" {
		note(seen, path)
		known, at, errDatabase := readDatabase(path)
		err = errors.Join(err, errDatabase)
		t, built = known.Or(t), at
		f.built.Set(float64(at.Unix()))
	}
	if err != nil {
		return seen, err
	}
	f.table.Store(t)
	f.ranges.Set(float64(t.Len()))
	log := f.log.With("ranges", t.Len(), "took", time.Since(begin).Round(time.Millisecond))
	if f.source.Database != "" {
		log = log.With("database", f.source.Database, "built", built.UTC())
	}
	log.Info("read where clients are")
	return seen, nil
}

// networks are those of the configuration and of the file, which counts where both have one.
func (s Source) networks(seen files.Seen) (map[netip.Prefix]string, error) {
	all := map[netip.Prefix]string{}
	var errs []error
	for _, network := range slices.Sorted(maps.Keys(s.Networks)) {
		p, place, err := Parse(network, s.Networks[network])
		if err != nil {
			errs = append(errs, fmt.Errorf("location of %s: %w", network, err))
			continue
		}
		all[p] = place
	}
	if s.File == "" {
		return all, errors.Join(errs...)
	}
	note(seen, s.File)
	data, err := os.ReadFile(s.File)
	if err != nil {
		return nil, errors.Join(append(errs, fmt.Errorf("reading locations: %w", err))...)
	}
	var written map[string]string
	file := strictyaml.Decode(s.File, data, &written)
	for _, network := range slices.Sorted(maps.Keys(written)) {
		at := fmt.Sprintf("[%q]", network)
		p, place, err := Parse(network, written[network])
		if err != nil {
			file.Problem(at, "", "%v", err)
			continue
		}
		all[p] = place
	}
	return all, errors.Join(append(errs, file.Err())...)
}

// note takes note of a file before it is read.
func note(seen files.Seen, path string) {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	seen.Note(path)
}
