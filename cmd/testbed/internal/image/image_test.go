// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/ssh"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/imagetest"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// hostKeys are the nodes' keys, made when first asked for.
var hostKeys sync.Map

func hostKey(node string) ([]byte, error) {
	if key, ok := hostKeys.Load(node); ok {
		return key.([]byte), nil
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, node)
	if err != nil {
		return nil, err
	}
	key, _ := hostKeys.LoadOrStore(node, pem.EncodeToMemory(block))
	return key.([]byte), nil
}

const authorized = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk operator\n"

// recipe returns a recipe for a system's image at path, and the inventory's text can be changed before.
func recipe(t *testing.T, path string, change ...string) *image.Recipe {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`version: 1
cluster: rack
substrate: pi
network: {nodes: "fd6e:7369:0:1::/64", services: "fd6e:7369:0:f::/112"}
zone: apps.test.
image: os
images:
  - id: os
    url: %s
    sha256: %x
    config: [kernel=kernel8.img, dtoverlay=disable-bt]
    cmdline: [psi=1]
    eeprom: {BOOT_ORDER: "0xf21", NETCONSOLE: "0"}
nodes:
  - {name: control-1, groups: [control], mac: 00:00:5e:00:53:01, address: "fd6e:7369:0:1::1"}
  - {name: worker-1, groups: [worker], mac: 00:00:5e:00:53:11, address: "fd6e:7369:0:1::11", pods: "fd6e:7369:0:11::/64"}
  - {name: client-1, groups: [client], address: "fd6e:7369:0:1::21"}
`, filepath.Base(path), sha256.Sum256(content))
	text = strings.NewReplacer(change...).Replace(text)
	file := filepath.Join(filepath.Dir(path), "inventory.yaml")
	inv, err := inventory.Parse(file, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r := &image.Recipe{Inventory: inv, Cache: t.TempDir(), HostKey: hostKey, Authorized: []byte("# who may\n" + authorized)}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func node(t *testing.T, r *image.Recipe, name string) inventory.Node {
	n, ok := r.Inventory.Node(name)
	if !ok {
		t.Fatalf("no node %s", name)
	}
	return n
}

// build writes a node's image as a file.
func build(t *testing.T, r *image.Recipe, name string) (*image.Image, string) {
	t.Helper()
	i, err := r.Image(t.Context(), node(t, r, name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name+".img")
	sum, err := i.WriteFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := i.Sum(t.Context()); err != nil || sum != sha256.Sum256(content) || again != sum || int64(len(content)) != i.Size() {
		t.Errorf("hashes: written %x, read %x, composed %x (%v)", sum, sha256.Sum256(content), again, err)
	}
	return i, path
}

// boot returns what mtools reads from an image's boot partition, after fsck.fat has found nothing.
func boot(t *testing.T, i *image.Image, path string) map[string][]byte {
	t.Helper()
	p := i.Layout.Boot
	disk, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	content, err := io.ReadAll(io.NewSectionReader(disk, p.Start, p.Size))
	if err != nil {
		t.Fatal(err)
	}
	fat := filepath.Join(t.TempDir(), "fat")
	if err := os.WriteFile(fat, content, 0o644); err != nil {
		t.Fatal(err)
	}
	imagetest.Run(t, "", "fsck.fat", "-n", fat)
	files, dir := map[string][]byte{}, imagetest.ExtractAll(t, fat)
	err = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			name, _ := filepath.Rel(dir, path)
			files[name], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// outside returns the parts of two images that lie outside of the boot partition.
func sameOutside(t *testing.T, i *image.Image, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	p := i.Layout.Boot
	if len(x) != len(y) || !bytes.Equal(x[:p.Start], y[:p.Start]) || !bytes.Equal(x[p.Start+p.Size:], y[p.Start+p.Size:]) {
		t.Error("something changed outside of the boot partition")
	}
}

type userData struct {
	Hostname    string
	SSHPwauth   *bool `yaml:"ssh_pwauth"`
	DisableRoot *bool `yaml:"disable_root"`
	Users       []struct {
		Name       string
		Authorized []string `yaml:"ssh_authorized_keys"`
	}
	WriteFiles []struct{ Path, Permissions, Owner, Content string } `yaml:"write_files"`
	RunCmd     [][]string
}

func TestRaspberryPiOS(t *testing.T) {
	src := imagetest.System{CloudInit: true}.Disk(t, t.TempDir())
	r := recipe(t, src)
	i, path := build(t, r, "worker-1")
	if l := i.Layout; !l.Board || l.Init != image.InitCloud || l.System != "debian 12" || l.Arch != "arm64" || l.Table != "mbr" || l.Boot.Number != 1 || l.Root.Number != 2 {
		t.Errorf("layout %+v", l)
	}
	sameOutside(t, i, src, path)
	files := boot(t, i, path)

	var user userData
	if err := yaml.Unmarshal(files["user-data"], &user); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(files["user-data"], []byte("#cloud-config\n")) || user.Hostname != "worker-1" || user.SSHPwauth == nil || *user.SSHPwauth || user.DisableRoot == nil || *user.DisableRoot {
		t.Errorf("user-data:\n%s", files["user-data"])
	}
	if len(user.Users) != 1 || user.Users[0].Name != "root" || user.Users[0].Authorized[0]+"\n" != authorized {
		t.Errorf("users: %+v", user.Users)
	}
	written := map[string]string{}
	for _, f := range user.WriteFiles {
		written[f.Path+" "+f.Permissions+" "+f.Owner] = f.Content
	}
	key, err := hostKey("worker-1")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/etc/testbed/image 0644 root:root":                i.ID + "\n",
		"/etc/ssh/testbed_host_ed25519_key 0600 root:root": string(key),
	} {
		if written[name] != want {
			t.Errorf("%s: %q, want %q", name, written[name], want)
		}
	}
	if got := written["/etc/testbed/eeprom.conf 0644 root:root"]; !strings.Contains(got, "BOOT_ORDER=0xf21\n") || !strings.Contains(got, "TFTP_PREFIX=2\n") || !strings.Contains(got, "NETCONSOLE=0\n") {
		t.Errorf("EEPROM: %q", got)
	}
	if d := cmp.Diff([][]string{{"sh", "/etc/testbed/setup", "cloud-init"}}, user.RunCmd); d != "" {
		t.Errorf("runcmd: %s", d)
	}
	want := "version: 2\nethernets:\n  eth0:\n    match:\n      macaddress: 00:00:5e:00:53:11\n    set-name: eth0\n    dhcp4: false\n    dhcp6: false\n    addresses:\n      - fd6e:7369:0:1::11/64\n"
	if got := string(files["network-config"]); got != want {
		t.Errorf("network-config: %s", cmp.Diff(want, got))
	}
	if got, want := string(files["meta-data"]), fmt.Sprintf("instance-id: %s\nlocal-hostname: worker-1\n", i.ID); strings.ReplaceAll(got, `"`, "") != want {
		t.Errorf("meta-data %q, want %q", got, want)
	}
	cmdline := strings.TrimSuffix(string(imagetest.Boot["cmdline.txt"]), "\n") + " cgroup_enable=memory psi=1 ds=nocloud;i=" + i.ID + "\n"
	if got := string(files["cmdline.txt"]); got != cmdline {
		t.Errorf("cmdline.txt: %s", cmp.Diff(cmdline, got))
	}
	config := string(imagetest.Boot["config.txt"]) + "\n[all]\n# testbed image build\nkernel=kernel8.img\ndtoverlay=disable-bt\n"
	if got := string(files["config.txt"]); got != config {
		t.Errorf("config.txt: %s", cmp.Diff(config, got))
	}
	for _, name := range []string{"kernel_2712.img", "issue.txt"} {
		if !bytes.Equal(files[name], imagetest.Boot[name]) {
			t.Errorf("%s is another", name)
		}
	}
	if !bytes.Equal(files["overlays/disable-wifi-pi5.dtbo"], imagetest.Overlay) {
		t.Error("the overlay is another")
	}
	if _, there := files["firstrun.sh"]; there {
		t.Error("two first boots")
	}
	fsys, err := i.Boot()
	if err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Open("KERNEL_2712.img")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, imagetest.Boot["kernel_2712.img"]) {
		t.Errorf("the kernel for the network: %d bytes, %v", len(b), err)
	}
}

// Before cloud-init, Raspberry Pi OS runs a script.
func TestFirstrun(t *testing.T) {
	src := imagetest.System{}.Disk(t, t.TempDir())
	i, path := build(t, recipe(t, src), "worker-1")
	if i.Layout.Init != image.InitFirstrun {
		t.Errorf("init %q", i.Layout.Init)
	}
	sameOutside(t, i, src, path)
	files := boot(t, i, path)
	line := "console=serial0,115200 console=tty1 root=PARTUUID=5ce7a1b0-02 rootfstype=ext4 fsck.repair=yes rootwait quiet cgroup_enable=memory psi=1 ds=nocloud;i=" + i.ID +
		" systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target\n"
	if got := string(files["cmdline.txt"]); got != line {
		t.Errorf("cmdline.txt: %s", cmp.Diff(line, got))
	}

	// The script's first part, which puts files in place, is run, below another root.
	root := t.TempDir()
	script := string(files["firstrun.sh"])
	head, _, ok := strings.Cut(script, "\nhostname ")
	if !ok {
		t.Fatalf("the script:\n%s", script)
	}
	head = strings.ReplaceAll(head, "\nput /", "\nput "+root+"/")
	head = strings.ReplaceAll(head, "exec >/boot/firmware/testbed-firstrun.log 2>&1", "set -e")
	imagetest.Run(t, head, "sh")
	key, err := hostKey("worker-1")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		mode    os.FileMode
		content string
	}{
		"etc/hostname":                                               {0o644, "worker-1\n"},
		"etc/testbed/image":                                          {0o644, i.ID + "\n"},
		"etc/ssh/testbed_host_ed25519_key":                           {0o600, string(key)},
		"root/.ssh/authorized_keys":                                  {0o600, authorized},
		"etc/ssh/sshd_config.d/00-testbed.conf":                      {0o644, "# Written by testbed image build.\nHostKey /etc/ssh/testbed_host_ed25519_key\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"},
		"etc/NetworkManager/system-connections/testbed.nmconnection": {0o600, "[connection]\nid=testbed\ntype=ethernet\nautoconnect-priority=100\n\n[ethernet]\nmac-address=00:00:5E:00:53:11\n\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=manual\naddress1=fd6e:7369:0:1::11/64\n"},
	} {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			continue
		}
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil || info.Mode().Perm() != want.mode || string(got) != want.content {
			t.Errorf("%s: %v, %v, %s", name, info.Mode(), err, cmp.Diff(want.content, string(got)))
		}
	}
	imagetest.Run(t, "", "sh", "-n", filepath.Join(root, "etc/testbed/setup"))
}

