// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/webhook"
)

// testWebhook writes records as external-dns does, into a real API server, and asks a dnsingress that watches it.
func testWebhook(t *testing.T, c *cluster) {
	records := endpointClient(t, c)
	ns := c.namespace(t)
	i := c.runWith(t, c.kubeconfig, "", fmt.Sprintf("namespaces: [%s]", ns))
	w := startWebhook(t, webhookUser(t, c, ns, true), ns)
	for _, tt := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"records", func(t *testing.T) { testWebhookRecords(t, records, i, w, ns) }},
		{"notes", func(t *testing.T) { testWebhookNotes(t, c, records, w, ns) }},
		{"in the way", func(t *testing.T) { testWebhookInTheWay(t, records, w, ns) }},
		{"at once", func(t *testing.T) { testWebhookAtOnce(t, c, records, w, ns) }},
		{"dry run", func(t *testing.T) { testWebhookDry(t, c, records, ns) }},
		{"no rights", func(t *testing.T) { testWebhookNoRights(t, c, ns) }},
		{"external-dns", func(t *testing.T) { testExternalDNS(t, c, records) }},
	} {
		t.Run(tt.name, tt.test)
	}
}

// endpointClient speaks of DNSEndpoints, which the API server then knows.
func endpointClient(t *testing.T, c *cluster) client.Client {
	t.Helper()
	if _, err := envtest.InstallCRDs(c.env.Config, envtest.CRDInstallOptions{ErrorIfPathMissing: true, Paths: []string{"testdata/crds/dnsendpoints.yaml"}}); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := externaldns.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	k, err := client.New(c.env.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// webhookUser is the way to the API server of external-dns's service account, with the rights that deploy/ gives it, or
// with none.
func webhookUser(t *testing.T, c *cluster, namespace string, rights bool) (kubeconfig string) {
	t.Helper()
	name := "nobody"
	if rights {
		name = "external-dns"
		manifests, err := os.ReadFile("../../deploy/dnsingress/webhook/rbac.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for doc := range bytes.SplitSeq(bytes.ReplaceAll(manifests, []byte("namespace: external-dns"), []byte("namespace: "+namespace)), []byte("\n---\n")) {
			o := map[string]client.Object{"Role": new(rbacv1.Role), "RoleBinding": new(rbacv1.RoleBinding)}
			var kind metav1.TypeMeta
			if err := yaml.Unmarshal(doc, &kind); err != nil {
				t.Fatal(err)
			}
			if err := yaml.UnmarshalStrict(doc, o[kind.Kind]); err != nil {
				t.Fatal(err)
			}
			c.create(t, o[kind.Kind])
		}
	}
	user, err := c.env.AddUser(envtest.User{Name: "system:serviceaccount:" + namespace + ":" + name, Groups: []string{"system:serviceaccounts", "system:authenticated"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// hook is a running `dnsingress webhook`.
type hook struct {
	url string
	out *logLines // what it printed
}

var listening = regexp.MustCompile(`listen=(\S+)`)

// startWebhook runs the command on a port of the system's choice.
func startWebhook(t *testing.T, kubeconfig, namespace string, more ...string) *hook {
	t.Helper()
	h := &hook{out: new(logLines)}
	logs, log := io.Pipe()
	root := command(nil, h.out, log)
	root.SetArgs(append([]string{"webhook", "--zone", "apps.test", "--listen", "[::1]:0", "--admin", "", "--kubeconfig", kubeconfig, "--namespace", namespace}, more...))
	ctx, stop := context.WithCancel(context.Background())
	ended, found := make(chan error, 1), make(chan string, 1)
	go func() {
		err := root.ExecuteContext(ctx)
		log.CloseWithError(io.EOF)
		ended <- err
	}()
	read := make(chan struct{})
	go func() {
		defer close(read)
		var text []byte
		part := make([]byte, 1<<12)
		for {
			n, err := logs.Read(part)
			text = append(text, part[:n]...)
			if m := listening.FindSubmatch(text); m != nil {
				select {
				case found <- string(m[1]):
				default:
				}
			}
			if err != nil {
				t.Logf("webhook:\n%s", text)
				return
			}
		}
	}()
	select {
	case address := <-found:
		h.url = "http://" + address
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		<-read
	})
	return h
}

// post gives status and body of the answer to a batch.
func (h *hook) post(t *testing.T, c *externaldns.Changes) (int, string) {
	t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post(h.url+"/records", webhook.MediaType, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// write has a batch written.
func (h *hook) write(t *testing.T, c *externaldns.Changes) {
	t.Helper()
	if status, text := h.post(t, c); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, text)
	}
}

// records are what external-dns reads.
func (h *hook) records(t *testing.T) []*externaldns.Endpoint {
	t.Helper()
	r, err := http.Get(h.url + "/records")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var all []*externaldns.Endpoint
	if err := json.NewDecoder(r.Body).Decode(&all); err != nil || r.StatusCode != http.StatusOK {
		t.Fatal(r.Status, err)
	}
	return all
}

// endpointVersions are the objects of a namespace, by name, as versions.
func endpointVersions(t *testing.T, k client.Client, namespace string) map[string]string {
	t.Helper()
	var list externaldns.DNSEndpointList
	if err := k.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, o := range list.Items {
		all[o.Name] = fmt.Sprint(o.UID, " ", o.Generation) // statuses are dnsingress's own business
	}
	return all
}

func endpoint(name, rtype string, targets ...string) *externaldns.Endpoint {
	return &externaldns.Endpoint{DNSName: name, RecordType: rtype, Targets: targets}
}

func testWebhookRecords(t *testing.T, k client.Client, i *instance, w *hook, ns string) {
	web := endpoint("web.apps.test", "AAAA", "fd00::1", "fd00::2")
	web.RecordTTL = 77
	web.Labels = map[string]string{"owner": "me", "resource": "service/shop/web"}
	blue, green := endpoint("choice.apps.test", "A", "192.0.2.1"), endpoint("choice.apps.test", "A", "192.0.2.2")
	blue.SetIdentifier, green.SetIdentifier = "blue", "green"
	blue.ProviderSpecific, green.ProviderSpecific = []externaldns.Property{{Name: "weight", Value: "0"}}, []externaldns.Property{{Name: "weight", Value: "1"}}
	all := []*externaldns.Endpoint{
		endpoint("*.apps.test", "A", "192.0.2.9"), endpoint("_sip._tcp.apps.test", "SRV", "1 2 5060 web.apps.test."),
		endpoint("aaaa-web.apps.test", "TXT", `"heritage=external-dns,external-dns/owner=me,external-dns/resource=service/shop/web"`),
		endpoint("alias.apps.test", "CNAME", "web.apps.test"), blue, green, endpoint("web.apps.test", "A", "192.0.2.3"), web,
	}
	batch := &externaldns.Changes{Create: all}
	w.write(t, batch)
	i.await(t, "web.apps.test.", dns.TypeAAAA, "fd00::1 fd00::2")
	i.await(t, "web.apps.test.", dns.TypeA, "192.0.2.3")
	i.await(t, "any.apps.test.", dns.TypeA, "192.0.2.9")
	i.await(t, "choice.apps.test.", dns.TypeA, "192.0.2.2")
	for name, want := range map[string]string{
		"_sip._tcp.apps.test.":  "1 2 5060 web.apps.test.",
		"aaaa-web.apps.test. T": `"heritage=external-dns,external-dns/owner=me,external-dns/resource=service/shop/web"`,
	} {
		qtype := dns.TypeSRV
		name, text := strings.CutSuffix(name, " T")
		if text {
			qtype = dns.TypeTXT
		}
		untilNil(t, func() error {
			r, err := i.ask(name, qtype)
			if err != nil {
				return err
			}
			if len(r.Answer) != 1 || !strings.HasSuffix(r.Answer[0].String(), want) {
				return fmt.Errorf("%s: %v", name, r.Answer)
			}
			return nil
		})
	}
	r, err := i.ask("web.apps.test.", dns.TypeAAAA)
	if err != nil || r.Answer[0].Header().Ttl != 77 {
		t.Errorf("the TTL is lost: %v %v", r, err)
	}
	if diff := cmp.Diff(all, w.records(t)); diff != "" {
		t.Errorf("what is read is not what was written:\n%s", diff)
	}
	versions := endpointVersions(t, k, ns)
	for _, name := range []string{"web.apps.test", "choice.apps.test", "alias.apps.test", "aaaa-web.apps.test"} {
		if versions[name] == "" {
			t.Errorf("no object is called %s: %v", name, versions)
		}
	}
	if len(versions) != 6 {
		t.Errorf("%d objects, want one a name: %v", len(versions), versions)
	}
	// The same again, as after an answer that got lost: nothing is written.
	w.write(t, batch)
	w.write(t, &externaldns.Changes{UpdateOld: all, UpdateNew: all})
	if diff := cmp.Diff(versions, endpointVersions(t, k, ns)); diff != "" {
		t.Errorf("a batch that changes nothing wrote:\n%s", diff)
	}
	// Another type at one name, and another address: one object each.
	next := endpoint("web.apps.test", "AAAA", "fd00::3")
	change := &externaldns.Changes{
		UpdateOld: []*externaldns.Endpoint{web}, UpdateNew: []*externaldns.Endpoint{next},
		Delete: []*externaldns.Endpoint{endpoint("alias.apps.test", "CNAME", "web.apps.test")}, Create: []*externaldns.Endpoint{endpoint("alias.apps.test", "A", "192.0.2.4")},
	}
	for range 2 {
		w.write(t, change)
		i.await(t, "web.apps.test.", dns.TypeAAAA, "fd00::3")
		i.await(t, "web.apps.test.", dns.TypeA, "192.0.2.3")
		i.await(t, "alias.apps.test.", dns.TypeA, "192.0.2.4")
	}
	gone := &externaldns.Changes{Delete: w.records(t)}
	for range 2 {
		w.write(t, gone)
		i.await(t, "web.apps.test.", dns.TypeAAAA, "NXDOMAIN")
		i.await(t, "any.apps.test.", dns.TypeA, "NXDOMAIN")
	}
	if left := endpointVersions(t, k, ns); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// Notes on names beside the zone, and on names that DNS does not have so, are kept without being published or complained of.
func testWebhookNotes(t *testing.T, c *cluster, k client.Client, w *hook, ns string) {
	notes := []*externaldns.Endpoint{endpoint("a-*.apps.test", "TXT", `"heritage=external-dns"`), endpoint("a-apps.test", "TXT", `"heritage=external-dns"`)}
	w.write(t, &externaldns.Changes{Create: notes})
	if diff := cmp.Diff(notes, w.records(t)); diff != "" {
		t.Error(diff)
	}
	var list externaldns.DNSEndpointList
	if err := k.List(t.Context(), &list, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Items {
		if o.Annotations["external-dns.kubernetes.io/controller"] != "dnsingress-webhook" {
			t.Errorf("%s would be published: %v", o.Name, o.Annotations)
		}
	}
	w.write(t, &externaldns.Changes{Delete: notes})
	if n := c.log.count("a-apps.test"); n > 0 {
		t.Errorf("notes were complained of %d times", n)
	}
}

// What others have written stays, and the batch says so; what it has to do beside is known.
func testWebhookInTheWay(t *testing.T, k client.Client, w *hook, ns string) {
	theirs := &externaldns.DNSEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "taken.apps.test"}, Spec: externaldns.DNSEndpointSpec{
		Endpoints: []*externaldns.Endpoint{endpoint("taken.apps.test", "A", "192.0.2.8")},
	}}
	if err := k.Create(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	batch := &externaldns.Changes{Create: []*externaldns.Endpoint{
		endpoint("taken.apps.test", "A", "192.0.2.1"), endpoint("free.apps.test", "A", "192.0.2.1"), endpoint("a-free.apps.test", "TXT", "note"),
	}}
	status, text := w.post(t, batch)
	if status != http.StatusInternalServerError || !strings.Contains(text, "2 of 3 objects are written") || !strings.Contains(text, "has no label dnsingress.dev/written-by=webhook") {
		t.Errorf("%d %s", status, text)
	}
	var now externaldns.DNSEndpoint
	if err := k.Get(t.Context(), client.ObjectKeyFromObject(theirs), &now); err != nil || now.Generation != theirs.Generation {
		t.Errorf("%v: generation %d, was %d", err, now.Generation, theirs.Generation)
	}
	if err := k.Delete(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	w.write(t, batch) // the rest
	if n := len(w.records(t)); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
	w.write(t, &externaldns.Changes{Delete: batch.Create})
}

// Two that write one object at the same time both get what they want.
func testWebhookAtOnce(t *testing.T, c *cluster, k client.Client, w *hook, ns string) {
	const names = 40
	other := startWebhook(t, webhookUserOf(t, c, ns), ns)
	batch := func(rtype, target string) *externaldns.Changes {
		var b externaldns.Changes
		for n := range names {
			b.Create = append(b.Create, endpoint(fmt.Sprintf("n%d.apps.test", n), rtype, target))
		}
		return &b
	}
	both := []*externaldns.Changes{batch("A", "192.0.2.1"), batch("AAAA", "fd00::1")}
	var wait sync.WaitGroup
	for n, h := range []*hook{w, other} {
		wait.Go(func() {
			// Where it loses too often it says so, and external-dns comes again.
			untilNil(t, func() error {
				if status, text := h.post(t, both[n]); status != http.StatusNoContent {
					return fmt.Errorf("%d %s", status, text)
				}
				return nil
			})
		})
	}
	wait.Wait()
	if n, objects := len(w.records(t)), len(endpointVersions(t, k, ns)); n != 2*names || objects != names {
		t.Errorf("%d records in %d objects, want %d in %d", n, objects, 2*names, names)
	}
	w.write(t, &externaldns.Changes{Delete: slices.Concat(both[0].Create, both[1].Create)})
}

func testWebhookDry(t *testing.T, c *cluster, k client.Client, ns string) {
	w := startWebhook(t, webhookUserOf(t, c, ns), ns, "--dry-run")
	w.write(t, &externaldns.Changes{Create: []*externaldns.Endpoint{endpoint("dry.apps.test", "A", "192.0.2.1")}})
	if want := "would create DNSEndpoint " + ns + "/dry.apps.test: dry.apps.test A 192.0.2.1\n"; w.out.count(want) != 1 {
		t.Errorf("it does not say %q: %q", want, w.out.lines)
	}
	if left := endpointVersions(t, k, ns); len(left) > 0 {
		t.Errorf("a dry run wrote %v", left)
	}
}

func testWebhookNoRights(t *testing.T, c *cluster, ns string) {
	w := startWebhook(t, webhookUser(t, c, ns, false), ns)
	status, text := w.post(t, &externaldns.Changes{Create: []*externaldns.Endpoint{endpoint("a.apps.test", "A", "192.0.2.1")}})
	if status != http.StatusInternalServerError || !strings.Contains(text, "hint: deploy/dnsingress/webhook has the Role") {
		t.Errorf("%d %s", status, text)
	}
}

// webhookUserOf is that of a namespace whose rights there are already.
func webhookUserOf(t *testing.T, c *cluster, namespace string) string {
	t.Helper()
	user, err := c.env.AddUser(envtest.User{Name: "system:serviceaccount:" + namespace + ":external-dns", Groups: []string{"system:authenticated"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
