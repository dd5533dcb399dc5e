// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// manifestOf is a Service with a target.
func manifestOf(name, address string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata:
  name: %s
  namespace: shop
  labels: {team: web}
  annotations: {external-dns.kubernetes.io/hostname: %[1]s.apps.test, external-dns.kubernetes.io/target: "%[2]s"}
spec: {ports: [{port: 80}]}
---
`, name, address)
}

// TestFilesAsASource publishes a directory of manifests, with no cluster, as it changes.
func TestFilesAsASource(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("a.yaml", manifestOf("one", "2001:db8::1")+manifestOf("two", "2001:db8::2"))
	write("kustomization.yaml", "resources: [a.yaml]\n")
	write("notes.txt", "kind: [\n")
	c := &cluster{t: t}
	i := c.configured(t, fmt.Sprintf(`zones:
  - {origin: apps.test, nameservers: [{name: ns.served.example}]}
listen: ["[::1]:0"]
admin: "[::1]:0"
lameDuck: 0s
kubernetes:
  files: %q
  sources: {services: {labels: "team in (web)"}}
`, dir))
	select {
	case <-i.engine.Ready():
	case <-time.After(time.Minute):
		t.Fatal("not ready after a minute")
	}
	// Ready means that what was there is answered: no waiting here.
	if got := i.addresses("one.apps.test.", dns.TypeAAAA); got != "2001:db8::1" {
		t.Errorf("the first answer is %q", got)
	}
	write("a.yaml", manifestOf("one", "2001:db8::11")+manifestOf("two", "2001:db8::2"))
	i.await(t, "one.apps.test.", dns.TypeAAAA, "2001:db8::11")

	write("deep/er/b.yml", manifestOf("three", "2001:db8::3"))
	i.await(t, "three.apps.test.", dns.TypeAAAA, "2001:db8::3")
	write("deep/er/c.json", `{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Service",
		"metadata": {"name": "four", "labels": {"team": "web"}, "annotations": {"external-dns.kubernetes.io/hostname": "four.apps.test", "external-dns.kubernetes.io/target": "2001:db8::4"}}}]}`)
	i.await(t, "four.apps.test.", dns.TypeAAAA, "2001:db8::4")

	// A mistake takes nothing away that is answered with, and is told with its place.
	write("a.yaml", manifestOf("one", "2001:db8::12")+"kind: [\n")
	i.await(t, "one.apps.test.", dns.TypeAAAA, "2001:db8::12")
	if got := i.addresses("two.apps.test.", dns.TypeAAAA); got != "2001:db8::2" {
		t.Errorf("a file that cannot be read whole took %q away", got)
	}
	untilNil(t, func() error {
		if c.log.count(filepath.Join(dir, "a.yaml")+":10:1: ") == 0 {
			return errors.New("the mistake is not told of")
		}
		return nil
	})
	write("a.yaml", manifestOf("one", "2001:db8::12"))
	i.await(t, "two.apps.test.", dns.TypeAAAA, "NXDOMAIN")

	write("d.yaml", manifestOf("one", "2001:db8::99")+strings.ReplaceAll(manifestOf("other", "2001:db8::98"), "team: web", "team: else")+
		strings.ReplaceAll(manifestOf("five", "2001:db8::5"), "five.apps.test", "three.apps.test"))
	untilNil(t, func() error {
		for _, want := range []string{filepath.Join(dir, "d.yaml") + ":4:9: metadata.name: a second Service shop/one", "Service shop/three: NameTaken: three.apps.test. is already published for Service shop/five"} {
			if c.log.count(want) == 0 {
				return fmt.Errorf("not told: %s", want)
			}
		}
		return nil
	})
	if got := i.addresses("one.apps.test.", dns.TypeAAAA) + " " + i.addresses("other.apps.test.", dns.TypeAAAA); got != "2001:db8::12 NXDOMAIN" {
		t.Errorf("the second of two, and one that the filter leaves out, are %q", got)
	}
	if err := os.RemoveAll(filepath.Join(dir, "deep")); err != nil {
		t.Fatal(err)
	}
	i.await(t, "four.apps.test.", dns.TypeAAAA, "NXDOMAIN")
}
