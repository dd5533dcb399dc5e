// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SeedBuild says what containerd on a new worker has from the start: container images, imported and
// unpacked once for all workers, by the base's own containerd. Nodes get links to the same files, which
// containerd never writes again: ten workers hold the images once, on the disk and in memory.
type SeedBuild struct {
	Cache  string // directory of the cache
	Base   string // root file system under the nodes, from BaseBuild
	Images []SeedImage
	Out    io.Writer
}

// SeedImage is one image of a seed.
type SeedImage struct {
	Ref   string
	File  string // docker-archive; its name follows from its content
	Label string // NAME=VALUE, by which the image is known to be this one
}

// keptSeeds of other images stay beside one that is built: those of other work trees.
const keptSeeds = 3

// Key is the name of the seed's directory; it begins with the base's, whose containerd wrote it.
func (b SeedBuild) Key() string {
	h := sha256.New()
	fmt.Fprintln(h, "1")
	for _, i := range b.Images {
		fmt.Fprintf(h, "%q %q %q\n", i.Ref, filepath.Base(i.File), i.Label)
	}
	return filepath.Base(b.Base) + "-" + hex.EncodeToString(h.Sum(nil))[:16]
}

func (b SeedBuild) parent() string { return filepath.Join(b.Cache, "seeds") }

// Path is where the seed is, once it is built.
func (b SeedBuild) Path() string { return filepath.Join(b.parent(), b.Key()) }

// Cached says whether the seed is there, whole.
func (b SeedBuild) Cached() bool {
	_, err := os.Stat(b.Path())
	return err == nil
}

// Build makes the seed unless it is there, out of the last one for the same base: only what differs is
// imported. Seeds that nobody asked for lately are removed; nodes keep what they have of them.
func (b SeedBuild) Build(ctx context.Context) error {
	if err := os.MkdirAll(b.parent(), 0o755); err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	dir, err := os.Open(b.parent())
	if err != nil {
		return fmt.Errorf("opening the cache: %w", err)
	}
	defer dir.Close()
	if err := lock(ctx, dir, unix.LOCK_EX); err != nil { // another testbed may be building it
		return fmt.Errorf("waiting for another build of the images' seed: %w", err)
	}
	others, err := b.others()
	if err != nil {
		return fmt.Errorf("looking for seeds: %w", err)
	}
	if !b.Cached() {
		tmp := filepath.Join(b.parent(), ".building")
		if err := os.RemoveAll(tmp); err != nil {
			return fmt.Errorf("removing an interrupted build: %w", err)
		}
		if err := b.build(ctx, tmp, others); err != nil {
			return errors.Join(err, os.RemoveAll(tmp))
		}
		if err := os.Rename(tmp, b.Path()); err != nil {
			return fmt.Errorf("keeping the images' seed: %w", err)
		}
	}
	now := time.Now()
	if err := os.Chtimes(b.Path(), now, now); err != nil {
		return fmt.Errorf("marking the images' seed as used: %w", err)
	}
	for _, old := range others[min(keptSeeds, len(others)):] {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("removing an old seed: %w", err)
		}
	}
	return nil
}

// others lists the other seeds there are, the one that was used last first.
func (b SeedBuild) others() ([]string, error) {
	entries, err := os.ReadDir(b.parent())
	if err != nil {
		return nil, err
	}
	used := map[string]time.Time{}
	var paths []string
	for _, e := range entries {
		if e.Name() == b.Key() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		path := filepath.Join(b.parent(), e.Name())
		used[path] = info.ModTime()
		paths = append(paths, path)
	}
	slices.SortFunc(paths, func(a, b string) int { return used[b].Compare(used[a]) })
	return paths, nil
}

func (b SeedBuild) build(ctx context.Context, tmp string, others []string) error {
	before := slices.IndexFunc(others, func(path string) bool {
		return strings.HasPrefix(filepath.Base(path), filepath.Base(b.Base)+"-")
	})
	if before >= 0 {
		if err := cloneSeed(ctx, others[before], tmp); err != nil {
			return err
		}
	}
	root := filepath.Join(b.parent(), ".root") // mounted on in a namespace that goes with the script
	for _, dir := range []string{tmp, root} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("making the images' seed: %w", err)
		}
	}
	args := []string{"-c", seedScript, "sh", root, b.Base, tmp}
	for _, i := range b.Images {
		args = append(args, i.Ref, i.File, i.Label)
	}
	if err := (BaseBuild{Out: b.Out}).run(ctx, "sh", args...); err != nil {
		return fmt.Errorf("importing container images with the base's containerd: %w", err)
	}
	return nil
}

