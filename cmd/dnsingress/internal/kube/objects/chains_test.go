// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/record"
)

var testPrefixes = Prefixes{Hostname: []string{"external-dns.kubernetes.io/", "external-dns.alpha.kubernetes.io/"}, Policy: "dnsingress.dev/"}

// load stores manifests as a cluster would have them.
func load(t *testing.T, manifests string) *Store {
	t.Helper()
	store := NewStore()
	for i, doc := range bytes.Split([]byte(manifests), []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatal(err)
		}
		n := slices.IndexFunc(Kinds(), func(k Kind) bool { return k.GVK() == schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind) })
		if n < 0 {
			t.Fatalf("document %d is a %s of %s", i, kind.Kind, kind.APIVersion)
		}
		k := Kinds()[n]
		o := k.New()
		if err := yaml.UnmarshalStrict(doc, o); err != nil {
			t.Fatalf("document %d: %v", i, err)
		}
		if o.GetNamespace() == "" && !k.Cluster {
			o.SetNamespace("default")
		}
		store.Put(k.Name, o)
	}
	return store
}

// publications are what all objects of a store together publish, and what is wrong, a line each.
func publications(t *testing.T, store *Store, s *Settings) string {
	t.Helper()
	var records, problems []string
	for _, k := range Kinds() {
		if k.Translate == nil {
			continue
		}
		for _, o := range storedObjects(store, k.Name) {
			result := k.Translate(o, store, s)
			told := result.Problems
			for _, p := range result.Pools {
				_, sets, more := record.Check(&p, s.Origins)
				told = append(append(told, p.Problems...), more...)
				for _, set := range sets {
					records = append(records, lines(set)...)
				}
			}
			for _, p := range told {
				notice := ""
				if p.Notice {
					notice = "(notice) "
				}
				problems = append(problems, fmt.Sprintf("! %s: %s%s: %s", Ref(o, k.Name, ""), notice, strings.TrimPrefix(p.Path+" "+p.Reason, " "), p.Message))
			}
		}
	}
	slices.Sort(records)
	slices.Sort(problems)
	return strings.Join(append(records, problems...), "\n") + "\n"
}

// storedObjects are the objects of a kind, in order.
func storedObjects(store *Store, kind Name) (all []client.Object) {
	for _, o := range store.kinds[kind].objects {
		all = append(all, o)
	}
	slices.SortFunc(all, byName)
	return all
}

func lines(set model.RecordSet) (out []string) {
	for _, r := range set.Records {
		ttl := "-"
		if set.TTL != nil {
			ttl = fmt.Sprint(*set.TTL)
		}
		line := fmt.Sprintf("%s %s %s %s", set.Name, ttl, dns.Type(set.Type), r.Data)
		if r.Follow != "" {
			line += "addresses of " + r.Follow
		}
		if r.Geo != "" {
			line += " geo=" + r.Geo
		}
		if r.Weight != nil {
			line += fmt.Sprintf(" weight=%d", *r.Weight)
		}
		if r.Set != "" {
			line += " set=" + r.Set
		}
		if set.Stable {
			line += " stable"
		}
		out = append(out, line)
	}
	return out
}

// TestChains translates the manifests of testdata/chains: NAME.yaml gives NAME.txt, as they are published, and
// NAME.collapsed.txt, where there is one, with collapsed chains. The first line of a manifest may say which zones there are:
// "# origins: example.com.".
func TestChains(t *testing.T) {
	files, err := filepath.Glob("testdata/chains/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			manifests, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &Settings{Prefixes: testPrefixes}
			if first, _, _ := strings.Cut(string(manifests), "\n"); strings.HasPrefix(first, "# origins:") {
				s.Origins = strings.Fields(strings.TrimPrefix(first, "# origins:"))
			}
			for _, mode := range []string{"publish", "collapse"} {
				golden := strings.TrimSuffix(file, ".yaml") + map[string]string{"publish": ".txt", "collapse": ".collapsed.txt"}[mode]
				want, err := os.ReadFile(golden)
				if os.IsNotExist(err) && mode == "collapse" {
					continue
				}
				s.Chains = mode
				got := publications(t, load(t, string(manifests)), s)
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("%s (- want, + got):\n%s", mode, diff)
				}
			}
		})
	}
}
