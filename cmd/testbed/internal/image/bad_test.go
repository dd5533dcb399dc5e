// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/image/imagetest"
)

// refused makes a node's image and wants one error.
func refused(t *testing.T, want, src string, change ...string) {
	t.Helper()
	r := recipe(t, src, change...)
	_, err := r.Image(t.Context(), node(t, r, "worker-1"))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant …%s…", err, want)
	}
	if left, err := filepath.Glob(filepath.Join(r.Cache, "os", "*.new")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	src := imagetest.System{CloudInit: true}.Disk(t, dir)
	content, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	other := strings.Repeat("0", 64)
	t.Run("hash", func(t *testing.T) {
		refused(t, "image os: system.img has SHA-256 "+sum+", pinned is "+other+" (hint: it is not the file that was pinned)", src, sum, other)
	})
	t.Run("nothing there", func(t *testing.T) {
		refused(t, "no such file or directory", src, "system.img", "nothing.img")
	})
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"cut short": {content[:40<<20], "(hint: the image is cut short)"},
		"no disk":   {[]byte(strings.Repeat("text\n", 1000)), "no partition table"},
		"zip":       {append([]byte("PK\x03\x04"), content...), "a zip archive or a qcow2 disk (hint: the raw image"},
		"bad xz":    {append([]byte("\xfd7zXZ\x00"), content...), "unpacking image os: "},
		"no root":   {append(content[:35<<20:35<<20], make([]byte, 9<<20)...), "no partition has an ext4 file system with /etc/os-release"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.img")
			if err := os.WriteFile(path, c.content, 0o644); err != nil {
				t.Fatal(err)
			}
			refused(t, c.want, path)
		})
	}
	t.Run("nobody reads it", func(t *testing.T) {
		bare := imagetest.System{Bare: true}.Disk(t, t.TempDir())
		refused(t, "debian 12 has neither cloud-init nor Raspberry Pi OS's script of the first boot: nothing would read what is put there (hint: ", bare)
	})
	t.Run("host key", func(t *testing.T) {
		key, err := hostKey("client-1")
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.ParsePrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
		refused(t, "the inventory pins "+ssh.FingerprintSHA256(signer.PublicKey())+" (hint: ", src, "53:11,", `53:11, hostKey: "`+public+`",`)
	})
	t.Run("packages", func(t *testing.T) {
		for _, c := range []struct{ name, content, want string }{
			{"containerd_1.6_amd64.deb", "!<arch>\nx", "package containerd_1.6_amd64.deb is not for arm64"},
			{"containerd_1.6_arm64.deb", "no archive", "is no Debian package"},
			{"containerd.deb", "!<arch>\nx", "no name of a package (hint: NAME_VERSION_ARCHITECTURE.deb)"},
			{"containerd_1.6_arm64.deb", "!<arch>\n" + strings.Repeat("x", 33<<20), "the packages need 33 MiB, the boot partition has 30 MiB free"},
			{"readme", "text", "has no .deb"},
		} {
			debs := t.TempDir()
			if err := os.WriteFile(filepath.Join(debs, c.name), []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			refused(t, c.want, src, "cmdline:", "packages: "+debs+"\n    cmdline:")
		}
	})
}

// Packages that the system does not have, or older, go to the boot partition; the others stay away.
func TestPackages(t *testing.T) {
	src := imagetest.System{CloudInit: true, Status: `Package: libc6
Status: install ok installed
Architecture: arm64
Version: 2.36-9+deb12u10

Package: systemd
Status: install ok installed
Version: 252.36-1~deb12u1+rpi1
Description: system and service manager
 Version: 1 in a description

Package: chrony
Status: deinstall ok config-files
Version: 9:9

Package: containerd
Status: install ok installed
Version: 1.6.20~ds1-1+b1
`}.Disk(t, t.TempDir())
	debs := t.TempDir()
	for _, name := range []string{
		"libc6_2.36-9+deb12u10_arm64.deb", "systemd_252.36-1~deb12u1_arm64.deb", // as new, newer: stay away
		"containerd_1.6.20~ds1-1+deb12u1_arm64.deb", "chrony_4.3-2_arm64.deb", "bind9_1%3a9.18_arm64.deb", "ca-certificates_20230311_all.deb",
	} {
		if err := os.WriteFile(filepath.Join(debs, name), append([]byte("!<arch>\n"), imagetest.Noise(100_000, uint64(len(name)))...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := recipe(t, src, "cmdline:", "packages: "+debs+"\n    cmdline:")
	i, path := build(t, r, "worker-1")
	var got []string
	for name, content := range boot(t, i, path) {
		base, ok := strings.CutPrefix(name, "testbed/packages/")
		if !ok {
			continue
		}
		got = append(got, base)
		if want, err := os.ReadFile(filepath.Join(debs, base)); err != nil || string(want) != string(content) {
			t.Errorf("%s is another (%v)", base, err)
		}
	}
	if len(got) != 4 || strings.Contains(strings.Join(got, " "), "libc6") || strings.Contains(strings.Join(got, " "), "systemd") {
		t.Errorf("packages on the boot partition: %q", got)
	}
	without := recipe(t, src)
	if id, err := without.ID(t.Context(), node(t, without, "worker-1")); err != nil || id == i.ID {
		t.Errorf("with and without packages, one id (%v)", err)
	}
}

// A fetch that was interrupted is gone on with, and what comes is checked.
func TestFetch(t *testing.T) {
	dir := t.TempDir()
	src := imagetest.System{CloudInit: true}.Disk(t, dir)
	content, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	const half = 20 << 20
	var ranges []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ranges = append(ranges, req.Header.Get("Range"))
		if len(ranges) == 1 { // the line breaks in the middle
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			_, _ = w.Write(content[:half])
			return
		}
		http.ServeFile(w, req, src)
	}))
	defer server.Close()
	r := recipe(t, src, "url: system.img", "url: "+server.URL+"/system.img")
	if _, err := r.Image(ctx, node(t, r, "worker-1")); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Fatalf("a broken line: %v", err)
	}
	i, err := r.Image(ctx, node(t, r, "worker-1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(ranges) != 2 || ranges[1] != fmt.Sprintf("bytes=%d-", half) {
		t.Errorf("asked for %q", ranges)
	}
	want := recipe(t, src)
	if id, err := want.ID(t.Context(), node(t, want, "worker-1")); err != nil || id != i.ID {
		t.Errorf("id %s, %v; from a file %s", i.ID, err, id)
	}
	if left, err := filepath.Glob(filepath.Join(r.Cache, "os", "*.download")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}

	// Another file under the same address: thrown away, and fetched anew by the next.
	forged := recipe(t, src, "url: system.img", "url: "+server.URL+"/system.img", fmt.Sprintf("%x", sha256.Sum256(content)), strings.Repeat("a", 64))
	if _, err := forged.Image(ctx, node(t, forged, "worker-1")); err == nil || !strings.Contains(err.Error(), "what was fetched is thrown away") {
		t.Errorf("a forged file: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(forged.Cache, "os", "*.img")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	cancel()
	ended := recipe(t, src)
	if _, err := ended.Image(ctx, node(t, ended, "worker-1")); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