// seedScript runs the containerd of a root file system ($2), on which nothing is written, on the state in $3, mounted at $1,
// and has it import what is missing or another one. Its images are "reference file label" each.
const seedScript = `
set -eu
root=$1 base=$2 state=$3; shift 3
mount -t tmpfs -o mode=0755 tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/node"
mount -t overlay -o "lowerdir=$base,upperdir=$root/upper,workdir=$root/work" overlay "$root/node"
root=$root/node
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mkdir -p "$root/var/lib/containerd" "$root/etc/containerd"
mount --bind "$state" "$root/var/lib/containerd"
# Without Kubernetes' interface: on a node it finds the images at its start.
printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' > "$root/etc/containerd/config.toml"
ctr() { chroot "$root" ctr -n k8s.io "$@"; }
chroot "$root" containerd --log-level error &
daemon=$!
until ctr version >/dev/null 2>&1; do
	kill -0 $daemon 2>/dev/null || { echo "containerd went away"; exit 1; }
	sleep 0.05
done
wanted=" "
while [ $# -gt 0 ]; do
	wanted="$wanted$1 "
	if ! ctr images ls "name==$1" | grep -qwF "$3"; then
		ctr images rm --sync "$1" >/dev/null 2>&1 || true
		cp "$2" "$root/tmp/image.tar"
		ctr images import /tmp/image.tar
		ctr images label "$1" "$3"
		rm "$root/tmp/image.tar"
	fi
	shift 3
done
for ref in $(ctr images ls -q); do
	case $wanted in *" $ref "*) ;; *) ctr images rm --sync "$ref" ;; esac
done
kill $daemon
wait $daemon || true`

// cloneSeed makes dst what the seed is. What containerd never writes again is linked, where both are
// on one file system; its databases are copied.
func cloneSeed(ctx context.Context, seed, dst string) error {
	linked, err := sameDevice(seed, filepath.Dir(dst))
	if err != nil {
		return fmt.Errorf("cloning the images' seed: %w", err)
	}
	args := []string{"--archive", "--reflink=auto", "--no-target-directory", seed, dst}
	if linked {
		args = append([]string{"--link"}, args...)
	}
	if err := runCopy(ctx, args...); err != nil {
		return err
	}
	databases, err := filepath.Glob(filepath.Join(dst, "*", "*.db"))
	if err != nil {
		return err
	}
	for _, path := range databases {
		rel, err := filepath.Rel(dst, path)
		if err != nil {
			return err
		}
		if err := runCopy(ctx, "--archive", "--remove-destination", filepath.Join(seed, rel), path); err != nil {
			return err
		}
	}
	// A node's containerd makes an identity of its own.
	if err := os.RemoveAll(filepath.Join(dst, "io.containerd.grpc.v1.introspection")); err != nil {
		return fmt.Errorf("cloning the images' seed: %w", err)
	}
	return nil
}

func runCopy(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "cp", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is testbed's
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cloning the images' seed: %w\n%s", err, out)
	}
	return nil
}

func sameDevice(a, b string) (bool, error) {
	var x, y unix.Stat_t
	err := errors.Join(unix.Stat(a, &x), unix.Stat(b, &y))
	return x.Dev == y.Dev, err
}

// plant gives a node that never ran a container the seed, whole or not at all.
func (t *Twin) plant(ctx context.Context, node, seed string) error {
	dir := filepath.Join(t.nodeDir(node), "containerd")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
		return err
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("removing an interrupted clone: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return fmt.Errorf("making the directories of %s: %w", node, err)
	}
	if err := cloneSeed(ctx, seed, tmp); err != nil {
		return err
	}
	err = os.Remove(dir) // empty, if it is there
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return fmt.Errorf("giving %s the images: %w", node, err)
	}
	return nil
}
