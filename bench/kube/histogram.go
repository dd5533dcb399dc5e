// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// publishMetric is how dnsingress counts the time from a watch event until it is answered.
const publishMetric = "dnsingress_publish_duration_seconds"

// histogram is a Prometheus histogram; the zero value and nil are empty.
type histogram struct {
	buckets map[float64]uint64 // cumulative, by upper bound
	count   uint64
}

// less takes away what was counted before.
func (h *histogram) less(before *histogram) {
	if h == nil || before == nil {
		return
	}
	h.count -= before.count
	for le, n := range before.buckets {
		h.buckets[le] -= n
	}
}

// atMost returns the least bound that a share q of what was counted does not exceed.
func (h *histogram) atMost(q float64) float64 {
	for _, le := range slices.Sorted(maps.Keys(h.buckets)) {
		if float64(h.buckets[le]) >= q*float64(h.count) {
			return le
		}
	}
	return 0
}

// received asks the process for its histogram; nil: it has none.
func (p *process) received(ctx context.Context) (*histogram, error) {
	if p.admin == "" {
		return nil, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking for metrics: %w", err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	h := &histogram{buckets: map[float64]uint64{}}
	for _, m := range families[publishMetric].GetMetric() {
		for _, b := range m.GetHistogram().GetBucket() {
			h.buckets[b.GetUpperBound()] += b.GetCumulativeCount()
		}
		h.count += m.GetHistogram().GetSampleCount()
	}
	return h, nil
}
