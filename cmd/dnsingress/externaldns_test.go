// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
)

// testExternalDNS has external-dns itself write what it reads of Services, with each of its registries.
func testExternalDNS(t *testing.T, c *cluster, k client.Client) {
	binary := os.Getenv("EXTERNAL_DNS")
	if binary == "" {
		t.Skip("NOT TESTED with external-dns itself (hint: make test-external-dns)")
	}
	user, err := c.env.AddUser(envtest.User{Name: "everything", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, registry, note string // note is the one of web.apps.test; empty: none
		kept                 int    // objects that are not published
		more                 []string
	}{
		{"txt", "txt", "a-web.apps.test.", 4, nil}, // the notes of the apex and of the wildcard, of both families
		{"txt with names within the zone", "txt", "a-note.web.apps.test.", 0, []string{"--txt-prefix=%{record_type}-note.", "--txt-wildcard-replacement=_any"}},
		{"noop", "noop", "", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := c.namespace(t)
			// Its Services are external-dns's business here.
			i := c.runWith(t, c.kubeconfig, "", fmt.Sprintf("namespaces: [%s], sources: {services: {enabled: false}}", ns))
			w := startWebhook(t, webhookUser(t, c, ns, true), ns)
			e := externalDNS{t: t, binary: binary, args: append([]string{
				"--source=service", "--namespace=" + ns, "--kubeconfig=" + kubeconfig, "--provider=webhook", "--webhook-provider-url=" + w.url,
				"--registry=" + tt.registry, "--txt-owner-id=test", "--policy=sync", "--interval=1s", "--log-level=debug",
			}, tt.more...)}
			stop := e.start()
			names := []string{"apps.test", "web.apps.test", "*.wild.apps.test"} // the first one's note has a name beside the zone
			s := service(ns, "web", hostnameKey, strings.Join(names, ","), "external-dns.alpha.kubernetes.io/hostname", strings.Join(names, ","), "external-dns.alpha.kubernetes.io/ttl", "33")
			s.Spec.ClusterIP, s.Spec.Type = "", corev1.ServiceTypeLoadBalancer
			c.create(t, s)
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.7"}, {IP: "fd00::7"}}
			if err := c.admin.Status().Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"apps.test.", "web.apps.test.", "any.wild.apps.test."} {
				i.await(t, name, dns.TypeA, "192.0.2.7")
				i.await(t, name, dns.TypeAAAA, "fd00::7")
			}
			if r, err := i.ask("web.apps.test.", dns.TypeA); err != nil || r.Answer[0].Header().Ttl != 33 {
				t.Errorf("TTL: %v %v", r, err)
			}
			e.settled()
			if tt.note != "" {
				if r, err := i.ask(tt.note, dns.TypeTXT); err != nil || len(r.Answer) != 1 || !strings.Contains(r.Answer[0].String(), "external-dns/owner=test") {
					t.Errorf("the owner's note is not served: %v %v", r, err)
				}
			}
			var list externaldns.DNSEndpointList
			if err := k.List(t.Context(), &list, client.InNamespace(ns)); err != nil {
				t.Fatal(err)
			}
			kept := 0
			for _, o := range list.Items {
				if o.Annotations["external-dns.kubernetes.io/controller"] != "" {
					kept++
				}
			}
			if kept != tt.kept {
				t.Errorf("%d objects are kept and not published, want %d", kept, tt.kept)
			}
			versions := endpointVersions(t, k, ns)

			// Restarted, it finds what it wrote and writes nothing.
			stop()
			stop = e.start()
			e.settled()
			e.settled()
			if diff := cmp.Diff(versions, endpointVersions(t, k, ns)); diff != "" {
				t.Errorf("restarted, external-dns changed\n%s", diff)
			}

			// Another address.
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.8"}, {IP: "fd00::7"}}
			if err := c.admin.Status().Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			i.await(t, "web.apps.test.", dns.TypeA, "192.0.2.8")
			i.await(t, "web.apps.test.", dns.TypeAAAA, "fd00::7")

			// Deleted while external-dns is away.
			stop()
			c.delete(t, s)
			stop = e.start()
			i.await(t, "web.apps.test.", dns.TypeA, "NXDOMAIN")
			i.await(t, "any.wild.apps.test.", dns.TypeAAAA, "NXDOMAIN")
			untilNil(t, func() error {
				if left := endpointVersions(t, k, ns); len(left) > 0 {
					return fmt.Errorf("%v are left", left)
				}
				return nil
			})
			stop()
		})
	}
}

// externalDNS is a program that is started again and again.
type externalDNS struct {
	t      *testing.T
	binary string
	args   []string
	log    *settledLog
}

// settledLog says when external-dns has found nothing to do.
type settledLog struct {
	mu     sync.Mutex
	text   []byte
	signal chan struct{}
}

func (l *settledLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if bytes.Contains(p, []byte("All records are already up to date")) {
		select {
		case l.signal <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

func (l *settledLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text, []byte(text))
}

func (e *externalDNS) start() (stop func()) {
	e.t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		e.t.Fatal(err)
	}
	metrics := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, e.binary, append(e.args, "--metrics-address="+metrics)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log := &settledLog{signal: make(chan struct{})}
	e.log = log
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			gaveUp := log.has("level=fatal")
			cancel()
			_ = cmd.Wait() // by a signal, at which it may have been asking something
			if gaveUp || e.t.Failed() {
				e.t.Errorf("external-dns:\n%s", log.text)
			}
		})
	}
	e.t.Cleanup(stop)
	return stop
}

// settled waits for the next time that external-dns finds nothing to do.
func (e *externalDNS) settled() {
	e.t.Helper()
	select {
	case <-e.log.signal:
	case <-e.t.Context().Done():
		e.t.Fatal("external-dns goes on changing records")
	}
}
