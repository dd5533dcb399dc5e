// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// kubeconfig writes the file by which the identity is a client of the API server. Certificates are inside, so that one
// file is all that has to be carried to a node; the context has a name of its own, so that one KUBECONFIG can hold those of
// several clusters.
func (d *directory) kubeconfig(name, context, server string) error {
	var data [3][]byte
	for i, file := range []string{"ca.crt", name + ".crt", name + ".key"} {
		var err error
		if data[i], err = os.ReadFile(filepath.Join(d.path, file)); err != nil {
			return fmt.Errorf("writing the kubeconfig of %s: %w", name, err)
		}
	}
	type object = map[string]any
	user := name + "@" + context
	text, err := yaml.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": context,
		"clusters": []object{{"name": context, "cluster": object{"server": server, "certificate-authority-data": data[0]}}},
		"users":    []object{{"name": user, "user": object{"client-certificate-data": data[1], "client-key-data": data[2]}}},
		"contexts": []object{{"name": context, "context": object{"cluster": context, "user": user}}},
	})
	if err != nil {
		return fmt.Errorf("writing the kubeconfig of %s: %w", name, err)
	}
	return d.write(name+".kubeconfig", text, 0o600)
}
