// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// Settings are the same for all translations. They do not change while a source runs.
type Settings struct {
	Prefixes Prefixes
	// ServiceTarget is what Services that do not say themselves are answered with: "pods" or "status". Empty: pods.
	ServiceTarget string
	// Check judges a PromQL expression of a policy.
	Check func(expr string) error
	// Policies reads SteeringPolicies; nil: each is read every time.
	Policies *Policies
	// Shared holds what kept objects have in common; nil: nothing.
	Shared *Shared
	// Controller is what GatewayClasses and IngressClasses that are ours name; empty: DefaultController.
	Controller string
	// Files says that objects are read from files, where no controller writes statuses.
	Files bool
	// Origins are those of the zones that are served, in lower case, fully qualified; nil: unknown.
	Origins []string
	// Allowed says whether objects of a namespace may have a host name; nil: all may.
	Allowed func(namespace, host string) bool
	// Chains is how the chains of DNSRecords and DNSPolicies are answered that do not say themselves: "publish" or "collapse".
	// Empty: publish.
	Chains string
}

// Ref names an object of a kind, or a part of what it publishes.
func Ref(o client.Object, kind Name, part string) model.Ref {
	return model.Ref{Kind: string(kind), Namespace: o.GetNamespace(), Name: o.GetName(), Part: part}
}

// Result is what an object publishes. The zero value: nothing, and nothing is wrong.
type Result struct {
	// Pools are all that the object publishes, each with a Ref of the object's kind, namespace and name and, where
	// there are several, a Part of its own. A part that was there and is not any more is withdrawn.
	Pools []model.Pool
	// Problems are those of the object as a whole; those of one publication are in its pool.
	Problems []model.Problem
	// Targets are by part, beside the object itself, the objects that a SteeringPolicy may name to steer the pool: the
	// Gateways that a route is attached to.
	Targets map[string][]model.Ref
	// Triggered is when the newest change that the endpoints tell of happened in the cluster; zero: they do not say.
	Triggered time.Time
	// Outcome is what the kind's Status wants to know of the translation, in a type of its own that can be compared
	// with reflect.DeepEqual.
	Outcome any
}

// Standing is what became of an object, for its Status.
type Standing struct {
	// Outcome is that of the object's newest translation.
	Outcome any
	// Problems are all that is wrong: those of the translation as a whole, and by part those of each publication,
	// with what was found only when it was to be served (a name that is another's, a host outside the zones).
	// They are sorted by part, then as they were found.
	Problems []PartProblem
	// Served is what of the object is answered from, of one that publishes a single pool; its Zone is empty where nothing
	// is, or nothing is known of it.
	Served model.Status
	// Now is the time of conditions that change.
	Now metav1.Time
}

// PartProblem is a problem of one part of an object; Part is empty for the object as a whole, too.
type PartProblem struct {
	Part string
	model.Problem
}

// Of gives the problems of a part.
func (x Standing) Of(part string) []model.Problem {
	var out []model.Problem
	for _, p := range x.Problems {
		if p.Part == part {
			out = append(out, p.Problem)
		}
	}
	return out
}

// Set puts c among conditions, with the generation that it is of. Where it says what is there already, nothing
// changes, the time of the last transition included.
func (x Standing) Set(conditions *[]metav1.Condition, generation int64, c metav1.Condition) {
	c.ObservedGeneration = generation
	if old := meta.FindStatusCondition(*conditions, c.Type); old != nil && old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
	} else {
		c.LastTransitionTime = x.Now
	}
	if i := slices.IndexFunc(*conditions, func(o metav1.Condition) bool { return o.Type == c.Type }); i >= 0 {
		(*conditions)[i] = c
	} else {
		*conditions = append(*conditions, c)
	}
}
