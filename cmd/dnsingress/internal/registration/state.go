// SPDX-License-Identifier: Apache-2.0

package registration

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dnsingress/dnsingress/internal/disk"
)

// state is what a start needs of a book. Times are left out: the monotonic clock begins anew with the machine.
type state struct {
	Version int         `json:"version"`
	Zone    string      `json:"zone"`
	Servers []stateHost `json:"nameservers"`
}

type stateHost struct {
	Name      string       `json:"name"`
	Key       string       `json:"key"`
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Children  []stateClaim `json:"children"`
}

type stateClaim struct {
	Name  string    `json:"name"`
	DS    []string  `json:"ds,omitempty"`
	Lease int       `json:"lease_seconds"`
	Since time.Time `json:"since"`
	Kept  bool      `json:"kept,omitempty"` // its lease had ended, and it was the last one
}

const stateVersion = 1

func statePath(dir, origin string) string {
	return filepath.Join(dir, url.PathEscape(origin)+"registrations")
}

// state is the book as it is kept.
func (b *book) state() state {
	s := state{Version: stateVersion, Zone: b.origin, Servers: []stateHost{}}
	for _, h := range b.hosts {
		x := stateHost{Name: h.name, Key: h.key, Addresses: h.addresses}
		for _, c := range h.claims {
			x.Children = append(x.Children, stateClaim{c.child, c.ds, int(c.lease / time.Second), c.since.UTC().Truncate(time.Second), !c.ended.IsZero()})
		}
		slices.SortFunc(x.Children, func(a, b stateClaim) int { return cmp.Compare(a.Name, b.Name) })
		s.Servers = append(s.Servers, x)
	}
	slices.SortFunc(s.Servers, func(a, b stateHost) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

func (s state) write(dir, origin string) error {
	return disk.Replace(statePath(dir, origin), func(w io.Writer) error { return json.NewEncoder(w).Encode(s) })
}

// load enters what was kept; false: nothing was. What is granted no more stays out.
func (b *book) load(dir string, now time.Time) (found bool, err error) {
	if dir == "" {
		return false, nil
	}
	path := statePath(dir, b.origin)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return false, fmt.Errorf("%s: %w (hint: remove the file)", path, err)
	}
	if s.Version != stateVersion || s.Zone != b.origin {
		return false, fmt.Errorf("%s: it is of version %d and zone %q, not %d and %q (hint: remove the file)", path, s.Version, s.Zone, stateVersion, b.origin)
	}
	for _, x := range s.Servers {
		h := &host{name: x.Name, key: x.Key, addresses: x.Addresses, claims: map[string]*claim{}}
		for _, c := range x.Children {
			if !b.policy.mayServe(x.Key, c.Name, x.Name, x.Addresses) {
				continue
			}
			b.hosts[x.Name] = h
			lease := min(max(time.Duration(c.Lease)*time.Second, b.policy.Least), b.policy.Most)
			n := &claim{child: c.Name, host: x.Name, ds: c.DS, lease: lease, since: c.Since, until: now.Add(lease)}
			if c.Kept {
				n.ended, n.until = now, now.Add(b.policy.KeepLast)
			}
			if b.children[c.Name] == nil {
				b.children[c.Name] = map[string]*claim{}
			}
			if b.children[c.Name][x.Name] == nil {
				b.leases++
			}
			b.children[c.Name][x.Name], h.claims[c.Name] = n, n
		}
	}
	return true, nil
}
