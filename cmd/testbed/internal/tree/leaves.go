// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"strings"
)

// TapDir is where servers write what they were asked, on their nodes: a file each, named after the server's level.
const TapDir = "/run/testbed/tap"

// Leaves returns an overlay of deploy/dnsingress, two directories up, by file name: dnsingress on the workers serves the
// leaves' zones of all trees, and writes every question down. Its NS sets are those that their parents refer to.
func (p *Plan) Leaves() map[string]string {
	var b strings.Builder
	b.WriteString("zones:\n")
	for _, t := range p.Trees {
		fmt.Fprintf(&b, "  - origin: %s\n    infrastructureTTL: %s\n    nameservers:\n", t.LeafZone(), p.TTL)
		for _, s := range p.LeafServers(t.LeafZone()) {
			fmt.Fprintf(&b, "      - {name: %s, addresses: [\"%s\"]}\n", s.Name, s.Address)
		}
	}
	fmt.Fprintf(&b, "dns: {dnstap: {to: \"file:%s/%s\"}}\nlameDuck: 0s\n", TapDir, Leaf)
	fmt.Fprintf(&b, "prometheus: {urls: [\"http://[%s]:9090\"]}\n", p.Inventory.Prometheus().Address)
	return map[string]string{"config.yaml": b.String(), "kustomization.yaml": leavesOverlay}
}

const leavesOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: dnsingress
resources: [../../dnsingress]
configMapGenerator:
  - {name: dnsingress, behavior: replace, files: [config.yaml]}
patches:
  - target: {kind: DaemonSet, name: dnsingress}
    patch: |-
      - op: add
        path: /spec/template/spec/volumes/-
        value: {name: tap, hostPath: {path: ` + TapDir + `, type: DirectoryOrCreate}}
      - op: add
        path: /spec/template/spec/containers/0/volumeMounts/-
        value: {name: tap, mountPath: ` + TapDir + `}
`

// Units returns what the control node needs to run the servers above the leaves, by path, and the units' names. program is
// dnsingress on the control node.
func (p *Plan) Units(program string) (files map[string]string, units []string) {
	files = map[string]string{}
	control := p.Inventory.ControlPlane().Address
	for _, s := range p.Servers() {
		dir := "/etc/testbed/tree/" + s.Level
		args := []string{program, "serve", "--listen", fmt.Sprintf("[%s]:53", s.Address), "--dnstap", "file:" + TapDir + "/" + s.Level}
		for zone, text := range s.Zones {
			name := strings.TrimSuffix(zone, ".")
			if zone == "." {
				name = "root"
			}
			file := fmt.Sprintf("%s/%s.zone", dir, name)
			files[file] = text
			args = append(args, "--zone-file", file)
		}
		unit := "testbed-dns-" + s.Level + ".service"
		files["/etc/systemd/system/"+unit] = fmt.Sprintf(serverUnit, s.Level, TapDir, control, s.Address, strings.Join(args, " "))
		units = append(units, unit)
	}
	return files, units
}

// serverUnit gives the node the server's address on the link that has its own.
const serverUnit = `[Unit]
Description=Name server of the level %[1]s of the delegation trees

[Service]
Type=notify
ExecStartPre=/bin/sh -c 'mkdir -p %[2]s; set -- $(ip -o -6 address show to %[3]s); ip -6 address replace %[4]s/64 dev "$2" nodad'
ExecStart=%[5]s
ExecStopPost=/bin/sh -c 'set -- $(ip -o -6 address show to %[4]s); [ -z "$2" ] || ip -6 address delete %[4]s/64 dev "$2"'
`
