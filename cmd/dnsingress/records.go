// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/manifest"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/listing"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

func recordsCommand(s streams) *cobra.Command {
	var paths []string
	var output string
	var ttl time.Duration
	k := config.DefaultKubernetes()
	c := &cobra.Command{
		Use:   "records -f FILE|DIR...",
		Short: "Print every record that Kubernetes manifests would publish",
		Long: `Print every record that Kubernetes manifests would publish, one a line as in a zone file.

Owner names are whole. What a zone file cannot say stands behind ";": the places that
a record is for (geo), its weight against others, the set that it belongs to, the policy
that decides. No cluster is asked and no zone need be configured; who is answered with,
readiness alone decides.

Every kind is read that a cluster would be asked for: Services with their EndpointSlices,
Ingresses, Gateways and routes, DNSEndpoints, DNSRecords, DNSPolicies, SteeringPolicies.
Other kinds are passed over. A file is YAML or JSON, of any number of documents and lists.

Exit codes: 0 all is published, 1 something is wrong: it is on standard error with its
place, FILE:LINE:COLUMN, and all else is printed all the same.`,
		Example: `  dnsingress records -f deploy/
  kubectl get services,endpointslices -A -o yaml | dnsingress records -f -
  dnsingress records -f service.yaml --service-target status`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if k.ServiceTarget == config.TargetStatus && !c.Flags().Changed("ttl") {
				ttl = time.Hour
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			if len(paths) == 0 {
				return cli.Misuse("records needs -f FILE or -f DIR (hint: - is standard input)")
			}
			if ttl < 0 || ttl%time.Second != 0 || ttl/time.Second > math.MaxInt32 {
				return cli.Misuse("--ttl %v is no TTL (hint: whole seconds, such as 60s or 1h)", ttl)
			}
			if err := checkTranslation(k); err != nil {
				return err
			}
			settings := translations(&config.Config{Kubernetes: k})
			settings.Files = true
			set := manifest.Read(paths, s.in, &settings)
			lines, problems, notices := listed(set, uint32(ttl/time.Second))
			if output == "json" {
				if err := printJSON(s.out, lines); err != nil {
					return err
				}
			} else {
				for _, l := range lines {
					fmt.Fprintln(s.out, l)
				}
			}
			for _, err := range slices.Concat(problems, notices) {
				fmt.Fprintln(s.err, err)
			}
			if len(problems) > 0 {
				return &cli.StatusError{Code: cli.ExitFailed}
			}
			return nil
		},
	}
	c.Flags().StringArrayVarP(&paths, "filename", "f", nil, "manifests: a `FILE`, a directory with all below it, or - (repeatable)")
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.Flags().DurationVar(&ttl, "ttl", 5*time.Second, "TTL of records that set none, as a zone's ttl; with --service-target status 1h, which external-dns leaves to\nthe provider and PowerDNS takes")
	c.Flags().StringVar((*string)(&k.ServiceTarget), "service-target", string(k.ServiceTarget), "what Services are answered with: pods, or status (their load balancers' addresses)")
	c.Flags().StringVar((*string)(&k.Chains), "chains", string(k.Chains), "CNAME chains of DNSRecords and DNSPolicies: publish or collapse")
	c.Flags().StringArrayVar(&k.HostnamePrefixes, "hostname-prefix", k.HostnamePrefixes, "`PREFIX` of annotations that external-dns knows; the first that is set wins (repeatable)")
	c.Flags().StringVar(&k.PolicyPrefix, "policy-prefix", k.PolicyPrefix, "`PREFIX` of our own annotations")
	return c
}

// checkTranslation checks what flags can say of how objects are read.
func checkTranslation(k config.Kubernetes) error {
	if !slices.Contains([]config.ServiceTarget{config.TargetPods, config.TargetStatus}, k.ServiceTarget) {
		return cli.Misuse("--service-target %q is unknown (hint: pods or status)", k.ServiceTarget)
	}
	if !slices.Contains([]config.Chains{config.PublishChains, config.CollapseChains}, k.Chains) {
		return cli.Misuse("--chains %q is unknown (hint: publish or collapse)", k.Chains)
	}
	for _, p := range append(slices.Clone(k.HostnamePrefixes), k.PolicyPrefix) {
		if !config.AnnotationPrefix(p) {
			return cli.Misuse("annotation prefix %q is not a domain with a slash behind it (hint: external-dns.kubernetes.io/)", p)
		}
	}
	return nil
}

// listed are the records of a set of manifests, and what is wrong with it, in the order of the files. Notices keep nothing
// from being published.
func listed(set *manifest.Set, ttl uint32) (lines []listing.Line, problems, notices []error) {
	publications, whole := set.Publications()
	var pools []listing.Published
	for _, p := range publications {
		pools = append(pools, listing.Published{Pool: p.Pool, Policy: p.Policy})
	}
	lines, found := listing.Lines(pools, ttl)
	for ref, all := range whole {
		for _, p := range all {
			found = append(found, listing.Problem{Ref: ref, Problem: p})
		}
	}
	problems = slices.Clone(set.Errors())
	for _, p := range found {
		err := set.Problem(p.Ref, p.Problem)
		if p.Notice {
			notices = append(notices, err)
		} else {
			problems = append(problems, err)
		}
	}
	slices.SortStableFunc(problems, byPlace)
	slices.SortStableFunc(notices, byPlace)
	return lines, problems, notices
}

// byPlace orders errors as they stand in files; those that stand nowhere come last.
func byPlace(a, b error) int {
	var p, q strictyaml.Problem
	first, second := errors.As(a, &p), errors.As(b, &q)
	switch {
	case first != second && first:
		return -1
	case first != second:
		return 1
	}
	return cmp.Or(strings.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column), strings.Compare(a.Error(), b.Error()))
}