// A Debian cloud image has no board's files: cloud-init finds the EFI system partition by its label.
func TestDebian(t *testing.T) {
	src := imagetest.System{GPT: true, CloudInit: true}.Disk(t, t.TempDir())
	i, path := build(t, recipe(t, src), "client-1")
	if l := i.Layout; l.Board || l.Table != "gpt" || l.Boot.Number != 3 || l.Root.Number != 1 {
		t.Errorf("layout %+v", l)
	}
	sameOutside(t, i, src, path)
	files := boot(t, i, path)
	var names []string
	for name := range files {
		names = append(names, name)
	}
	if len(names) != 4 || !bytes.Equal(files["EFI/BOOT/BOOTAA64.EFI"], imagetest.Overlay) {
		t.Errorf("files: %q", names)
	}
	if !strings.Contains(string(files["network-config"]), "name: e*") {
		t.Errorf("network-config of a node whose MAC nobody knows: %s", files["network-config"])
	}
	if out := imagetest.Run(t, "", "mtools", "-c", "mlabel", "-i", fmt.Sprintf("%s@@%d", path, i.Layout.Boot.Start), "-s", "::"); !strings.Contains(out, "CIDATA") {
		t.Errorf("label: %s", out)
	}
	imagetest.Run(t, "", "sfdisk", "-q", "--verify", path)
	if strings.Contains(string(files["user-data"]), "BOOT_ORDER") {
		t.Error("a machine that is no board gets an EEPROM")
	}
}

