// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
)

// auditPolicy has the API server write down what dnsingress asks of it.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["system:serviceaccount:dnsingress:dnsingress"]
  - level: None
`

// audited is where the API server is told to write, and what.
func audited(t testing.TB) (policy, log string) {
	t.Helper()
	dir := t.TempDir()
	policy, log = filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "audit.log")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	return policy, log
}

// request is one that dnsingress made of the API server, as that wrote it down.
type request struct {
	Stage, Verb, RequestURI string
	ObjectRef               struct{ APIGroup, Resource, Subresource, Namespace, Name string }
	ResponseStatus          struct{ Code int }
}

func (r request) String() string {
	return fmt.Sprintf("%s %s%s %s/%s: %d", r.Verb, r.ObjectRef.Resource, strings.TrimSuffix("/"+r.ObjectRef.Subresource, "/"), r.ObjectRef.Namespace, r.ObjectRef.Name, r.ResponseStatus.Code)
}

// requests are all that dnsingress has made, those with a watch when that began.
func (c *cluster) requests(t testing.TB) []request {
	t.Helper()
	f, err := os.Open(c.auditLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []request
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil { // a last line that is still being written
			return all
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("audit log: %v: %s", err, line)
		}
		if (r.Stage == "ResponseStarted") == (r.Verb == "watch") {
			all = append(all, r)
		}
	}
}

// awaitQuiet returns how many requests dnsingress has made once it has made none for a while.
func (c *cluster) awaitQuiet(t testing.TB, quiet time.Duration) int {
	t.Helper()
	n, since := -1, time.Now()
	untilNil(t, func() error {
		if now := len(c.requests(t)); now != n {
			n, since = now, time.Now()
		}
		if time.Since(since) < quiet {
			return errors.New("dnsingress still asks the API server for something")
		}
		return nil
	})
	return n
}

// TestRightsAreLeast: what deploy/ lets dnsingress do is what its kinds need, and nothing else.
func TestRightsAreLeast(t *testing.T) {
	wanted := map[string]bool{
		"list apiextensions.k8s.io/customresourcedefinitions": true, "watch apiextensions.k8s.io/customresourcedefinitions": true,
		"create /events":                    true,
		"get /namespaces kube-system":       true,
		"create coordination.k8s.io/leases": true, "get coordination.k8s.io/leases dnsingress-status": true, "update coordination.k8s.io/leases dnsingress-status": true,
	}
	for _, k := range objects.Kinds() {
		for _, verb := range []string{"list", "watch"} {
			wanted[fmt.Sprintf("%s %s/%s", verb, k.Version.Group, k.Resource)] = true
		}
		if k.Status != nil || k.Name == objects.SteeringPolicy {
			wanted[fmt.Sprintf("patch %s/%s/status", k.Version.Group, k.Resource)] = true
		}
	}
	data, err := os.ReadFile("../../deploy/dnsingress/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	granted := map[string]bool{}
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(doc), &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						granted[strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", verb, group, resource, strings.Join(rule.ResourceNames, ",")))] = true
					}
				}
			}
		}
	}
	for right := range wanted {
		if !granted[right] {
			t.Errorf("rbac.yaml does not grant: %s", right)
		}
	}
	for right := range granted {
		if !wanted[right] {
			t.Errorf("rbac.yaml grants what nothing needs: %s", right)
		}
	}
}

// testRights looks whether anything that dnsingress asked for until now was more than it may.
func testRights(t *testing.T, c *cluster) {
	all := c.requests(t)
	if len(all) < 10 {
		t.Fatalf("only %d requests were written down", len(all))
	}
	used, got := map[string]int{}, map[string]bool{}
	of := func(r request) string {
		verb := r.Verb
		if verb == "list" { // a list may be watched, too
			verb = "watch"
		}
		return verb + " " + r.ObjectRef.Resource + "/" + r.ObjectRef.Subresource
	}
	for _, r := range all {
		used[r.Verb]++
		got[of(r)] = got[of(r)] || r.ResponseStatus.Code < 400
	}
	for _, r := range all { // an API server that has just started refuses for a moment what it gives otherwise
		if r.ResponseStatus.Code == 403 && !got[of(r)] {
			t.Errorf("denied: %s", r)
		}
	}
	var verbs []string
	for v, n := range used {
		verbs = append(verbs, fmt.Sprintf("%s %d", v, n))
	}
	slices.SortFunc(verbs, cmp.Compare[string])
	t.Logf("requests: %s", strings.Join(verbs, ", "))
}
