// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// addressesPart is the part of an object whose names lead to the addresses in a status: those of other controllers.
const addressesPart = "addresses"

// foreign reports whether an object says that another controller is to publish it.
func (p Prefixes) foreign(annotations map[string]string) bool {
	key, controller := p.hostname(annotations, "controller")
	return key != "" && controller != "dns-controller"
}

// configure reads what annotations say of a pool of pods: TTL, size of answers, policy.
func (s *Settings) configure(pool *model.Pool, annotations map[string]string) {
	var problems []model.Problem
	pool.TTL, problems = s.Prefixes.ttl(annotations)
	pool.Problems = append(pool.Problems, problems...)
	pool.MaxAnswers, problems = s.Prefixes.maxAnswers(annotations)
	pool.Problems = append(pool.Problems, problems...)
	var err error
	if pool.Policy, err = s.Prefixes.policy(annotations, s.Check); err != nil {
		pool.KeepPolicy = true
		pool.Problems = append(pool.Problems, model.Problem{
			Reason: "InvalidPolicy", Message: strings.ReplaceAll(err.Error(), "\n", "; ") + "; the last good policy, or readiness alone, stays in force",
		})
	}
}

// statusPool publishes for a route the addresses of Gateways of other classes that accept it, under the host names that
// are not taken: as external-dns does, those in the Gateway's status, or those that its annotation target gives.
func (s *Settings) statusPool(r *route, parents []*parent, taken []string, v View) (model.Pool, bool) {
	pool := model.Pool{Ref: Ref(r, r.kind, addressesPart), Created: r.GetCreationTimestamp().Time}
	annotations := r.GetAnnotations()
	var problems []model.Problem
	pool.TTL, pool.Problems = s.Prefixes.ttl(annotations)
	_, set := s.Prefixes.hostname(annotations, "set-identifier")
	values, places := map[string][]string{}, map[string]string{}
	var hosts []string
	for _, p := range parents {
		at := fmt.Sprintf("Gateway %s/%s", p.gateway.Namespace, p.gateway.Name)
		key, addresses := s.Prefixes.targets(p.gateway.Annotations)
		if key == "" {
			for _, a := range p.gateway.Status.Addresses {
				addresses = append(addresses, a.Value)
			}
		}
		if len(addresses) == 0 && len(p.hosts) > 0 && s.Files {
			pool.Problems = append(pool.Problems, model.Problem{Reason: "NoAddress", Notice: true, Message: fmt.Sprintf(
				"%s has no address in its status, so that nothing is published for it (hint: its manifest with status.addresses, or the annotation target)", at)})
		}
		for _, h := range p.hosts {
			if slices.Contains(taken, h) || len(addresses) == 0 {
				continue
			}
			hosts = appendNew(hosts, h)
			values[h] = appendNew(values[h], addresses...)
			places[h] = at
		}
	}
	for _, h := range hosts {
		var sets []model.RecordSet
		sets, problems = s.targets([]string{h}, values[h], pool.TTL, set, "", v)
		pool.Records = append(pool.Records, sets...)
		for _, p := range problems {
			p.Message = places[h] + ": " + p.Message
			pool.Problems = appendNew(pool.Problems, p)
		}
	}
	return pool, len(pool.Records) > 0 || len(pool.Problems) > 0 && (s.Files || len(hosts) > 0)
}

// isTrue reports whether a condition is there and true.
func isTrue(conditions []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionTrue(conditions, kind)
}
