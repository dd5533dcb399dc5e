// SPDX-License-Identifier: Apache-2.0

package zonefile

import (
	"context"
	"log/slog"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/files"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/zone"
)

// Follower reads a zone file again whenever it, or a file that it includes, changes.
type Follower struct {
	Path string
	// Load reads it.
	Load func(path string) (*zone.Zone, files.Seen, error)
	// Publish is called with every good reading after the first, from one goroutine.
	Publish func(*zone.Zone)
	Log     *slog.Logger
}

// Run follows the file until ctx ends; a receive from again reads it in any case. read is what the first
// reading was of. A reading with errors is logged, and what was published before stays.
func (f *Follower) Run(ctx context.Context, read files.Seen, again <-chan struct{}) error {
	follower := files.Follower{What: "the zone file", Path: f.Path, Read: f.read, Log: f.Log}
	return follower.Run(ctx, read, again)
}

func (f *Follower) read() files.Seen {
	z, seen, err := f.Load(f.Path)
	if err != nil {
		f.Log.Error("keeping the old zone", "path", f.Path, "error", err)
		return seen
	}
	f.Publish(z)
	return seen
}
