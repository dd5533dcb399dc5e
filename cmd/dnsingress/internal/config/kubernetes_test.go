// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
)

func TestWhoMayHaveAName(t *testing.T) {
	const rules = `
kubernetes:
  hosts:
    - {suffix: Apps.Test, namespaces: ["*"]}
    - {suffix: shop.apps.test, namespaces: [shop, "team-*"]}
    - {suffix: pay.shop.apps.test., namespaces: [pay]}
`
	for _, c := range []struct {
		rules, namespace, host string
		may                    bool
		suffix                 string
	}{
		{"", "anybody", "shop.apps.test.", true, ""},
		{rules, "anybody", "www.apps.test.", true, "apps.test."},
		{rules, "anybody", "*.apps.test.", true, "apps.test."},
		{rules, "anybody", "shop.apps.test.", false, "shop.apps.test."},
		{rules, "anybody", "a.b.shop.apps.test.", false, "shop.apps.test."},
		{rules, "shop", "a.b.shop.apps.test.", true, "shop.apps.test."},
		{rules, "team-red", "*.shop.apps.test.", true, "shop.apps.test."},
		{rules, "team", "x.shop.apps.test.", false, "shop.apps.test."},
		{rules, "shop", "pay.shop.apps.test.", false, "pay.shop.apps.test."},
		{rules, "pay", "x.pay.shop.apps.test.", true, "pay.shop.apps.test."},
		{rules, "anybody", "workshop.apps.test.", true, "apps.test."},
		{rules, "anybody", "www.other.test.", false, ""},
	} {
		parsed, err := Parse("c.yaml", []byte(least+c.rules))
		if err != nil {
			t.Fatal(err)
		}
		may, rule := parsed.Kubernetes.MayHave(c.namespace, c.host)
		suffix := ""
		if rule != nil {
			suffix = rule.Suffix
		}
		if may != c.may || suffix != c.suffix {
			t.Errorf("%s, %s: %v by %q, want %v by %q", c.namespace, c.host, may, suffix, c.may, c.suffix)
		}
	}
}

func TestSelectors(t *testing.T) {
	for _, good := range []string{"", "team", "!team", "team=shop", "team == shop", "a.b/team!=", "tier in (web,api)", "a=b, tier notin ( web , api ),c"} {
		if problem := checkSelector(good); problem != "" {
			t.Errorf("%q: %s", good, problem)
		}
	}
	for _, bad := range []string{",", "a=b,", "=shop", "team=shop=x", "tier in web", "tier in (web", "tier in (web))", "a b", "a=ü", "-a"} {
		if checkSelector(bad) == "" {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMistakesOfKubernetes(t *testing.T) {
	_, err := Parse("c.yaml", []byte(least+`kubernetes:
  kubeconfig: a
  files: b
  namespaces: [shop]
  sources:
    services: {labels: "team in shop"}
    ingresses: {namespaces: [other]}
    pods: {}
  controller: gateway
  serviceTarget: nodes
  chains: cut
  hosts:
    - {suffix: "*.apps.test", namespaces: [shop]}
    - {suffix: shop.apps.test}
    - {suffix: shop.apps.test, namespaces: ["[", ""]}
    - {namespaces: [shop]}
  resolvers: [localhost]
`))
	if err == nil {
		t.Fatal("no mistake found")
	}
	for _, want := range []string{
		`c.yaml:6:10: kubernetes.files: files and kubeconfig both say where objects come from (hint: one of them)`,
		`c.yaml:9:24: kubernetes.sources.services.labels: "team in shop" is no label selector: "team in shop" is no requirement (hint: `,
		`c.yaml:10:30: kubernetes.sources.ingresses.namespaces[0]: namespace "other" is not watched (hint: `,
		`c.yaml:11:5: kubernetes.sources: unknown key "pods"`,
		`c.yaml:12:15: kubernetes.controller: "gateway" is no name of a controller (hint: dnsingress.dev/gateway)`,
		`c.yaml:13:18: kubernetes.serviceTarget: "nodes" is unknown (hint: pods or status)`,
		`c.yaml:14:11: kubernetes.chains: "cut" is unknown (hint: publish or collapse)`,
		`c.yaml:16:16: kubernetes.hosts[0].suffix: "*.apps.test." is a pattern; a suffix is a name, and all below it (hint: apps.test.)`,
		`c.yaml:17:7: kubernetes.hosts[1]: nobody may have the names below shop.apps.test. (hint: `,
		`c.yaml:18:16: kubernetes.hosts[2].suffix: suffix shop.apps.test. is listed twice`,
		`c.yaml:18:45: kubernetes.hosts[2].namespaces[0]: "[" is no name of a namespace and no pattern of one (hint: `,
		`kubernetes.hosts[2].namespaces[1]: "" is no name`,
		`c.yaml:19:7: kubernetes.hosts[3].suffix: a name is missing`,
		`c.yaml:20:15: kubernetes.resolvers[0]: "localhost" is no address of a resolver (hint: `,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("got:\n%v", err)
	}
}
