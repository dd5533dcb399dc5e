// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Names of the files that cloud-init's NoCloud data source reads
// (https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html). The kernel's argument
// ds=nocloud;i=ID names the data source and the instance; another instance makes first boot happen again.
const (
	userDataName      = "user-data"
	metaDataName      = "meta-data"
	networkConfigName = "network-config"
)

// cloudConfig is what user-data says.
type cloudConfig struct {
	Hostname         string      `yaml:"hostname"`
	PreserveHostname bool        `yaml:"preserve_hostname"`
	Timezone         string      `yaml:"timezone"`
	Locale           string      `yaml:"locale"` // one that nobody has to generate first
	SSHPwauth        bool        `yaml:"ssh_pwauth"`
	DisableRoot      bool        `yaml:"disable_root"`
	Users            []cloudUser `yaml:"users"` // these alone: images have default users without password
	WriteFiles       []cloudFile `yaml:"write_files"`
	RunCmd           [][]string  `yaml:"runcmd"`
}

type cloudUser struct {
	Name       string   `yaml:"name"`
	LockPasswd bool     `yaml:"lock_passwd"`
	Authorized []string `yaml:"ssh_authorized_keys"`
}

type cloudFile struct {
	Path        string `yaml:"path"`
	Owner       string `yaml:"owner"`
	Permissions string `yaml:"permissions"`
	Content     string `yaml:"content"`
}

// userData renders user-data.
func (s settings) userData(id string) ([]byte, error) {
	files, err := s.files(id)
	if err != nil {
		return nil, err
	}
	c := cloudConfig{
		Hostname: s.hostname, Timezone: "UTC", Locale: "C.UTF-8",
		Users:  []cloudUser{{Name: "root", LockPasswd: true, Authorized: lines(s.authorized)}},
		RunCmd: [][]string{{"sh", setupPath, "cloud-init"}},
	}
	for _, f := range files {
		c.WriteFiles = append(c.WriteFiles, cloudFile{f.path, "root:root", fmt.Sprintf("%04o", f.mode), string(f.content)})
	}
	return encode("#cloud-config\n", c)
}

// metaData renders meta-data.
func (s settings) metaData(id string) ([]byte, error) {
	return encode("", struct {
		InstanceID string `yaml:"instance-id"`
		Hostname   string `yaml:"local-hostname"`
	}{id, s.hostname})
}

// ethernet is one port of network-config, version 2.
type ethernet struct {
	Match     map[string]string `yaml:"match"`
	SetName   string            `yaml:"set-name,omitempty"`
	DHCP4     bool              `yaml:"dhcp4"`
	DHCP6     bool              `yaml:"dhcp6"`
	Addresses []string          `yaml:"addresses"`
}

// networkConfig renders network-config: the node's one static address.
func (s settings) networkConfig() ([]byte, error) {
	port := ethernet{Match: map[string]string{"name": "e*"}, Addresses: []string{s.address.String()}}
	if s.mac != "" {
		port.Match, port.SetName = map[string]string{"macaddress": s.mac}, "eth0"
	}
	return encode("", struct {
		Version   int                 `yaml:"version"`
		Ethernets map[string]ethernet `yaml:"ethernets"`
	}{2, map[string]ethernet{"eth0": port}})
}

func encode(head string, v any) ([]byte, error) {
	b := bytes.NewBufferString(head)
	e := yaml.NewEncoder(b)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("rendering cloud-init's files: %w", err)
	}
	return b.Bytes(), nil
}

// lines returns the lines of a text that hold something and are no comment.
func lines(text []byte) []string {
	var list []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}
