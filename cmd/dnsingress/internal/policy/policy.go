// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/cli"
	"github.com/dnsingress/dnsingress/internal/steer"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// The kind that is read.
const (
	APIVersion = "dnsingress.dev/v1alpha1"
	Kind       = "SteeringPolicy"
)

// Policy is one document that is in order.
type Policy struct {
	Namespace string // empty: the document does not say
	Name      string
	Targets   []Target // that it steers, in its namespace
	Hostnames []string // whose pools it steers: lower case, fully qualified
	model.Policy
}

// Target is an object that a policy is on.
type Target struct{ Kind, Name string }

// String is the name alone for a Service, which is what most are.
func (t Target) String() string {
	if t.Kind == "Service" {
		return t.Name
	}
	return t.Kind + " " + t.Name
}

// document is a SteeringPolicy as it is written. What only the API server sets is let through unread.
type document struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       spec     `json:"spec"`
	Status     any      `json:"status"`
}

type metadata struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	UID               any               `json:"uid"`
	ResourceVersion   any               `json:"resourceVersion"`
	Generation        any               `json:"generation"`
	CreationTimestamp any               `json:"creationTimestamp"`
	OwnerReferences   any               `json:"ownerReferences"`
	Finalizers        any               `json:"finalizers"`
	ManagedFields     any               `json:"managedFields"`
}

type spec struct {
	TargetRefs   []targetRef     `json:"targetRefs"`
	Hostnames    []string        `json:"hostnames"`
	Signals      []signal        `json:"signals"`
	HealthChecks []healthCheck   `json:"healthChecks"`
	Rules        []steer.Rule    `json:"rules"`
	Guards       steer.Guards    `json:"guards"`
	Weight       steer.Weight    `json:"weight"`
	Selection    steer.Selection `json:"selection"`
	TTL          steer.TTL       `json:"ttl"`
	NegativeTTL  steer.TTL       `json:"negativeTTL"`
	ChurnWindow  time.Duration   `json:"churnWindow"`
}

type targetRef struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
}

type signal struct {
	Name      string        `json:"name"`
	Query     string        `json:"query"`
	Interval  time.Duration `json:"interval"`
	Timeout   time.Duration `json:"timeout"`
	Staleness time.Duration `json:"staleness"`
	Match     match         `json:"match"`
}

type match struct {
	Pod       string `json:"pod"`
	Namespace string `json:"namespace"`
	Address   string `json:"address"`
}

type healthCheck struct {
	Name              string         `json:"name"`
	Protocol          model.Protocol `json:"protocol"`
	Port              int            `json:"port"`
	Path              string         `json:"path"`
	Host              string         `json:"host"`
	Status            string         `json:"status"`
	Service           string         `json:"service"`
	TLSName           string         `json:"tlsName"`
	Interval          time.Duration  `json:"interval"`
	UnhealthyInterval time.Duration  `json:"unhealthyInterval"`
	Timeout           time.Duration  `json:"timeout"`
	Up                int            `json:"up"`
	Down              int            `json:"down"`
}

// Load reads the documents of a file. An error is a misuse that lists every problem as FILE:LINE:COLUMN.
func Load(path string) ([]Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, cli.Misuse("reading policies: %w", err)
	}
	return Parse(path, data)
}

// Parse is Load for a file that has been read.
func Parse(path string, data []byte) ([]Policy, error) {
	var policies []Policy
	var errs []error
	names := map[string]bool{}
	for _, f := range strictyaml.Manifests(path, data) {
		p := read(f)
		key := strings.TrimPrefix(p.Namespace+"/"+p.Name, "/")
		if p.Name != "" && names[key] {
			f.Problem("metadata.name", "", "a second policy %s in this file", key)
		}
		names[key] = true
		if err := f.Err(); err != nil {
			errs = append(errs, err)
		}
		policies = append(policies, p)
	}
	if len(errs) > 0 {
		return nil, cli.Misuse("%w", errors.Join(errs...))
	}
	return policies, nil
}

// Check notes in f, a document that has not been decoded, what is wrong with the policy that it holds.
func Check(f *strictyaml.File) { read(f) }

// FromObject reads one document as JSON, as the API server gives it. An error lists every problem by its path in the
// object, one a line.
func FromObject(data []byte) (Policy, error) {
	f := strictyaml.Manifests("object", data)[0]
	p := read(f)
	err := f.Err()
	if err == nil {
		return p, nil
	}
	var errs []error
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() { //nolint:errorlint // it is a join of problems
		var problem strictyaml.Problem
		if !errors.As(one, &problem) {
			return Policy{}, err
		}
		text := strings.TrimPrefix(problem.Path+": "+problem.Text, ": ")
		if problem.Hint != "" {
			text += " (hint: " + problem.Hint + ")"
		}
		errs = append(errs, errors.New(text))
	}
	return Policy{}, errors.Join(errs...)
}

// read decodes one document and notes in f what is wrong with it.
func read(f *strictyaml.File) Policy {
	d := document{Spec: spec{Guards: steer.Defaults().Guards}}
	f.Decode(&d)
	if d.APIVersion != APIVersion || d.Kind != Kind {
		at := "kind"
		if d.Kind == Kind {
			at = "apiVersion"
		}
		f.Problem(at, fmt.Sprintf("apiVersion: %s, kind: %s", APIVersion, Kind), "%s %s is not what is read here", orNone(d.APIVersion), orNone(d.Kind))
		return Policy{}
	}
	r := reader{f, &d.Spec}
	p := Policy{Namespace: d.Metadata.Namespace, Name: d.Metadata.Name}
	if p.Name == "" {
		f.Problem("metadata.name", "", "a name is missing")
	}
	p.Targets, p.Hostnames = r.targets()
	p.Signals = r.signals()
	p.Checks = r.healthChecks()
	p.Steer = steer.Policy{
		Rules: d.Spec.Rules, Guards: d.Spec.Guards, Weight: d.Spec.Weight, Selection: d.Spec.Selection,
		TTL: d.Spec.TTL, NegativeTTL: d.Spec.NegativeTTL, ChurnWindow: d.Spec.ChurnWindow,
	}
	r.names()
	r.steer(&p.Policy)
	return p
}

func orNone(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}
