// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"strings"
	"testing"
)

const withoutGrafana = `version: 1
cluster: small
substrate: twin
network: {nodes: "fd6e:7369:9:1::/64", services: "fd6e:7369:9:f::/112"}
zone: apps.test.
nodes:
  - {name: control-1, groups: [control, client], address: "fd6e:7369:9:1::1"}
  - {name: worker-1, groups: [worker], address: "fd6e:7369:9:1::11", pods: "fd6e:7369:9:11::/64"}
`

func TestGrafana(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"none":             {"", ""},
		"whole":            {`{url: "https://grafana.example:3000/sub", credentials: "env:GRAFANA_TOKEN", dashboards: [testbed, a-B_9]}`, ""},
		"no dashboards":    {`{url: "http://[fd00::1]:3000", credentials: token}`, ""},
		"no credentials":   {`{url: "https://grafana.example"}`, "9:10: grafana.credentials: missing"},
		"no address":       {`{url: "grafana.example:3000", credentials: token}`, `9:16: grafana.url: "grafana.example:3000" is no address of a Grafana (hint: https://HOST[:PORT][/PATH])`},
		"a password in it": {`{url: "https://me:secret@grafana.example", credentials: token}`, "is no address of a Grafana"},
		"a bad dashboard":  {`{url: "https://g.example", credentials: token, dashboards: ["My board", x, x]}`, `"My board" is no UID of a dashboard (hint: the part of its address after /d/)`},
		"twice":            {`{url: "https://g.example", credentials: token, dashboards: [x, x]}`, `grafana.dashboards[1]: "x" is there twice`},
		"a slip":           {`{url: "https://g.example", credentials: token, dashboard: x}`, `unknown key "dashboard"`},
	} {
		text := withoutGrafana
		if test.text != "" {
			text += "grafana: " + test.text + "\n"
		}
		inv, err := Parse("i.yaml", []byte(text))
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want == "" && inv.Grafana.Given() != (test.text != ""):
			t.Errorf("%s: %+v", name, inv.Grafana)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
}
