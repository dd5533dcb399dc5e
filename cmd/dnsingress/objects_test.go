// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dnsingress/dnsingress/internal/cli"
)

// A scenario is testdata/objects/NAME.yaml: manifests, and beside it
//
//   - NAME.records, what `dnsingress records -f NAME.yaml` prints, with the flags that the manifests' line "# flags:" says;
//   - NAME.problems, what is wrong: a line KIND NAMESPACE/NAME: REASON: TEXT each, or "file: TEXT" of what only a file can
//     get wrong. Without the file nothing is wrong.
//
// The same is asked of a running dnsingress once the manifests are in a real API server. Lines "# config:" are added to its
// configuration of kubernetes, "# zones:" are the origins that it serves (default: the last labels of the records' names),
// "# ttl:" is their ttl.
type scenario struct {
	name     string
	path     string
	text     string
	records  []string
	problems []string
}

func scenarios(t *testing.T) []scenario {
	t.Helper()
	paths, err := filepath.Glob("testdata/objects/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal("no scenarios: ", err)
	}
	lines := func(path string) []string {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' })
	}
	var all []scenario
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		base := strings.TrimSuffix(path, ".yaml")
		all = append(all, scenario{filepath.Base(base), path, string(text), lines(base + ".records"), lines(base + ".problems")})
	}
	return all
}

// settings are the values of the scenario's comments of that name.
func (s scenario) settings(name string) (values []string) {
	for _, m := range regexp.MustCompile(`(?m)^# `+name+`: (.*)$`).FindAllStringSubmatch(s.text, -1) {
		values = append(values, m[1])
	}
	return values
}

// TestObjectsFromFiles prints each scenario's records.
func TestObjectsFromFiles(t *testing.T) {
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			args := []string{"records", "-f", s.path}
			for _, flags := range s.settings("flags") {
				args = append(args, strings.Fields(flags)...)
			}
			code := cli.Run(t.Context(), command(strings.NewReader(""), &out, &errs), args, &errs)
			got := strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' })
			if !slices.Equal(got, s.records) {
				t.Errorf("records are\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(s.records, "\n"))
			}
			for _, p := range s.problems {
				if !strings.Contains(errs.String(), strings.TrimPrefix(p, "file: ")) {
					t.Errorf("no problem %q among\n%s", p, errs.String())
				}
			}
			if len(s.problems) == 0 && errs.Len() > 0 {
				t.Errorf("unexpected problems:\n%s", errs.String())
			}
			if code == cli.ExitDone && out.Len() == 0 && errs.Len() == 0 {
				t.Error("nothing was published, and nothing was wrong")
			}
		})
	}
}

// testObjects puts each scenario into the API server and compares what is served with the scenario's records: all of it
// by a zone transfer, and options by asking.
func testObjects(t *testing.T, c *cluster) {
	gateway, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envtest.InstallCRDs(c.env.Config, envtest.CRDInstallOptions{ErrorIfPathMissing: true, Paths: []string{
		"testdata/crds", "../../deploy/dnsingress/crd.yaml", filepath.Join(strings.TrimSpace(string(gateway)), "config", "crd", "standard"),
	}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios(t) {
		t.Run(s.name, func(t *testing.T) { s.serve(t, c) })
	}
}

func (s scenario) serve(t *testing.T, c *cluster) {
	// A dnsingress that ended while it asked for the Lease of statuses has it until it expires: nobody waits for that here.
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "dnsingress", Name: "dnsingress-status"}}
	if err := client.IgnoreNotFound(c.admin.Delete(t.Context(), lease)); err != nil {
		t.Fatal(err)
	}
	namespaces := s.create(t, c)
	want := expected(t, s.records)
	// That nobody here knows host names outside is no news.
	problems := func() int { return c.log.count("object has a problem") - c.log.count("reason=Unresolved") }
	before := problems()
	i := c.configured(t, strings.ReplaceAll(s.config(want, namespaces), "KUBECONFIG", c.kubeconfig))
	select {
	case <-i.engine.Ready():
	case <-time.After(time.Minute):
		t.Fatal("not ready after a minute")
	}
	origins := i.origins()
	untilNil(t, func() error {
		got := map[rrset]map[string]bool{}
		for _, origin := range origins {
			if err := i.transferred(origin, got); err != nil {
				return err
			}
		}
		return differ(want, got)
	})
	for key, options := range want {
		untilNil(t, func() error { return i.answered(key, options) })
	}
	for _, p := range s.problems {
		if !strings.HasPrefix(p, "file: ") {
			untilNil(t, func() error { return c.told(t, p) })
		}
	}
	standing := s.standing(t)
	untilNil(t, func() error { return c.stands(t, standing) })
	if n := problems() - before; n > 0 && len(s.problems) == 0 {
		t.Errorf("%d problems that nobody expects", n)
	}
}

