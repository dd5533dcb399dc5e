// SPDX-License-Identifier: Apache-2.0

package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// node is a directory in which the setup script finds a board; programs that would change a machine note what they are asked.
type node struct {
	t    *testing.T
	root string
}

func newNode(t *testing.T) *node {
	n := &node{t, t.TempDir()}
	for _, name := range []string{"sfdisk", "partx", "resize2fs", "systemctl", "apt-get", "sync"} {
		n.program(name, `echo "${0##*/} $*" >>"$ROOT/asked"; [ -t 0 ] || cat >>"$ROOT/asked"`)
	}
	n.program("findmnt", "echo /dev/card2")
	n.program("lsblk", "echo card")
	n.program("dpkg-query", `case $4 in old) echo 1.0;; new) echo 3.0;; *) exit 1;; esac`)
	n.program("dpkg-deb", `f=${2##*/}; case $3 in Package) echo "${f%%_*}";; Version) f=${f#*_}; echo "${f%%_*}";; esac`)
	n.program("rpi-eeprom-config", `[ "$1" = --apply ] && { cp "$2" "$ROOT/eeprom"; exit; }; cat "$ROOT/eeprom"`)
	n.file("eeprom", "[all]\nBOOT_UART=1\nBOOT_ORDER=0xf461\n[none]\nX=1\n")
	n.file("sys/class/block/card2/partition", "2\n")
	n.file("boot/firmware/meta-data", "instance-id: x\n")
	n.file("boot/firmware/user-data", "the private key\n")
	n.file("boot/firmware/firstrun.sh", "the private key\n")
	n.file("boot/firmware/config.txt", "")
	n.file("boot/firmware/cmdline.txt", "quiet systemd.unified_cgroup_hierarchy=1 "+firstrunArgs+"\n")
	if err := os.MkdirAll(filepath.Join(n.root, "usr/sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	n.file("etc/testbed/eeprom.conf", "BOOT_ORDER=0xf12\nTFTP_PREFIX=2\n")
	return n
}

func (n *node) file(name, content string) {
	n.t.Helper()
	path := filepath.Join(n.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) program(name, body string) { n.file("bin/"+name, "#!/bin/sh\n"+body+"\n") }

func (n *node) read(name string) string {
	n.t.Helper()
	b, err := os.ReadFile(filepath.Join(n.root, name))
	if err != nil {
		n.t.Error(err)
	}
	return string(b)
}

// run runs the script with its paths below the directory.
func (n *node) run(init string) {
	n.t.Helper()
	script := string(setupScript)
	for _, dir := range []string{"/boot/", "/sys/class", "/etc/testbed", "/usr/sbin"} {
		script = strings.ReplaceAll(script, dir, n.root+dir)
	}
	cmd := exec.Command("sh", "-s", init)
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = []string{"PATH=" + n.root + "/bin:/usr/bin:/bin", "ROOT=" + n.root, "TMPDIR=" + n.t.TempDir()}
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%v\n%s", err, out)
	}
}

func TestSetup(t *testing.T) {
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("SKIPPED: no dpkg, which compares versions")
	}
	n := newNode(t)
	for _, deb := range []string{"old_2.0_arm64.deb", "new_2.0_arm64.deb", "absent_1.0_all.deb"} {
		n.file("boot/firmware/testbed/packages/"+deb, "")
	}
	n.run(InitFirstrun)
	asked := n.read("asked")
	packages := n.root + "/boot/firmware/testbed/packages/"
	for _, want := range []string{
		"sfdisk -q --no-reread --force -N 2 /dev/card\n, +\n", "partx -u -n 2 /dev/card\n", "resize2fs /dev/card2\n",
		"--no-install-recommends install " + packages + "absent_1.0_all.deb " + packages + "old_2.0_arm64.deb\n",
		"systemctl enable ssh.service\n",
	} {
		if !strings.Contains(asked, want) {
			t.Errorf("nobody was asked %q:\n%s", want, asked)
		}
	}
	if strings.Contains(asked, "restart") {
		t.Error("a service was restarted before the machine is up")
	}
	for name, want := range map[string]string{
		"eeprom":                    "[all]\nBOOT_UART=1\n[none]\nX=1\n[all]\nBOOT_ORDER=0xf12\nTFTP_PREFIX=2\n",
		"boot/firmware/user-data":   "#cloud-config\n",
		"boot/firmware/cmdline.txt": "quiet systemd.unified_cgroup_hierarchy=1\n",
		"etc/testbed/packages":      "",
	} {
		if d := cmp.Diff(want, n.read(name)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	for _, gone := range []string{"boot/firmware/firstrun.sh", "usr/sbin/policy-rc.d"} {
		if _, err := os.Stat(filepath.Join(n.root, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}

	// What is as it should be stays: the EEPROM is not written again.
	n.program("rpi-eeprom-config", `[ "$1" = --apply ] && touch "$ROOT/written-again"; cat "$ROOT/eeprom"`)
	n.run(InitCloud)
	if _, err := os.Stat(filepath.Join(n.root, "written-again")); err == nil {
		t.Error("the EEPROM was written again")
	}
	if asked := n.read("asked"); !strings.Contains(asked, "systemctl restart ssh.service\n") {
		t.Errorf("nobody restarted ssh:\n%s", asked)
	}
}
