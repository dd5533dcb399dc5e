// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// testRealPrometheus steers by a real Prometheus that scrapes two pods' metrics.
func testRealPrometheus(t *testing.T, c *cluster) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		text := "NOT TESTED with a real Prometheus: " + err.Error() + " (hint: apt-get install prometheus)"
		if os.Getenv("CI") == "true" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	var busy atomic.Int64 // how many requests the second pod has in flight
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "inflight{pod=\"web-0\"} 1\ninflight{pod=\"web-1\"} %d\n", busy.Load())
	}))
	t.Cleanup(exporter.Close)
	dir := t.TempDir()
	text := fmt.Sprintf("global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n  - {job_name: pods, static_configs: [{targets: [%q]}]}\n", exporter.Listener.Addr())
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	start := func() (kill func()) {
		var output bytes.Buffer
		p := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
		p.Stdout, p.Stderr = &output, &output
		p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		kill = sync.OnceFunc(func() {
			_ = p.Process.Kill()
			_ = p.Wait()
			if t.Failed() {
				t.Log(output.String())
			}
		})
		t.Cleanup(kill)
		return kill
	}
	kill := start()

	ns := c.namespace(t)
	c.create(t, service(ns, "web", steered("real.apps.test", "sum by (pod) (inflight)", "dnsingress.dev/readmit", "< 3")...))
	c.create(t, slice(ns, "web", "web-1", discoveryv1.AddressTypeIPv6, "fd00::1", "fd00::2"))
	more := fmt.Sprintf("prometheus: {urls: [%q], interval: 200ms, staleness: 1h, firstPass: 1m}", "http://"+address)
	i := c.run(t, more)
	untilNil(t, func() error {
		x, _ := i.engine.Explain("real.apps.test")
		if x.Policy == nil || x.Policy.SignalAge == nil || len(x.Members) != 2 || x.Members[0].Value == nil {
			return fmt.Errorf("no values yet: %+v", x)
		}
		return nil
	})
	i.await(t, "real.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2")
	busy.Store(20)
	i.await(t, "real.apps.test.", dns.TypeAAAA, "fd00::1")
	busy.Store(0)
	i.await(t, "real.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2")
	busy.Store(20)
	i.await(t, "real.apps.test.", dns.TypeAAAA, "fd00::1")
	kill()
	untilNil(t, func() error {
		if x, _ := i.engine.Explain("real.apps.test"); x.Policy.Error == "" {
			return fmt.Errorf("no evaluation has failed yet")
		}
		return nil
	})
	if got := i.addresses("real.apps.test.", dns.TypeAAAA); got != "fd00::1" {
		t.Errorf("answer after Prometheus was killed: %q", got)
	}

	// It comes back, and so do its values.
	start()
	busy.Store(0)
	i.await(t, "real.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2")
	busy.Store(20)
	i.await(t, "real.apps.test.", dns.TypeAAAA, "fd00::1")

	// A value between keep and readmit: who is out stays out, also to one that has not seen why.
	busy.Store(5)
	waiting := func(i *instance) error {
		x, _ := i.engine.Explain("real.apps.test")
		if len(x.Members) != 2 || x.Members[1].Reason != "waiting" || x.Members[1].Value == nil || *x.Members[1].Value != 5 {
			return fmt.Errorf("members %+v", x.Members)
		}
		return nil
	}
	untilNil(t, func() error { return waiting(i) })
	late := c.run(t, more)
	if got := late.addresses("real.apps.test.", dns.TypeAAAA); got != "fd00::1" {
		t.Errorf("first answer after a restart: %q", got)
	}
	if err := waiting(late); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}
