// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"fmt"
	"net/netip"

	"github.com/prometheus/common/model"
)

// Samples are the values of one evaluation, found by pod or by address. The zero value is empty.
type Samples struct {
	pods      map[podKey]sample
	addresses map[netip.Addr]sample
	Strays    int // series that name neither a pod nor an address
	Series    int // all series
}

type podKey struct{ namespace, pod string } // namespace is empty where the series has none

type sample struct {
	value float64
	count int
}

// addressLabels may hold a pod's address, the first that does counts.
var addressLabels = [...]model.LabelName{"address", "ip", "pod_ip", "instance"}

// newSamples attributes the series of a query's result.
func newSamples(value model.Value) (Samples, error) {
	vector, ok := value.(model.Vector)
	if !ok {
		return Samples{}, fmt.Errorf("the result is a %s (hint: an instant vector is wanted)", value.Type())
	}
	s := Samples{pods: map[podKey]sample{}, addresses: map[netip.Addr]sample{}, Series: len(vector)}
	for _, one := range vector {
		if one.Histogram != nil {
			s.Strays++
			continue
		}
		if pod := one.Metric["pod"]; pod != "" {
			key := podKey{string(one.Metric["namespace"]), string(pod)}
			s.pods[key] = sample{float64(one.Value), s.pods[key].count + 1}
			continue
		}
		if a, ok := addressOf(one.Metric); ok {
			s.addresses[a] = sample{float64(one.Value), s.addresses[a].count + 1}
			continue
		}
		s.Strays++
	}
	return s, nil
}

func addressOf(m model.Metric) (netip.Addr, bool) {
	for _, l := range addressLabels {
		text := string(m[l])
		if a, err := netip.ParseAddr(text); err == nil {
			return a.Unmap(), true
		}
		if a, err := netip.ParseAddrPort(text); err == nil {
			return a.Addr().Unmap(), true
		}
	}
	return netip.Addr{}, false
}

// Value returns the value for the pod, and how many series gave one: the value means nothing unless that is 1.
func (s Samples) Value(namespace, pod string, address netip.Addr) (value float64, series int) {
	var found sample
	if pod != "" {
		found = s.pods[podKey{namespace, pod}]
		if found.count == 0 {
			found = s.pods[podKey{"", pod}]
		}
	}
	if found.count == 0 {
		found = s.addresses[address]
	}
	return found.value, found.count
}
