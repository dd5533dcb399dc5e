// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"
)

func TestParams(t *testing.T) {
	p, err := parseParams("console=ttyS0 testbed.order=http://192.0.2.1:8069/v1/order/ab testbed.mac=DC-A6-32-01-36-c2 testbed.address=192.0.2.11/24 quiet\n")
	if err != nil {
		t.Fatal(err)
	}
	if p.url.Host != "192.0.2.1:8069" || p.mac.String() != "dc:a6:32:01:36:c2" || p.address.String() != "192.0.2.11/24" {
		t.Errorf("%+v", p)
	}
	_, err = parseParams("testbed.order=https://x testbed.mac=1 testbed.address=192.0.2.11")
	for _, want := range []string{"testbed.order=", "testbed.mac=", "testbed.address="} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v says nothing of %s", err, want)
		}
	}
}

func FuzzParams(f *testing.F) {
	f.Add("testbed.order=http://192.0.2.1:8069/v1/order/ab testbed.mac=dc:a6:32:01:36:c2 testbed.address=192.0.2.11/24")
	f.Add("testbed.order=http:// testbed.mac= testbed.address=/")
	f.Fuzz(func(t *testing.T, cmdline string) {
		p, err := parseParams(cmdline)
		if err == nil && (p.url.Host == "" || len(p.mac) == 0 || !p.address.IsValid()) {
			t.Errorf("%q: %+v", cmdline, p)
		}
	})
}

func TestChooseDisk(t *testing.T) {
	tests := []struct {
		disks []string
		name  string
		want  string // or the error's begin
	}{
		{[]string{"mmcblk0", "nvme0n1", "sda"}, "", "mmcblk0"},
		{[]string{"mmcblk0", "nvme0n1"}, "nvme0n1", "nvme0n1"},
		{[]string{"vda"}, "", "vda"},
		{[]string{"sda", "sdb"}, "", "there are several disks"},
		{[]string{"sda"}, "sdb", "there is no disk sdb"},
		{nil, "", "there is no disk ("},
	}
	for _, tt := range tests {
		got, err := chooseDisk(tt.disks, tt.name)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%v, %q: %s, want %s", tt.disks, tt.name, got, tt.want)
		}
	}
}
