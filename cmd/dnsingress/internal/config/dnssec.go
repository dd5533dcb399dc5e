// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"time"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// DNSSEC says how a zone is signed.
type DNSSEC struct {
	// Keys are files, each the .key or .private of a pair as dnsingress dnssec keygen or dnssec-keygen writes them.
	// Default: none, and the zone is not signed.
	Keys []string `yaml:"keys"`
	// Validity is how long signatures are valid; they are renewed after half of it. Default: 336h.
	Validity *time.Duration `yaml:"validity"`
	// AddressTTL is up to which TTLs of addresses change without new signatures: all are signed with it. Default: 5m.
	AddressTTL *time.Duration `yaml:"addressTTL"`
}

func (d *DNSSEC) fill() {
	orPointer(&d.Validity, 14*24*time.Hour)
	orPointer(&d.AddressTTL, 5*time.Minute)
}

func (d *DNSSEC) check(f *strictyaml.File, at string) {
	seen := map[string]bool{}
	for i, k := range d.Keys {
		at := fmt.Sprintf("%s.keys[%d]", at, i)
		if k == "" {
			f.Problem(at, "/etc/dnsingress/keys/Kapps.example.org.+013+12345", "a file is missing")
		}
		if seen[k] {
			f.Problem(at, "", "key %s is listed twice", k)
		}
		seen[k] = true
	}
	if *d.Validity < 24*time.Hour || *d.Validity > 90*24*time.Hour {
		f.Problem(at+".validity", "24h to 2160h, such as 336h", "%v is no validity of signatures", *d.Validity)
	}
	if ttl := *d.AddressTTL; ttl < 0 || ttl%time.Second != 0 || ttl > 24*time.Hour {
		f.Problem(at+".addressTTL", "whole seconds up to 24h, such as 5m", "%v is no TTL to sign for", ttl)
	}
}
