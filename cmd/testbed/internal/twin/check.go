// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Disk space that is needed, by experience: a base has 1 GB while it is built, the images of all workers
// take 1 GB in containerd, and a node writes 50 MB as it is raised.
const (
	baseSpace  = 2 << 30
	imageSpace = 2 << 30
	nodeSpace  = 1 << 28
)

// Check returns all that keeps this machine from carrying the twin, before anything is made.
func (t *Twin) Check(b BaseBuild) error {
	if os.Geteuid() != 0 {
		return errors.New("a twin needs root: it makes namespaces, mounts and cgroups (hint: sudo)")
	}
	state, standing, err := t.state.read()
	if err != nil {
		return err
	}
	errs := []error{t.checkOld(b, state, standing), checkOverlay(), checkUpper(t.dir), checkNetwork(), checkPidfd()}
	if _, err := hierarchies(); err != nil {
		errs = append(errs, err)
	}
	programs := [][2]string{
		{"systemd-nspawn", "systemd-container"}, {"unshare", "util-linux"}, {"nsenter", "util-linux"}, {"mount", "mount"},
	}
	space := map[string]uint64{}
	if !standing { // else the nodes have most of theirs
		space[t.dir] = imageSpace + uint64(len(t.inv.Nodes))*nodeSpace
	}
	if !b.Cached() {
		programs = append(programs, [2]string{"debootstrap", "debootstrap"}, [2]string{"systemctl", "systemd"}, [2]string{"chroot", "coreutils"})
		space[b.Cache] = baseSpace
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p[0]); err != nil {
			errs = append(errs, fmt.Errorf("program %s is missing (hint: apt-get install %s)", p[0], p[1]))
		}
	}
	for dir, need := range space {
		errs = append(errs, checkSpace(dir, need))
	}
	return errors.Join(errs...)
}

// checkOld refuses to build on a twin that is another one, or on the ruins of one.
func (t *Twin) checkOld(b BaseBuild, state State, standing bool) error {
	const hint = "(hint: 'testbed down' removes it)"
	if standing {
		switch {
		case state.Digest != t.digest():
			return fmt.Errorf("an old twin %q stands, made from another inventory or another version of %s %s", t.inv.Cluster, state.Inventory, hint)
		case state.Base != b.Path():
			return fmt.Errorf("an old twin %q stands on another base system %s", t.inv.Cluster, hint)
		}
		return nil // ours: go on with it
	}
	left, err := t.Leftovers()
	if err != nil {
		return err
	}
	if i := indexNot(left, "state directory"); i >= 0 {
		return fmt.Errorf("an old twin %q has left things behind, %s among them %s", t.inv.Cluster, left[i], hint)
	}
	return nil
}

func indexNot(lines []string, prefix string) int {
	for i, l := range lines {
		if !strings.HasPrefix(l, prefix) {
			return i
		}
	}
	return -1
}

func checkOverlay() error {
	f, err := os.Open("/proc/filesystems")
	if err != nil {
		return fmt.Errorf("asking the kernel for its file systems: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasSuffix(s.Text(), "\toverlay") {
			return nil
		}
	}
	return errors.New("the kernel has no overlay file system (hint: modprobe overlay, or a kernel with CONFIG_OVERLAY_FS)")
}

// checkUpper tells where an overlay could have no upper layer: on another overlay, as a container's root is.
func checkUpper(dir string) error {
	at, st, err := statfs(dir)
	if err != nil {
		return err
	}
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("%s is on an overlay file system, which cannot carry the nodes' (hint: TESTBED_STATE_DIR on a file system such as ext4 or tmpfs)", at)
	}
	return nil
}

// statfs asks for the file system that a directory is on, or will be once it is made.
func statfs(dir string) (at string, st unix.Statfs_t, err error) {
	for at = dir; ; at = filepath.Dir(at) {
		err = unix.Statfs(at, &st)
		if errors.Is(err, unix.ENOENT) && at != filepath.Dir(at) {
			continue
		}
		if err != nil {
			err = fmt.Errorf("asking for the file system of %s: %w", at, err)
		}
		return at, st, err
	}
}

// checkNetwork tries what the twin's network is made of, in a namespace that goes with its thread.
func checkNetwork() error {
	failed := make(chan error, 1)
	onThread(func() {
		failed <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("making a network namespace: %w (hint: CONFIG_NET_NS, and all capabilities of root)", err)
			}
			br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
			br.Name = "br0"
			if err := netlink.LinkAdd(br); err != nil {
				return fmt.Errorf("making a bridge: %w (hint: modprobe bridge, or a kernel with CONFIG_BRIDGE)", err)
			}
			veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "v1"}
			veth.Name = "v0"
			if err := netlink.LinkAdd(veth); err != nil {
				return fmt.Errorf("making a pair of veth links: %w (hint: modprobe veth, or a kernel with CONFIG_VETH)", err)
			}
			if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
				return errors.New("the kernel has no IPv6 (hint: boot without ipv6.disable=1)")
			}
			return nil
		}()
	})
	return <-failed
}

func checkPidfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("opening a process handle: %w (hint: the kernel must be 5.3 or later)", err)
	}
	return unix.Close(fd)
}

func checkSpace(dir string, need uint64) error {
	at, st, err := statfs(dir)
	if err != nil {
		return err
	}
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return fmt.Errorf("%s has %.1f GB free, %.0f GB are needed (hint: TESTBED_STATE_DIR and TESTBED_CACHE_DIR may be elsewhere)",
			at, float64(free)/(1<<30), float64(need)/(1<<30))
	}
	return nil
}
