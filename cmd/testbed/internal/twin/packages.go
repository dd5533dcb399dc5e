// SPDX-License-Identifier: Apache-2.0

package twin

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Packages returns the Debian packages of the nodes: the list that the Ansible roles install from, so
// that on the twin they find everything there.
func Packages(repo string) ([]string, error) {
	path := filepath.Join(repo, "ansible/group_vars/all.yml")
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the nodes' packages: %w", err)
	}
	var vars struct {
		Packages []string `yaml:"packages"`
	}
	if err := yaml.Unmarshal(src, &vars); err != nil {
		return nil, fmt.Errorf("reading the nodes' packages from %s: %w", path, err)
	}
	if len(vars.Packages) == 0 {
		return nil, fmt.Errorf("reading the nodes' packages: %s has no list %q", path, "packages")
	}
	packageName := regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]+$`)
	for _, name := range vars.Packages {
		if !packageName.MatchString(name) {
			return nil, fmt.Errorf("reading the nodes' packages: %s: %q is no name of a Debian package", path, name)
		}
	}
	return vars.Packages, nil
}
