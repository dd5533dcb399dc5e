// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/pki"
)

// board is one arm64 machine that is everything: all roles are applied to it.
const board = `version: 1
cluster: arm64
substrate: pi
network: {nodes: "fd6e:7369:8:1::/64", services: "fd6e:7369:8:f::/112"}
zone: apps.test.
nodes:
  - {name: board-1, groups: [control, worker, client], address: "fd6e:7369:8:1::1", pods: "fd6e:7369:8:2::/64"}
`

// TestRolesOnArm64 applies the roles, as they are, to an arm64 Debian over SSH, twice. Its programs run by QEMU's user
// emulation in a chroot, so that no systemd runs: units are enabled and not started. Then the programs that the roles have
// configured are asked about their configuration. It takes a quarter of an hour: make ansible-arm64.
func TestRolesOnArm64(t *testing.T) {
	if os.Getenv("TESTBED_ARM64") == "" {
		t.Skip("SKIPPED: it takes long (hint: make ansible-arm64)")
	}
	if os.Geteuid() != 0 {
		t.Fatal("making an arm64 Debian needs root")
	}
	cache, err := cluster.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	m := newEmulated(t, filepath.Join(cache, "arm64"))
	store, err := bundle.Open(cache, "../../../..")
	if err != nil {
		t.Fatal(err)
	}
	store.Arch = "arm64"
	kube, err := store.Get(t.Context(), &bundle.Kubernetes{})
	if err != nil {
		t.Fatal(err)
	}

	state := t.TempDir()
	inv, err := inventory.Parse("board.yaml", []byte(board))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Ensure(pkiDir(state, inv), inv, time.Now()); err != nil {
		t.Fatal(err)
	}
	port := m.listen(t, filepath.Join(state, "ssh"))
	rendered := ansibleInventory(inv, state, kube.Path)
	all := rendered["all"].(object)
	maps.Copy(all["vars"].(object), object{"ansible_port": port})
	maps.Copy(all["hosts"].(object)["board-1"].(object), object{"ansible_host": "::1"})
	text, err := yaml.Marshal(rendered)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := filepath.Abs("../../../..")
	err = errors.Join(err,
		os.WriteFile(filepath.Join(state, "inventory.yaml"), text, 0o644),
		os.WriteFile(filepath.Join(state, "ansible.cfg"), []byte(configuration(state, repo)), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	for round := 1; round <= 2; round++ {
		begin := time.Now()
		changed := play(t, state, repo)
		t.Logf("round %d: %d tasks changed something, %.0f s", round, len(changed), time.Since(begin).Seconds())
		if round == 1 && len(changed) < 8 || round == 2 && len(changed) > 0 {
			t.Errorf("round %d changed %q", round, changed)
		}
	}
	for _, line := range []string{
		"uname -m; dpkg --print-architecture",
		"systemctl is-enabled ssh chrony systemd-sysctl testbed-network testbed-quiet testbed-access containerd etcd kube-apiserver kube-controller-manager kube-scheduler kubelet unbound prometheus pod-targets",
		"systemd-analyze verify /etc/systemd/system/testbed-*.service /etc/systemd/system/kube*.service /etc/systemd/system/etcd.service /etc/systemd/system/prometheus.service 2>&1",
		"chronyd -v; chronyd -p -f /etc/chrony/chrony.conf",
		"unbound -V | head -1; /usr/libexec/unbound-helper root_trust_anchor_update; unbound-checkconf", // as its unit does before it starts
		"prometheus --version | head -1; promtool check config /etc/prometheus/prometheus.yml",
		"containerd --version; containerd config dump | grep sandbox_image",
		"runc --version | head -1; named -v; pdns_recursor --version 2>&1 | head -1; kresd --version; nft --version; ip -V",
		"CNI_COMMAND=VERSION /usr/lib/cni/ptp </dev/null",
		"cd /opt/testbed/kube && ./etcd --version | head -1 && ./kube-apiserver --version && ./kubelet --version && kubectl version --client | head -1",
	} {
		out, err := m.run(t.Context(), line)
		if err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
			continue
		}
		t.Logf("%s\n%s", line, out)
	}
}

// play applies the playbook and returns the tasks that changed something.
func play(t *testing.T, state, repo string) []string {
	t.Helper()
	sockets, err := os.MkdirTemp("", "arm64-") // a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(sockets)
	cmd := exec.CommandContext(t.Context(), program(t, "ansible-playbook", "ansible-core"), "-i", filepath.Join(state, "inventory.yaml"), filepath.Join(repo, "ansible/site.yml"))
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG="+filepath.Join(state, "ansible.cfg"), "ANSIBLE_HOME="+state,
		"ANSIBLE_SSH_CONTROL_PATH_DIR="+sockets, "ANSIBLE_TIMEOUT=120", "LC_ALL=C.UTF-8")
	cmd.WaitDelay = 5 * time.Second // an SSH master may hold the pipes
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	f := &follower{out: t.Output(), log: slog.New(slog.DiscardHandler)}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if err := errors.Join(f.follow(bytes.NewReader(out)), f.err(), err); err != nil {
		t.Fatalf("%v\n%s", err, &complaint)
	}
	var changed []string
	for line := range strings.Lines(string(out)) {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && e.Event == "result" && e.Status == "changed" {
			changed = append(changed, e.Role+": "+e.Task)
		}
	}
	return changed
}
