// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/internal/cli"
)

func TestBadInput(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for name, test := range map[string]struct {
		args []string
		exit int
		want string
	}{
		"no service":         {nil, cli.ExitMisuse, `--service ""`},
		"no namespace":       {[]string{"--service", "backend"}, cli.ExitMisuse, `--service "backend": it is no NAMESPACE/NAME`},
		"no address":         {[]string{"--service", "bench/backend", "--listen", "80"}, cli.ExitMisuse, "(hint: [::]:80)"},
		"no cluster":         {[]string{"--service", "bench/backend"}, cli.ExitFailed, "finding the API server"},
		"no kubeconfig":      {[]string{"--service", "bench/backend", "--kubeconfig", "testdata/none"}, cli.ExitFailed, "testdata/none"},
		"unknown balance":    {[]string{"--service", "bench/backend", "--balance", "best"}, cli.ExitMisuse, `--balance "best" (hint: "random two least_conn" or "least_conn")`},
		"no certificate":     {[]string{"--service", "bench/backend", "--tls-listen", "[::]:443"}, cli.ExitMisuse, "--tls-listen [::]:443 needs --tls-cert and --tls-key"},
		"no TLS address":     {[]string{"--service", "bench/backend", "--tls-listen", "443"}, cli.ExitMisuse, "(hint: [::]:443)"},
		"no buffers":         {[]string{"--service", "bench/backend", "--proxy-buffers", "8 32k"}, cli.ExitMisuse, `--proxy-buffers "8 32k" (hint: 8x32k)`},
		"no connections":     {[]string{"--service", "bench/backend", "--worker-connections", "0"}, cli.ExitMisuse, "--worker-connections 0 (hint: 16 or more)"},
		"no time to connect": {[]string{"--service", "bench/backend", "--connect-timeout", "0s"}, cli.ExitMisuse, "--connect-timeout 0s"},
		"negative keepalive": {[]string{"--service", "bench/backend", "--upstream-keepalive", "-1"}, cli.ExitMisuse, "--upstream-keepalive -1"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			exit := cli.Run(t.Context(), command(nil, &stderr, &stderr), test.args, &stderr)
			if exit != test.exit || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("exit %d, %q, want %d, %q", exit, stderr.String(), test.exit, test.want)
			}
		})
	}
}
