// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Filter says which objects of a kind publish anything.
type Filter struct {
	Off        bool
	Namespaces []string // none: all
	Labels     string   // a selector, as in "team=shop,tier in (web,api)"; empty: all
}

// filter is a Filter that has been read.
type filter struct {
	Filter
	labels labels.Selector
}

// readFilters reads the selectors.
func readFilters(filters map[objects.Name]Filter) (map[objects.Name]filter, error) {
	out := map[objects.Name]filter{}
	for name, f := range filters {
		selector, err := labels.Parse(f.Labels)
		if err != nil {
			return nil, fmt.Errorf("reading the label selector %q of %s: %w", f.Labels, name, err)
		}
		out[name] = filter{f, selector}
	}
	return out, nil
}

// lets reports whether an object may publish anything.
func (s *Set) lets(kind objects.Name, o client.Object) bool {
	f, ok := s.filters[kind]
	return !ok || !f.Off && (len(f.Namespaces) == 0 || slices.Contains(f.Namespaces, o.GetNamespace())) && f.labels.Matches(labels.Set(o.GetLabels()))
}

// uncreated is when objects were created that do not say: after all that do, and one after another as they stand in the
// files, as if these were applied in their order.
var uncreated = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Publication is one pool that an object of the set publishes.
type Publication struct {
	model.Pool
	Policy string // the SteeringPolicy that is on it; empty: none
}

// Publications are what all objects publish, in the order of their Refs, and what is wrong with the objects as a whole.
// Problems of one publication are in its pool.
func (s *Set) Publications() (out []Publication, problems map[model.Ref][]model.Problem) {
	problems = map[model.Ref][]model.Problem{}
	for _, kind := range objects.Kinds() {
		if kind.Translate == nil {
			continue
		}
		for _, o := range s.All(kind.Name) {
			if !s.lets(kind.Name, o) {
				continue
			}
			r := kind.Translate(o, s, s.settings)
			policies := map[string]string{}
			for _, on := range objects.Steer(o, kind.Name, &r, s, s.settings) {
				policies[on.Part] = on.Policies[0].Name
			}
			if len(r.Problems) > 0 {
				problems[objects.Ref(o, kind.Name, "")] = r.Problems
			}
			for _, pool := range r.Pools {
				if pool.Created.IsZero() {
					pool.Created = uncreated
				}
				out = append(out, Publication{pool, policies[pool.Ref.Part]})
			}
		}
	}
	slices.SortFunc(out, func(a, b Publication) int { return a.Ref.Compare(b.Ref) })
	return out, problems
}
