// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/internal/dnsclient"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Kubernetes says which objects are watched and how they are read.
type Kubernetes struct {
	// Kubeconfig is a file; empty: the pod's service account, else $KUBECONFIG, else ~/.kube/config.
	Kubeconfig string `yaml:"kubeconfig"`
	// Files is a directory of manifests that is watched in place of a cluster. Default: none, a cluster is.
	Files string `yaml:"files"`
	// Namespaces to watch. Default: all.
	Namespaces []string `yaml:"namespaces"`
	// Sources are the kinds of objects that names come from. Default: all, as far as the cluster knows them.
	Sources Sources `yaml:"sources"`
	// HostnamePrefixes of the hostname, ttl and controller annotations; the first that is set wins.
	// Default: external-dns.kubernetes.io/ and external-dns.alpha.kubernetes.io/.
	HostnamePrefixes []string `yaml:"hostnamePrefixes"`
	// PolicyPrefix of the policy annotations. Default: dnsingress.dev/.
	PolicyPrefix string `yaml:"policyPrefix"`
	// Controller is the controllerName of the GatewayClasses and the controller of the IngressClasses whose routes are
	// published with their backends' pods. Default: dnsingress.dev/gateway.
	Controller string `yaml:"controller"`
	// ServiceTarget is what a Service's names are answered with where it does not say itself: pods (its pods' own
	// addresses) or status (those of its load balancer, as external-dns publishes). Default: pods.
	ServiceTarget ServiceTarget `yaml:"serviceTarget"`
	// Chains says how the CNAME chains of a DNSRecord or DNSPolicy are answered: publish (as they stand) or collapse (by
	// the addresses at their end, with one lookup). Default: publish.
	Chains Chains `yaml:"chains"`
	// Hosts say which namespaces may have which names. Where there is any, a name below none of the suffixes is nobody's.
	// Default: any namespace may have any name.
	Hosts []Host `yaml:"hosts"`
	// Resolvers are asked, one after another, for the addresses of host names outside, as "[2001:db8::53]:53".
	// Default: those of /etc/resolv.conf.
	Resolvers []string `yaml:"resolvers"`
}

// Sources are the kinds of objects that names come from.
type Sources struct {
	Services       Source `yaml:"services"`
	Ingresses      Source `yaml:"ingresses"`
	Gateways       Source `yaml:"gateways"` // with their classes
	HTTPRoutes     Source `yaml:"httpRoutes"`
	GRPCRoutes     Source `yaml:"grpcRoutes"`
	TLSRoutes      Source `yaml:"tlsRoutes"`
	DNSEndpoints   Source `yaml:"dnsEndpoints"` // of externaldns.k8s.io
	DNSRecords     Source `yaml:"dnsRecords"`   // of kuadrant.io
	DNSPolicies    Source `yaml:"dnsPolicies"`  // of kuadrant.io
	DNSZones       Source `yaml:"dnsZones"`
	DNSDelegations Source `yaml:"dnsDelegations"`
}

// each calls do with every source and its key.
func (s *Sources) each(do func(key string, source *Source)) {
	do("services", &s.Services)
	do("ingresses", &s.Ingresses)
	do("gateways", &s.Gateways)
	do("httpRoutes", &s.HTTPRoutes)
	do("grpcRoutes", &s.GRPCRoutes)
	do("tlsRoutes", &s.TLSRoutes)
	do("dnsEndpoints", &s.DNSEndpoints)
	do("dnsRecords", &s.DNSRecords)
	do("dnsPolicies", &s.DNSPolicies)
	do("dnsZones", &s.DNSZones)
	do("dnsDelegations", &s.DNSDelegations)
}

// Source is one kind of objects.
type Source struct {
	// Enabled says whether they are watched. Default: true.
	Enabled *bool `yaml:"enabled"`
	// Namespaces of those that count, among the ones that are watched at all. Default: all of these.
	Namespaces []string `yaml:"namespaces"`
	// Labels is a selector of those that count, such as "team=shop,tier in (web,api)". Default: all.
	Labels string `yaml:"labels"`
}

// ServiceTarget is what a Service's names are answered with.
type ServiceTarget string

// The choices for ServiceTarget.
const (
	TargetPods   ServiceTarget = "pods"
	TargetStatus ServiceTarget = "status"
)

// Chains says how CNAME chains are answered.
type Chains string

// The choices for Chains.
const (
	PublishChains  Chains = "publish"
	CollapseChains Chains = "collapse"
)

// Host says who may have the names at and below a suffix that is below no longer one in the list.
type Host struct {
	// Suffix is a domain name; "." is every name.
	Suffix string `yaml:"suffix"`
	// Namespaces by name or pattern, such as team-*. At least one.
	Namespaces []string `yaml:"namespaces"`
}

// MayHave says whether objects of a namespace may have a host name, which is canonical. If not, rule is the one that
// says so; nil: the name is below no suffix.
func (k *Kubernetes) MayHave(namespace, host string) (may bool, rule *Host) {
	for i := range k.Hosts {
		h := &k.Hosts[i]
		if dns.IsSubDomain(h.Suffix, host) && (rule == nil || len(h.Suffix) > len(rule.Suffix)) {
			rule = h
		}
	}
	if rule == nil {
		return len(k.Hosts) == 0, nil
	}
	return slices.ContainsFunc(rule.Namespaces, func(pattern string) bool {
		ok, err := path.Match(pattern, namespace)
		return ok && err == nil // patterns have been checked
	}), rule
}

// DefaultKubernetes is what a file that says nothing of it means.
func DefaultKubernetes() Kubernetes {
	var k Kubernetes
	k.fill()
	return k
}

