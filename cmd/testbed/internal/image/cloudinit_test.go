// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/imagetest"
)

// TestCloudInit has cloud-init itself, Debian's, do a first boot with what an image has on its boot partition (make image-cloud-init).
// It needs root, the twin's base system and Debian's mirror.
func TestCloudInit(t *testing.T) {
	base := os.Getenv("TEST_CLOUD_INIT")
	if base == "" {
		t.Skip("SKIPPED: opt in with make image-cloud-init")
	}
	imagetest.Need(t, "unshare", "mtools")
	src := imagetest.System{CloudInit: true}.Disk(t, t.TempDir())
	i, path := build(t, recipe(t, src), "worker-1")
	dir := t.TempDir()
	script, err := filepath.Abs("testdata/cloudinit.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", script, base, path, fmt.Sprint(i.Layout.Boot.Start), "00:00:5e:00:53:11")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	upper := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, "upper", name))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	var result struct {
		V1 struct {
			Datasource string
			Errors     []string
		}
	}
	if err := json.Unmarshal([]byte(upper("tmp/result.json")), &result); err != nil || len(result.V1.Errors) > 0 || !strings.Contains(result.V1.Datasource, "NoCloud") {
		t.Errorf("result: %+v, %v\n%s", result, err, out)
	}
	key, err := hostKey("worker-1")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"tmp/hostname":                     "worker-1\n",
		"etc/hostname":                     "worker-1\n",
		"etc/testbed/image":                i.ID + "\n",
		"etc/ssh/testbed_host_ed25519_key": string(key),
		"var/lib/cloud/data/instance-id":   i.ID + "\n",
		"boot/firmware/user-data":          "#cloud-config\n", // the key is no longer there
	} {
		if got := upper(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := upper("root/.ssh/authorized_keys"); !strings.Contains(got, strings.TrimSpace(authorized)) || strings.Contains(got, "command=") {
		t.Errorf("root's authorized_keys: %q", got)
	}
	if got := upper("tmp/netplan"); !strings.Contains(got, "fd6e:7369:0:1::11/64") || !strings.Contains(got, "00:00:5e:00:53:11") {
		t.Errorf("netplan: %q", got)
	}
	if got := upper("tmp/systemctl"); !strings.Contains(got, "enable ssh.service") || !strings.Contains(got, "restart ssh.service") {
		t.Errorf("systemctl was asked: %q", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "upper/etc/ssh/testbed_host_ed25519_key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the host key: %v, %v", info, err)
	}
	t.Logf("%s", out)
}
