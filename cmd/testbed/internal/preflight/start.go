// SPDX-License-Identifier: Apache-2.0

package preflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/kubectl"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/remote"
)

// Program is a program of the bundle's that is started once on each kernel before anybody measures it: published builds die
// on kernels that they were not built for.
type Program struct {
	Name string // of its image: "envoy"
	Key  string // of what the image was built from
	File string // the image's archive on this machine
	// Probes are commands in the image that start what is in it: each says something of itself and ends.
	Probes [][]string
}

// Tried returns the programs of a catalog that are started; the store must have their images.
func Tried(ctx context.Context, store *bundle.Store, catalog []bundle.Source) ([]Program, error) {
	var programs []Program
	for _, image := range bundle.Images(catalog) {
		if len(image.Probes) == 0 {
			continue
		}
		item, err := store.Look(ctx, image)
		if err != nil {
			return nil, err
		}
		programs = append(programs, Program{image.Repository, item.Key, item.Path, image.Probes})
	}
	return programs, nil
}

// startedDir holds, on a node, an empty file for each program that was started: its name, its key and the kernel.
const startedDir = "/var/lib/testbed/started"

// startScript unpacks an image where nothing is written to the card, so that its probes can be started there, unless that was
// done on this kernel before. $mark is the mark's name without the kernel, $file the image's archive.
const startScript = `
mark=` + startedDir + `/$mark-$(uname -r)
[ ! -e "$mark" ] || exit 0
dir=$(mktemp -d /dev/shm/testbed-start.XXXXXX) || exit
trap 'rm -rf "$dir"' EXIT
tar -xOf "$file" --wildcards '*.tar' | tar -xf - -C "$dir" || exit
try() {
  said=$(timeout -s KILL 60 chroot "$dir" "$@" 2>&1 </dev/null) && return
  echo "$1 ended with code $?: $(echo "$said" | tail -n 3 | tr '\n' ' ')" >&2
  exit 1
}
`

// startedMark is the end of startScript, behind its probes.
const startedMark = "mkdir -p " + startedDir + " && : >\"$mark\"\n"

// startedScript names the images of a worker whose programs were not started on its kernel.
const startedScript = `
kernel=$(uname -r)
ctr -n k8s.io images ls | sed -n 's|^testbed.local/\([a-z0-9-]*\):.*dnsingress.dev/bundle-key=\([0-9a-f]*\).*|\1 \2|p' | while read -r name key; do
  [ -e ` + startedDir + `/$name-$key-$kernel ] || echo "$name"
done`

// Start starts each program once on a node. The error names every one that does not start.
func Start(ctx context.Context, fleet *remote.Fleet, substrate string, n inventory.Node, programs []Program) error {
	var errs []error
	for _, p := range programs {
		if err := start(ctx, fleet, substrate, n, p); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			errs = append(errs, fmt.Errorf("%s does not start on this node: %w (hint: another kernel, or leave it out of the experiments: --accept '%s: %[1]s')", p.Name, err, Programs))
		}
	}
	return errors.Join(errs...)
}

func start(ctx context.Context, fleet *remote.Fleet, substrate string, n inventory.Node, p Program) error {
	file := path.Join("/opt/testbed/images", filepath.Base(p.File)) // where a virtual node sees the bundle's images
	mark := p.Name + "-" + p.Key
	if substrate != "twin" {
		_, err := fleet.Run(ctx, n.Name, remote.Command{Line: fmt.Sprintf(`[ -e %s/%s-"$(uname -r)" ]`, startedDir, mark)})
		if err == nil {
			return nil
		}
		if exit := (*remote.ExitError)(nil); !errors.As(err, &exit) {
			return err
		}
		file = "/dev/shm/testbed-" + filepath.Base(p.File)
		image, err := os.Open(p.File)
		if err != nil {
			return err
		}
		defer image.Close()
		if err := fleet.Put(ctx, n.Name, image, file, 0o600); err != nil {
			return err
		}
		defer func() {
			_, _ = fleet.Run(context.WithoutCancel(ctx), n.Name, remote.Command{Line: "rm -f " + kubectl.Quote(file)})
		}()
	}
	var line strings.Builder
	fmt.Fprintf(&line, "mark=%s file=%s\n%s", kubectl.Quote(mark), kubectl.Quote(file), startScript)
	for _, probe := range p.Probes {
		line.WriteString("try")
		for _, word := range probe {
			line.WriteString(" " + kubectl.Quote(word))
		}
		line.WriteString("\n")
	}
	line.WriteString(startedMark)
	_, err := fleet.Run(ctx, n.Name, remote.Command{Line: line.String()})
	if exit := (*remote.ExitError)(nil); errors.As(err, &exit) {
		return errors.New(strings.TrimSpace(exit.Stderr))
	}
	return err
}