// AnnotationPrefix reports whether annotations can have the prefix: a domain with a slash behind it.
func AnnotationPrefix(p string) bool {
	return strings.HasSuffix(p, "/") && strings.Count(p, "/") == 1 && len(p) >= 2
}

func (k *Kubernetes) fill() {
	if k.HostnamePrefixes == nil {
		k.HostnamePrefixes = []string{"external-dns.kubernetes.io/", "external-dns.alpha.kubernetes.io/"}
	}
	orElse(&k.PolicyPrefix, "dnsingress.dev/")
	orElse(&k.Controller, "dnsingress.dev/gateway")
	orElse(&k.ServiceTarget, TargetPods)
	orElse(&k.Chains, PublishChains)
	k.Sources.each(func(_ string, s *Source) { orPointer(&s.Enabled, true) })
	for i := range k.Hosts {
		k.Hosts[i].Suffix = canonical(k.Hosts[i].Suffix)
	}
}

func (k *Kubernetes) check(f *strictyaml.File) {
	for i, p := range append(slices.Clone(k.HostnamePrefixes), k.PolicyPrefix) {
		at := fmt.Sprintf("kubernetes.hostnamePrefixes[%d]", i)
		if i == len(k.HostnamePrefixes) {
			at = "kubernetes.policyPrefix"
		}
		if !AnnotationPrefix(p) {
			f.Problem(at, "external-dns.kubernetes.io/", "annotation prefix %q is not a domain with a slash behind it", p)
		}
	}
	if k.Files != "" && k.Kubeconfig != "" {
		f.Problem("kubernetes.files", "one of them", "files and kubeconfig both say where objects come from")
	}
	// Gateway API: a domain, a slash and a path.
	if domain, rest, _ := strings.Cut(k.Controller, "/"); domain == "" || rest == "" {
		f.Problem("kubernetes.controller", "dnsingress.dev/gateway", "%q is no name of a controller", k.Controller)
	}
	if !slices.Contains([]ServiceTarget{TargetPods, TargetStatus}, k.ServiceTarget) {
		f.Problem("kubernetes.serviceTarget", "pods or status", "%q is unknown", k.ServiceTarget)
	}
	if !slices.Contains([]Chains{PublishChains, CollapseChains}, k.Chains) {
		f.Problem("kubernetes.chains", "publish or collapse", "%q is unknown", k.Chains)
	}
	k.Sources.each(func(key string, s *Source) {
		at := "kubernetes.sources." + key
		if problem := checkSelector(s.Labels); problem != "" {
			f.Problem(at+".labels", `"team=shop,tier in (web,api)"`, "%q is no label selector: %s", s.Labels, problem)
		}
		for i, n := range s.Namespaces {
			if len(k.Namespaces) > 0 && !slices.Contains(k.Namespaces, n) {
				f.Problem(fmt.Sprintf("%s.namespaces[%d]", at, i), "kubernetes.namespaces", "namespace %q is not watched", n)
			}
		}
	})
	if len(k.Sources.DNSZones.Namespaces) > 0 {
		f.Problem("kubernetes.sources.dnsZones.namespaces", "labels", "DNSZones are in no namespace")
	}
	k.checkHosts(f)
	for i, r := range k.Resolvers {
		if _, err := dnsclient.ParseServer(r); err != nil {
			f.Problem(fmt.Sprintf("kubernetes.resolvers[%d]", i), "", "%v", err)
		}
	}
}

func (k *Kubernetes) checkHosts(f *strictyaml.File) {
	seen := map[string]bool{}
	for i, h := range k.Hosts {
		at := fmt.Sprintf("kubernetes.hosts[%d]", i)
		checkName(f, at+".suffix", h.Suffix)
		switch {
		case strings.HasPrefix(h.Suffix, "*."):
			f.Problem(at+".suffix", strings.TrimPrefix(h.Suffix, "*."), "%q is a pattern; a suffix is a name, and all below it", h.Suffix)
		case h.Suffix != "" && seen[h.Suffix]:
			f.Problem(at+".suffix", "one list of namespaces", "suffix %s is listed twice", h.Suffix)
		}
		seen[h.Suffix] = true
		if len(h.Namespaces) == 0 {
			f.Problem(at, `namespaces: [shop, "team-*"]`, "nobody may have the names below %s", h.Suffix)
		}
		for j, n := range h.Namespaces {
			if _, err := path.Match(n, ""); err != nil || n == "" {
				f.Problem(fmt.Sprintf("%s.namespaces[%d]", at, j), `shop, "team-*"`, "%q is no name of a namespace and no pattern of one", n)
			}
		}
	}
}

const (
	labelKey   = `([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?`
	labelValue = `([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?`
)

// checkSelector says what is wrong with a label selector as Kubernetes writes them; empty: nothing.
func checkSelector(selector string) string {
	if strings.TrimSpace(selector) == "" {
		return ""
	}
	requirement := regexp.MustCompile(`^\s*(!?\s*` + labelKey + `|` + labelKey + `\s*(=|==|!=)\s*` + labelValue +
		`|` + labelKey + `\s+(in|notin)\s*\(\s*` + labelValue + `(\s*,\s*` + labelValue + `)*\s*\))\s*$`)
	depth, begin := 0, 0
	for i, r := range selector + "," {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			if part := selector[begin:i]; !requirement.MatchString(part) {
				return fmt.Sprintf("%q is no requirement", strings.TrimSpace(part))
			}
			begin = i + 1
		}
	}
	if depth != 0 {
		return "a bracket is not closed"
	}
	return ""
}
