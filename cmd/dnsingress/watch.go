// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/pool"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/promql"
)

// watched is the source of the objects of a cluster, which engine is given.
func watched(c *config.Config, engine *pool.Engine, log *slog.Logger) (*kube.Source, error) {
	return kube.New(kube.Options{
		Kubeconfig: c.Kubernetes.Kubeconfig, Namespaces: c.Kubernetes.Namespaces, Sources: sources(c.Kubernetes.Sources), Settings: translations(c),
		Sink: engine, Pools: engine.Status, Serving: engine.Ready(), Log: log,
	})
}

// sources says which objects of each kind count.
func sources(s config.Sources) map[objects.Name]kube.Filter {
	filters := map[objects.Name]kube.Filter{}
	for kind, one := range map[objects.Name]config.Source{
		objects.Service: s.Services, objects.Ingress: s.Ingresses, objects.Gateway: s.Gateways, objects.HTTPRoute: s.HTTPRoutes,
		objects.GRPCRoute: s.GRPCRoutes, objects.TLSRoute: s.TLSRoutes, objects.DNSEndpoint: s.DNSEndpoints, objects.DNSRecord: s.DNSRecords,
		objects.DNSPolicy: s.DNSPolicies, objects.DNSZone: s.DNSZones, objects.DNSDelegation: s.DNSDelegations,
	} {
		filters[kind] = kube.Filter{Off: !*one.Enabled, Namespaces: one.Namespaces, Labels: one.Labels}
	}
	filters[objects.GatewayClass] = kube.Filter{Off: filters[objects.Gateway].Off}
	return filters
}

// translations are the settings by which objects are read.
func translations(c *config.Config) objects.Settings {
	s := objects.Settings{
		Prefixes:      objects.Prefixes{Hostname: c.Kubernetes.HostnamePrefixes, Policy: c.Kubernetes.PolicyPrefix},
		ServiceTarget: string(c.Kubernetes.ServiceTarget), Controller: c.Kubernetes.Controller, Chains: string(c.Kubernetes.Chains), Check: promql.CheckPods,
		Files:   c.Kubernetes.Files != "",
		Allowed: func(namespace, host string) bool { may, _ := c.Kubernetes.MayHave(namespace, host); return may },
	}
	for _, z := range c.Zones {
		s.Origins = append(s.Origins, z.Origin)
	}
	return s
}