// create puts the scenario's objects, and their statuses, into the API server until the test ends.
func (s scenario) create(t *testing.T, c *cluster) (namespaces []string) {
	dec := yaml.NewYAMLOrJSONDecoder(strings.NewReader(s.text), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := dec.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return namespaces
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) == 0 {
			continue
		}
		mapping, err := c.admin.RESTMapper().RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
		if err != nil {
			t.Fatal(err)
		}
		if mapping.Scope.Name() == "namespace" {
			if o.GetNamespace() == "" {
				o.SetNamespace("default")
			}
			if ns := o.GetNamespace(); !slices.Contains(namespaces, ns) {
				namespaces = append(namespaces, ns)
				if err := c.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil && !apierrors.IsAlreadyExists(err) {
					t.Fatal(err)
				}
			}
		}
		if o.GetKind() == "Namespace" {
			c.label(t, o)
			continue
		}
		c.lend(t, o)
	}
}

// lend puts an object, with its status, into the API server until the test ends.
func (c *cluster) lend(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	status, has := o.Object["status"]
	c.create(t, o)
	t.Cleanup(func() {
		if err := c.admin.Delete(context.Background(), o); err != nil {
			t.Error(err)
		}
	})
	if has {
		o.Object["status"] = status
		if err := c.admin.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// label gives a namespace the labels that the manifest has; namespaces stay there.
func (c *cluster) label(t *testing.T, o *unstructured.Unstructured) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.GetName()}}
	if err := c.admin.Create(t.Context(), ns); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if err := c.admin.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); err != nil {
		t.Fatal(err)
	}
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	maps.Copy(ns.Labels, o.GetLabels())
	c.update(t, ns)
}

// rrset names the records of one type at one name.
type rrset struct{ name, rtype string }

// option is one record of a listing: what an answer shows of it, and for whom it is.
type option struct {
	rr     string // TTL and data
	geo    string
	weight string
}

