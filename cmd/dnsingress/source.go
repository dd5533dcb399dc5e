// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/manifest"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
)

// source gives the engine what objects publish, and tells of what is wrong with that.
type source interface {
	Run(ctx context.Context) error
}

// connectSource gives the engine the objects of a cluster, or of files in its place.
func (d *daemon) connectSource(c *config.Config, log *slog.Logger) error {
	if c.Kubernetes.Files != "" {
		settings, filters := translations(c), map[objects.Name]manifest.Filter{}
		for kind, f := range sources(c.Kubernetes.Sources) {
			filters[kind] = manifest.Filter(f)
		}
		files, err := manifest.NewSource(manifest.Options{
			Dir: c.Kubernetes.Files, Settings: &settings, Filters: filters, Namespaces: c.Kubernetes.Namespaces, Sink: d.engine, Log: log,
		})
		if err != nil {
			return err
		}
		d.source = files
		d.engine.Connect(d.evaluator, files)
		return nil
	}
	cluster, err := watched(c, d.engine, log)
	if err != nil {
		return err
	}
	d.source = cluster
	d.engine.Connect(d.evaluator, cluster.Reporter())
	d.engine.ConnectObserver(cluster.Decided)
	return nil
}
