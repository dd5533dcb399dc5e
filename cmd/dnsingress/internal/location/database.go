// SPDX-License-Identifier: Apache-2.0

package location

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/geo"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// record is what matters here of MaxMind's and DB-IP's data of a network.
type record struct {
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Parts []struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"subdivisions"`
}

// flatRecord is the same in IPinfo's.
type flatRecord struct {
	Continent     string `maxminddb:"continent"`
	ContinentCode string `maxminddb:"continent_code"`
	Country       string `maxminddb:"country"`
	CountryCode   string `maxminddb:"country_code"`
}

// readDatabase reads a file in MaxMind's format; built is when it was made.
func readDatabase(path string) (t *zone.Locations, built time.Time, err error) {
	data, err := os.ReadFile(path) // not mapped: a file that is cut short while it is replaced would end the process
	if err != nil {
		return nil, built, fmt.Errorf("reading locations: %w", err)
	}
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, built, fmt.Errorf("reading locations from %s: %w (hint: a file in MaxMind's format, as GeoLite2-Country.mmdb)", path, err)
	}
	w := walk{db: db, places: map[uintptr]string{}}
	t, err = zone.CollectLocations(w.networks)
	if err = errors.Join(w.err, err); err != nil {
		return nil, built, fmt.Errorf("reading locations from %s: %w", path, err)
	}
	if t.Len() == 0 {
		return nil, built, fmt.Errorf("reading locations from %s: no network of this %s database has a country or a continent (hint: GeoLite2-Country or GeoLite2-City has)", path, db.Metadata.DatabaseType)
	}
	return t, db.Metadata.BuildTime(), nil
}

// walk goes over all networks of a database.
type walk struct {
	db     *maxminddb.Reader
	places map[uintptr]string // of data, by where they stand
	err    error
}

// networks yields every network with its place, and stops at what is broken.
func (w *walk) networks(yield func(netip.Prefix, string) bool) {
	// A tree has no more leaves than nodes, and one. In a broken one the same nodes may be met without end.
	left := w.db.Metadata.NodeCount + 1
	for result := range w.db.Networks() {
		if w.err = result.Err(); w.err != nil {
			return
		}
		if left == 0 {
			w.err = errors.New("it is broken: it has more networks than places for them")
			return
		}
		left--
		place, known := w.places[result.Offset()]
		if !known {
			if place, w.err = placeOf(result); w.err != nil {
				w.err = fmt.Errorf("data of %v: %w", result.Prefix(), w.err)
				return
			}
			w.places[result.Offset()] = place
		}
		if place != "" && !yield(result.Prefix(), place) {
			return
		}
	}
}

// placeOf reads the place that a network's data say.
func placeOf(result maxminddb.Result) (string, error) {
	var r record
	err := result.Decode(&r)
	var other maxminddb.UnmarshalTypeError
	if errors.As(err, &other) {
		var f flatRecord
		if err := result.Decode(&f); err != nil {
			return "", err
		}
		continent, country := f.ContinentCode, f.CountryCode
		if len(f.Continent) == 2 {
			continent = f.Continent
		}
		if len(f.Country) == 2 {
			country = f.Country
		}
		return geo.Place(continent, country, ""), nil
	}
	if err != nil {
		return "", err
	}
	part := ""
	if len(r.Parts) > 0 { // the largest comes first
		part = r.Parts[0].Code
	}
	return geo.Place(r.Continent.Code, r.Country.Code, part), nil
}
