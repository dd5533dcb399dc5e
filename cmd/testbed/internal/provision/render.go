// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/bundle"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/cluster"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

type object = map[string]any

// ansibleInventory returns Ansible's inventory of the cluster: groups by what nodes do, and as variables all that the roles want to
// know. The roles find everything else by these names.
func ansibleInventory(inv *inventory.Inventory, stateDir, kubeDir string) object {
	hosts := object{}
	groups := object{}
	for g, in := range ansibleGroups(inv) {
		members := object{}
		for _, n := range inv.Nodes {
			if in(n) {
				members[n.Name] = nil
			}
		}
		groups[g] = object{"hosts": members}
	}
	// Templates that look into Ansible's hostvars take ten times as long.
	var nodes, workers []object
	for _, n := range inv.Nodes {
		vars := object{"ansible_host": n.Address.String(), "address": n.Address.String()}
		if n.Pods.IsValid() {
			vars["pods"] = n.Pods.String()
		}
		if n.Cluster != "" {
			maps.Copy(vars, controlPlane(inv.ClusterOf(n), stateDir))
		}
		hosts[n.Name] = vars
		nodes = append(nodes, object{"name": n.Name, "address": n.Address.String()})
		if n.In(inventory.Worker) {
			workers = append(workers, object{
				"name": n.Name, "address": n.Address.String(), "pods": n.Pods.String(),
				"control_address": inv.ClusterOf(n).ControlPlane().Address.String(),
			})
		}
	}
	vars := object{
		"ansible_user": inv.SSH.User,
		"ansible_port": inv.SSH.Port,

		"cluster":       inv.Cluster,
		"substrate":     inv.Substrate,
		"zone":          inv.Zone,
		"heartbeat":     inv.Kubernetes.Heartbeat,
		"nodes_network": inv.Network.Nodes.String(),
		"pause_image":   bundle.PauseRef,
		"kube_dir":      kubeDir,

		"nodes":   nodes,
		"workers": workers,
	}
	// Of several clusters, clients that belong to none take their clock from the first.
	maps.Copy(vars, controlPlane(inv.Clusters()[0], stateDir))
	return object{"all": object{"hosts": hosts, "children": groups, "vars": vars}}
}

// ansibleGroups returns who is in the groups that the playbook names: of control nodes the roles count.
func ansibleGroups(inv *inventory.Inventory) map[string]func(inventory.Node) bool {
	return map[string]func(inventory.Node) bool{
		"board":      func(inventory.Node) bool { return inv.Substrate != "twin" },
		"control":    func(n inventory.Node) bool { return n.Runs(inventory.RoleControlPlane) },
		"prometheus": func(n inventory.Node) bool { return n.Runs(inventory.RolePrometheus) },
		"worker":     func(n inventory.Node) bool { return n.In(inventory.Worker) },
		"client":     func(n inventory.Node) bool { return n.In(inventory.Client) },
	}
}

// controlPlane returns the variables that say which control plane a node has.
func controlPlane(member *inventory.Inventory, stateDir string) object {
	return object{
		"services":        member.Network.Services.String(),
		"api_address":     member.API().String(),
		"control_address": member.ControlPlane().Address.String(),
		"pki_dir":         pkiDir(stateDir, member),
	}
}

// configuration returns Ansible's settings. Host keys are those of the cluster's own file, and no other is taken.
func configuration(stateDir, repo string) string {
	return fmt.Sprintf(`# SPDX-License-Identifier: Apache-2.0
# Rendered by testbed up.
[defaults]
roles_path = %[1]s/roles
callback_plugins = %[1]s/plugins/callback
stdout_callback = testbed_events
interpreter_python = /usr/bin/python3
gathering = explicit
host_key_checking = True
private_key_file = %[2]s/id_ed25519
retry_files_enabled = False
forks = 8
timeout = 15

[ssh_connection]
pipelining = True
ssh_args = -F none -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=%[2]s/known_hosts -o GlobalKnownHostsFile=/dev/null -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=5 -o ServerAliveCountMax=3
`, filepath.Join(repo, "ansible"), filepath.Join(stateDir, "ssh"))
}

// render writes both into the cluster's state, and returns their paths.
func render(c *cluster.Cluster, repo, kubeDir string) (inventoryFile, configFile string, err error) {
	dir := filepath.Join(c.StateDir, "ansible")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", fmt.Errorf("rendering Ansible's inventory: %w", err)
	}
	text, err := yaml.Marshal(ansibleInventory(c.Inventory, c.StateDir, kubeDir))
	if err != nil {
		return "", "", fmt.Errorf("rendering Ansible's inventory: %w", err)
	}
	inventoryFile, configFile = filepath.Join(dir, "inventory.yaml"), filepath.Join(dir, "ansible.cfg")
	if err := os.WriteFile(inventoryFile, text, 0o644); err != nil {
		return "", "", fmt.Errorf("rendering Ansible's inventory: %w", err)
	}
	if err := os.WriteFile(configFile, []byte(configuration(c.StateDir, repo)), 0o644); err != nil {
		return "", "", fmt.Errorf("rendering Ansible's configuration: %w", err)
	}
	return inventoryFile, configFile, nil
}