// expected are the records of a listing.
func expected(t *testing.T, lines []string) map[rrset][]option {
	t.Helper()
	want := map[rrset][]option{}
	for _, line := range lines {
		if strings.HasPrefix(line, ";") { // addresses of a host name outside, which nobody here knows
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		_, comment, _ := strings.Cut(line, " ; ")
		o := option{rr: shown(rr)}
		for note := range strings.SplitSeq(comment, ", ") {
			switch key, value, _ := strings.Cut(note, " "); key {
			case "geo":
				o.geo = value
			case "weight":
				o.weight = value
			}
		}
		key := rrset{rr.Header().Name, dns.Type(rr.Header().Rrtype).String()}
		want[key] = append(want[key], o)
	}
	return want
}

// shown is what is compared of a record.
func shown(rr dns.RR) string {
	return fmt.Sprintf("%d %s", rr.Header().Ttl, strings.TrimPrefix(rr.String(), rr.Header().String()))
}

// places are where the clients of each place ask from.
func places() map[string]string {
	return map[string]string{"IE": "2001:db8:1::/48", "AU": "2001:db8:2::/48", "US": "2001:db8:3::/48", "GEO-EU": "2001:db8:4::/48", "GEO-NA": "2001:db8:5::/48"}
}

// config is the configuration that serves the names.
func (s scenario) config(want map[rrset][]option, namespaces []string) string {
	var origins []string
	for _, zones := range s.settings("zones") {
		origins = append(origins, strings.Fields(zones)...)
	}
	for key := range want {
		if labels := dns.SplitDomainName(key.name); len(s.settings("zones")) == 0 && !slices.Contains(origins, labels[len(labels)-1]+".") {
			origins = append(origins, labels[len(labels)-1]+".")
		}
	}
	if len(origins) == 0 {
		origins = []string{"test."}
	}
	slices.Sort(origins)
	var b strings.Builder
	b.WriteString("zones:\n")
	for _, o := range origins {
		fmt.Fprintf(&b, "  - {origin: %s, nameservers: [{name: ns.served.example}], ttl: %s, maxAnswers: 0, transfer: {allow: [\"::1\"]}}\n", o, cmp.Or(slices.Concat(s.settings("ttl"), []string{"5s"})...))
	}
	b.WriteString("listen: [\"[::1]:0\"]\nadmin: \"[::1]:0\"\nlameDuck: 0s\n")
	fmt.Fprintf(&b, "kubernetes:\n  kubeconfig: KUBECONFIG\n  namespaces: [%s]\n", strings.Join(namespaces, ", "))
	for _, line := range s.settings("config") {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	b.WriteString("dns:\n  locations:\n")
	for _, place := range slices.Sorted(maps.Keys(places())) {
		fmt.Fprintf(&b, "    %q: %s\n", places()[place], place)
	}
	return b.String()
}

func (i *instance) origins() (origins []string) {
	for _, z := range i.daemon.config.Zones {
		origins = append(origins, z.Origin)
	}
	return origins
}

// transferred adds the records of a zone, its own aside.
func (i *instance) transferred(origin string, got map[rrset]map[string]bool) error {
	m := new(dns.Msg)
	m.SetAxfr(origin)
	envelopes, err := new(dns.Transfer).In(m, i.dns.Addrs()[0].String())
	if err != nil {
		return err
	}
	for e := range envelopes {
		if e.Error != nil {
			return e.Error
		}
		for _, rr := range e.RR {
			h := rr.Header()
			if ns, ok := rr.(*dns.NS); h.Rrtype == dns.TypeSOA || ok && h.Name == origin && ns.Ns == "ns.served.example." {
				continue
			}
			if h.Rrtype == 65281 { // a name that exists without data (docs/transfer.md)
				continue
			}
			key := rrset{h.Name, dns.Type(h.Rrtype).String()}
			if got[key] == nil {
				got[key] = map[string]bool{}
			}
			got[key][shown(rr)] = true
		}
	}
	return nil
}

// differ says where what is served is other than what is wanted. Of CNAMEs a transfer shows one option alone.
func differ(want map[rrset][]option, got map[rrset]map[string]bool) error {
	var errs []error
	for key, options := range want {
		shown := map[string]bool{}
		for _, o := range options {
			shown[o.rr] = true
		}
		if key.rtype == "CNAME" && len(options) > 1 && len(got[key]) == 1 {
			for rr := range got[key] {
				if !shown[rr] {
					errs = append(errs, fmt.Errorf("%s %s is served as %s", key.name, key.rtype, rr))
				}
			}
		} else if !maps.Equal(shown, got[key]) {
			errs = append(errs, fmt.Errorf("%s %s is served as %v, want %v", key.name, key.rtype, slices.Sorted(maps.Keys(got[key])), slices.Sorted(maps.Keys(shown))))
		}
	}
	for key, rrs := range got {
		if want[key] == nil {
			errs = append(errs, fmt.Errorf("%s %s is served, which nobody wants: %v", key.name, key.rtype, slices.Sorted(maps.Keys(rrs))))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// answered asks for a set from everywhere until each option has been seen that is for the client, and no other.
func (i *instance) answered(key rrset, options []option) error {
	from := map[string]string{"": "2001:db8:ffff::/48"}
	for _, o := range options {
		if subnet, ok := places()[o.geo]; ok {
			from[o.geo] = subnet
		}
	}
	for place, subnet := range from {
		missing := map[string]bool{}
		for _, o := range options {
			if o.weight != "0" && (o.geo == place || o.geo == "" || o.geo == "*" && place == "") {
				missing[o.rr] = true
			}
		}
		allowed := maps.Clone(missing)
		for n := 0; len(missing) > 0 && n < 2000; n++ {
			rrs, err := i.from(subnet, key)
			if err != nil {
				return err
			}
			for _, rr := range rrs {
				if !allowed[rr] {
					return fmt.Errorf("from %q (%s) %s %s is %s, which is not for it: %v", place, subnet, key.name, key.rtype, rr, slices.Sorted(maps.Keys(allowed)))
				}
				delete(missing, rr)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("from %q (%s) %s %s is never %v", place, subnet, key.name, key.rtype, slices.Sorted(maps.Keys(missing)))
		}
	}
	return nil
}

// from asks as a client somewhere in a /48.
func (i *instance) from(subnet string, key rrset) (rrs []string, err error) {
	address := netip.MustParsePrefix(subnet).Addr().As16()
	address[6], address[7] = byte(rand.IntN(256)), byte(rand.IntN(256))
	m := new(dns.Msg)
	m.SetQuestion(key.name, dns.StringToType[key.rtype])
	m.SetEdns0(4096, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: 64, Address: address[:]}}
	exchange := dns.Client{Timeout: 5 * time.Second, Net: "tcp"}
	r, _, err := exchange.Exchange(m, i.dns.Addrs()[0].String())
	if err != nil {
		return nil, err
	}
	for _, rr := range append(r.Answer, r.Ns...) { // a delegation is told of as such
		if rr.Header().Name == key.name && rr.Header().Rrtype == m.Question[0].Qtype {
			rrs = append(rrs, shown(rr))
		}
	}
	if len(rrs) == 0 {
		return nil, fmt.Errorf("%s %s: %s", key.name, key.rtype, dns.RcodeToString[r.Rcode])
	}
	return rrs, nil
}

// told reports whether an event tells of a problem, written as in a scenario.
func (c *cluster) told(t *testing.T, problem string) error {
	object, rest, _ := strings.Cut(problem, ": ")
	kind, key, _ := strings.Cut(object, " ")
	key, _, _ = strings.Cut(key, " (")
	namespace, name, namespaced := strings.Cut(strings.TrimSpace(key), "/")
	if !namespaced {
		namespace, name = "", namespace
	}
	reason, text, _ := strings.Cut(rest, ": ")
	var events corev1.EventList
	if err := c.admin.List(t.Context(), &events, client.InNamespace(cmp.Or(namespace, "default"))); err != nil {
		return err
	}
	var seen []string
	for _, e := range events.Items {
		if e.InvolvedObject.Kind != kind || e.InvolvedObject.Name != name {
			continue
		}
		if e.Reason == reason && strings.Contains(e.Message, text) {
			return nil
		}
		seen = append(seen, e.Reason+": "+e.Message)
	}
	return fmt.Errorf("no event %s of %s %s, only %q", rest, kind, key, seen)
}
