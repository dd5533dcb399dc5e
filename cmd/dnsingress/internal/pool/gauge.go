// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// poolLabels are the labels that all metrics of one pool have, in the order of their names. There are some metrics for
// each of very many pools at every scrape: they share these, and what the library checks of labels need not be.
type poolLabels []*dto.LabelPair

func labelsOf(ref model.Ref) poolLabels {
	return appendLabels(make(poolLabels, 0, 4), "kind", ref.Kind, "name", ref.Name, "namespace", ref.Namespace, "part", ref.Part)
}

// appendLabels adds names with their values.
func appendLabels(to poolLabels, pairs ...string) poolLabels {
	for i := 0; i < len(pairs); i += 2 {
		to = append(to, &dto.LabelPair{Name: &pairs[i], Value: &pairs[i+1]})
	}
	return to
}

// gauge is a metric of the pool with more labels, whose names come behind the others and are in order.
func (l poolLabels) gauge(desc *prometheus.Desc, value float64, more ...string) prometheus.Metric {
	if len(more) > 0 {
		l = appendLabels(append(make(poolLabels, 0, len(l)+len(more)/2), l...), more...)
	}
	return &gauge{desc, l, value}
}

// gauge implements prometheus.Metric.
type gauge struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	value  float64
}

func (g *gauge) Desc() *prometheus.Desc { return g.desc }

func (g *gauge) Write(out *dto.Metric) error {
	out.Label, out.Gauge = g.labels, &dto.Gauge{Value: &g.value}
	return nil
}
