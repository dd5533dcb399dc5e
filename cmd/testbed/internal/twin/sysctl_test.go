// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The settings that the roles write on virtual nodes are those of the node's own network, so that nothing of this machine's moves.
func TestSysctlsAreTheNodesOwn(t *testing.T) {
	src, err := os.ReadFile("../../../../ansible/group_vars/all.yml")
	if err != nil {
		t.Fatal(err)
	}
	var vars struct {
		Sysctls map[string]any `yaml:"sysctls"`
	}
	if err := yaml.Unmarshal(src, &vars); err != nil {
		t.Fatal(err)
	}
	if len(vars.Sysctls) == 0 {
		t.Fatal("no list of sysctls")
	}
	vars.Sysctls["net.ipv6.conf.all.forwarding"] = 1 // of workers, in the role's template
	paths := map[string]string{}
	for key, value := range vars.Sysctls {
		rest, ok := strings.CutPrefix(key, "net.")
		if !ok {
			t.Errorf("%s belongs to the whole machine (hint: board_sysctls)", key)
			continue
		}
		paths[strings.ReplaceAll(rest, ".", "/")] = fmt.Sprint(value)
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("NOT RUN: network namespaces need root (hint: sudo make test)")
	}
	before := map[string]string{}
	for path, value := range paths {
		before[path] = setting(t, path)
		if n, err := strconv.Atoi(before[path]); err == nil && before[path] == value {
			paths[path] = strconv.Itoa(1 - min(n, 1)) // one that differs from this machine's
		}
	}
	name := fmt.Sprintf("sysctl%d", os.Getpid())
	t.Cleanup(func() {
		if err := removeNamespace(name); err != nil {
			t.Error(err)
		}
	})
	if err := makeNamespace(name, paths); err != nil {
		t.Fatalf("a node could not write its settings: %v", err)
	}
	for path := range paths {
		if now := setting(t, path); now != before[path] {
			t.Errorf("%s of this machine is %s now, was %s", path, now, before[path])
		}
	}
}

func setting(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc/sys/net", path))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ")
}
