// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zonefile"
	"github.com/dnsingress/dnsingress/internal/disk"
)

const (
	// storeEvery is between two writings of a zone at least, and so is storeShare times what the last one took.
	storeEvery = 30 * time.Second
	storeShare = 50
)

// store keeps a secondary's zone in a master file, whose time of modification is when a primary last confirmed
// it. What is written is a little behind what is served: after a restart the primary gives the difference.
type store struct {
	path   string
	origin string
	log    *slog.Logger
	wake   chan struct{}

	mu        sync.Mutex
	zone      *zone.Zone // the newest; nil: what the file has
	confirmed time.Time

	saved  *zone.Zone // what is in the file, for run alone once that begins
	failed bool       // the last writing; it has been logged
}

func newStore(dir, origin string, log *slog.Logger) *store {
	return &store{path: filepath.Join(dir, url.PathEscape(origin)+"zone"), origin: origin, log: log, wake: make(chan struct{}, 1)}
}

// load reads the file; nil where there is none.
func (s *store) load() (*zone.Zone, time.Time, error) {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	z, _, err := zonefile.Load(s.path, "")
	if err != nil {
		return nil, time.Time{}, err
	}
	if z.Origin() != s.origin {
		return nil, time.Time{}, fmt.Errorf("%s holds the zone %s", s.path, z.Origin())
	}
	return z, info.ModTime(), nil
}

// keep has a zone written soon. It does not wait.
func (s *store) keep(z *zone.Zone, confirmed time.Time) {
	s.mu.Lock()
	s.zone, s.confirmed = z, confirmed
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then what is not written yet, unless the cause is that another process has taken over
// the file.
func (s *store) run(ctx context.Context, replaced error) {
	for {
		select {
		case <-ctx.Done():
			if replaced == nil || !errors.Is(context.Cause(ctx), replaced) {
				s.write()
			}
			return
		case <-s.wake:
		}
		begin := time.Now()
		s.write()
		select {
		case <-ctx.Done():
		case <-time.After(max(storeEvery, storeShare*time.Since(begin))):
		}
	}
}

// write puts the newest zone on the disk. A failure is logged once and tried again with the next zone.
func (s *store) write() {
	s.mu.Lock()
	z, confirmed := s.zone, s.confirmed
	s.mu.Unlock()
	if z == nil {
		return
	}
	var err error
	if z != s.saved {
		err = disk.Replace(s.path, func(w io.Writer) error { return writeZone(w, z) })
	}
	if err == nil {
		s.saved = z
		err = os.Chtimes(s.path, confirmed, confirmed)
	}
	if err != nil && !s.failed {
		s.log.Error("keeping the zone on disk", "path", s.path, "error", err)
	}
	s.failed = err != nil
}

// writeZone writes a master file, the SOA first.
func writeZone(w io.Writer, z *zone.Zone) error {
	b := bufio.NewWriterSize(w, 1<<16)
	line := func(r zone.Record) error {
		rr, err := r.RR()
		if err == nil {
			_, err = b.WriteString(rr.String() + "\n")
		}
		return err
	}
	if err := line(z.SOA()); err != nil {
		return err
	}
	for r := range z.Records() {
		if err := line(r); err != nil {
			return err
		}
	}
	return b.Flush()
}
