// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/statustest"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

var update = flag.Bool("update", false, "write testdata/*.txt anew")

// manifests are shared with the tests of the command, which ask a real API server and a DNS server.
const manifests = "../../../testdata/objects"

// storeOf is a View over the manifests of a file.
func storeOf(t *testing.T, path string) *Store {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	store := NewStore()
	reader := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(data)))
	for {
		doc := make([]byte, len(data))
		n, err := reader.Read(doc)
		if errors.Is(err, io.EOF) {
			return store
		}
		if err != nil {
			t.Fatal(err)
		}
		var head metav1.TypeMeta
		if err := yaml.Unmarshal(doc[:n], &head); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if head.Kind == "" {
			continue
		}
		kind, ok := KindOf(Name(head.Kind))
		if !ok {
			t.Fatalf("%s: kind %q is unknown", path, head.Kind)
		}
		o := kind.New()
		if err := yaml.UnmarshalStrict(doc[:n], o); err != nil {
			t.Fatalf("%s: %s: %v", path, head.Kind, err)
		}
		if o.GetNamespace() == "" && !kind.Cluster {
			o.SetNamespace("default")
		}
		o.SetGeneration(3)
		store.Put(kind.Name, kind.Keep(o, &Settings{Prefixes: defaults()}))
	}
}

// describe tells all that a pool publishes.
func describe(p *model.Pool, out io.Writer) {
	fmt.Fprintf(out, "pool %s\n", p.Ref)
	ttl := func(t *uint32) string {
		if t == nil {
			return ""
		}
		return fmt.Sprintf(" ttl=%d", *t)
	}
	if len(p.Hosts) > 0 {
		fmt.Fprintf(out, "  hosts %s%s\n", strings.Join(p.Hosts, " "), ttl(p.TTL))
	}
	for i, port := range p.Ports {
		fmt.Fprintf(out, "  port %d %s/%s scheme=%q alpn=%s\n", i, port.Name, port.Protocol, port.Scheme, strings.Join(port.ALPN, ","))
	}
	for i, g := range p.Groups {
		fmt.Fprintf(out, "  group %d %s weight=%d\n", i, g.Name, g.Weight)
	}
	for _, m := range p.Members {
		fmt.Fprintf(out, "  member %s pod=%s group=%d ports=%v\n", m.Address, m.Pod, m.Group, m.Ports)
	}
	for _, set := range p.Records {
		for _, r := range set.Records {
			fmt.Fprintf(out, "  record %s %s %s%s", set.Name, dns.TypeToString[set.Type], r.Data, ttl(set.TTL))
			if r.Follow != "" {
				fmt.Fprintf(out, " follow=%s", r.Follow)
			}
			if r.Set != "" {
				fmt.Fprintf(out, " set=%s", r.Set)
			}
			fmt.Fprintln(out)
		}
	}
	describeProblems(p.Problems, out)
}

func describeProblems(problems []model.Problem, out io.Writer) {
	for _, p := range problems {
		notice := ""
		if p.Notice {
			notice = " (notice)"
		}
		fmt.Fprintf(out, "  problem %s%s at %s: %s\n", p.Reason, notice, p.Path, p.Message)
	}
}

// standingOf is a standing in which nothing was found but what the translation found.
func standingOf(r Result) Standing {
	x := Standing{Outcome: r.Outcome, Now: metav1.Unix(1700000000, 0)}
	for _, p := range r.Problems {
		x.Problems = append(x.Problems, PartProblem{Problem: p})
	}
	for _, pool := range r.Pools {
		for _, p := range pool.Problems {
			x.Problems = append(x.Problems, PartProblem{Part: pool.Ref.Part, Problem: p})
		}
	}
	return x
}

var described = []Name{GatewayClass, Gateway, HTTPRoute, GRPCRoute, TLSRoute, Ingress}

// TestManifests: from manifests to all that they publish, and to all conditions.
func TestManifests(t *testing.T) {
	var files []string
	for _, pattern := range []string{"gateway-*.yaml", "route-*.yaml", "ingress-*.yaml"} {
		found, err := filepath.Glob(filepath.Join(manifests, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		t.Fatal("no manifests")
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			store := storeOf(t, file)
			settings := &Settings{Prefixes: defaults(), Check: checkExpr}
			var out strings.Builder
			for _, kindName := range described {
				kind, _ := KindOf(kindName)
				for _, o := range store.All(kindName) {
					before := o.DeepCopyObject()
					result := kind.Translate(o, store, settings)
					x := standingOf(result)
					fmt.Fprintf(&out, "%s %s\n", kindName, strings.TrimPrefix(Key(o.GetNamespace(), o.GetName()), "/"))
					describeProblems(result.Problems, &out)
					for _, pool := range result.Pools {
						describe(&pool, &out)
					}
					for _, part := range slices.Sorted(maps.Keys(result.Targets)) {
						fmt.Fprintf(&out, "  steered with %v\n", result.Targets[part])
					}
					if diff := cmp.Diff(before, o.DeepCopyObject()); diff != "" {
						t.Errorf("%s: the translation changes its object: %s", kindName, diff)
					}
					if kind.Status == nil {
						continue
					}
					status := kind.Status(o, x)
					for _, line := range statustest.Lines(status, DefaultController) {
						fmt.Fprintln(&out, line)
					}
					// What was written is what is wanted: nothing is written again, and times stay.
					x.Now = metav1.Unix(1800000000, 0)
					if diff := cmp.Diff(status, kind.Status(status, x)); diff != "" {
						t.Errorf("%s: the status is never at rest: %s", kindName, diff)
					}
				}
			}
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("%s is other than expected (hint: go test -update writes it anew): %s", golden, diff)
			}
		})
	}
}