// The same inputs give the same bytes, other inputs another id; both whichever way the system is packed.
func TestReproducible(t *testing.T) {
	dir := t.TempDir()
	src := imagetest.System{CloudInit: true}.Disk(t, dir)
	raw, rawPath := build(t, recipe(t, src), "worker-1")
	for _, tool := range []string{"xz", "gzip", "zstd"} {
		imagetest.Need(t, tool)
		args := []string{"-q", "-k", "-f", "-1", src}
		imagetest.Run(t, "", tool, args...)
	}
	want, err := os.ReadFile(rawPath)
	if err != nil {
		t.Fatal(err)
	}
	_, again := build(t, recipe(t, src), "worker-1")
	if got, err := os.ReadFile(again); err != nil || !bytes.Equal(got, want) {
		t.Errorf("built again, from another cache, it is another image (%v)", err)
	}
	ids := map[string]string{}
	for _, ext := range []string{".xz", ".gz", ".zst"} {
		r := recipe(t, src+ext)
		i, path := build(t, r, "worker-1")
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Ids differ, because the pinned hashes do; but for them all is the same.
		if !bytes.Equal(bytes.ReplaceAll(got, []byte(i.ID), []byte(raw.ID)), want) {
			t.Errorf("%s: another image", ext)
		}
		ids[i.ID] = ext
	}
	if len(ids) != 3 {
		t.Errorf("ids: %v", ids)
	}
	one := map[string]string{raw.ID: "as it is"}
	for what, change := range map[string][]string{
		"another MAC":     {"53:11", "53:12"},
		"another address": {"::11\"", "::12\""},
		"config.txt":      {"disable-bt", "disable-wifi"},
		"kernel":          {"psi=1", "psi=0"},
		"EEPROM":          {"NETCONSOLE", "NET_CONSOLE"},
	} {
		r := recipe(t, src, change...)
		id, err := r.ID(t.Context(), node(t, r, "worker-1"))
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := one[id]; taken {
			t.Errorf("%s and %s have one id", what, other)
		}
		one[id] = what
	}
}
