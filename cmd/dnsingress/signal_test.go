// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
)

// TestHangupAsksThePrimaries changes a zone of which nobody tells the secondary, whose time to ask has not come.
func TestHangupAsksThePrimaries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	write := func(n int) {
		t.Helper()
		if err := os.WriteFile(path, []byte(zoneText(n, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	primary, _ := startServe(t, new(sink), "--zone-file", path, "--allow-transfer", "::1/128")
	p := startProcess(t, nil, "serve", "--listen", "[::1]:0", "--metrics", "[::1]:0", "--secondary", "example.org="+primary)
	p.listens()
	await := func(n uint32) {
		t.Helper()
		waitFor(t, "had the zone", func() bool {
			m, err := dns.Exchange(new(dns.Msg).SetQuestion("example.org.", dns.TypeSOA), p.address)
			return err == nil && len(m.Answer) == 1 && m.Answer[0].(*dns.SOA).Serial == n
		})
	}
	await(1)
	write(2)
	waitFor(t, "changed at the primary", func() bool { return serial(t, primary) == 2 })
	if err := syscall.Kill(p.pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(2)
}

// TestRunAndSignals has run stay on SIGHUP, and on SIGUSR2 when it is about to end, after which none takes its place.
func TestRunAndSignals(t *testing.T) {
	dir := t.TempDir()
	kubeconfig, path := filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "config.yaml")
	for name, text := range map[string]string{
		// Nobody listens there: it waits for the cluster.
		kubeconfig: `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: "http://[::1]:1"}}], users: [{name: u, user: {}}]}`,
		path: `zones: [{origin: apps.test, nameservers: [{name: ns1.apps.test, addresses: ["fd6e:7369:0:1::11"]}]}]
listen: ["[::1]:0"]
admin: "[::1]:0"
lameDuck: 1s
kubernetes: {kubeconfig: ` + kubeconfig + `}
prometheus: {urls: ["http://[::1]:1"]}
`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := startProcess(t, nil, "run", "--config", path)
	says := func(what string) {
		t.Helper()
		waitFor(t, what, func() bool { return strings.Contains(p.log.String(), what) || ended(p.pid) })
		if !strings.Contains(p.log.String(), what) {
			t.Fatalf("ended before it said %q\n%v", what, p.log)
		}
	}
	signal := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(p.pid, s); err != nil {
			t.Fatal(err)
		}
	}
	says("answering DNS")
	signal(syscall.SIGHUP)
	says("SIGHUP reads nothing again")
	signal(syscall.SIGTERM)
	says("msg=ending")
	signal(syscall.SIGUSR2)
	waitFor(t, "ended", func() bool { return ended(p.pid) })
	if strings.Contains(p.log.String(), "restarting") || strings.Contains(p.log.String(), "replaced") {
		t.Error(p.log)
	}
}
