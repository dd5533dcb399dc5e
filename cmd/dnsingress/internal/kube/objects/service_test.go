// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

func defaults() Prefixes {
	return Prefixes{Hostname: []string{"external-dns.kubernetes.io/", "external-dns.alpha.kubernetes.io/"}, Policy: "dnsingress.dev/"}
}

func checkExpr(expr string) error {
	if strings.Contains(expr, "bad") {
		return errors.New("1:1: parse error")
	}
	return nil
}

func settings() *Settings { return &Settings{Prefixes: defaults(), Check: checkExpr} }

// translated is the one pool that a Service with these slices gives, or nil, and when it changed.
func translated(svc *corev1.Service, endpoints ...*discoveryv1.EndpointSlice) (*model.Pool, time.Time) {
	v := NewStore()
	for name, addresses := range map[string][]corev1.NodeAddress{
		"n1": {{Type: corev1.NodeInternalIP, Address: "2001:db8:0:1::1"}, {Type: corev1.NodeExternalIP, Address: "2001:db8::1"}, {Type: corev1.NodeInternalIP, Address: "10.0.0.1"}},
		"n2": {{Type: corev1.NodeInternalIP, Address: "2001:db8:0:1::2"}, {Type: corev1.NodeHostName, Address: "n2"}},
	} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Addresses: addresses}}
		v.Put(Node, keepNode(n, nil))
	}
	for _, s := range endpoints {
		v.Put(EndpointSlice, keepSlice(s, settings()))
	}
	r := translateService(svc, v, settings())
	if len(r.Pools) == 0 && len(r.Problems) == 0 {
		return nil, r.Triggered
	} else if len(r.Pools) == 0 {
		return &model.Pool{Problems: r.Problems}, r.Triggered
	}
	pool := r.Pools[0]
	pool.Problems = slices.Concat(pool.Problems, r.Problems)
	return &pool, r.Triggered
}

// sliceMeta is that of a slice of the Service shop/web.
func sliceMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}
}

// show prints a pool in one line a fact.
func show(p *model.Pool) string {
	if p == nil {
		return "none"
	}
	out := "hosts " + strings.Join(p.Hosts, " ")
	if p.TTL != nil {
		out += fmt.Sprintf("\nttl %d", *p.TTL)
	}
	if p.MaxAnswers != 0 {
		out += fmt.Sprintf("\nmax %d", p.MaxAnswers)
	}
	for _, m := range p.Members {
		out += fmt.Sprintf("\n%s pod=%s node=%s ready=%t serving=%t terminating=%t", m.Address, m.Pod, m.Node, m.Ready, m.Serving, m.Terminating)
		if m.Zone != "" {
			out += " zone=" + m.Zone
		}
		if slices.ContainsFunc(m.Ports, func(p uint16) bool { return p != 0 }) {
			out += fmt.Sprint(" ports=", m.Ports)
		}
	}
	for _, port := range p.Ports {
		out += fmt.Sprintf("\nport %s/%s %s %v", port.Name, port.Protocol, port.Scheme, port.ALPN)
	}
	for _, set := range p.Records {
		out += fmt.Sprintf("\n%s %s", set.Name, dns.TypeToString[set.Type])
		for _, r := range set.Records {
			out += " " + r.Data
			if r.Follow != "" {
				out += "-> " + r.Follow
			}
			if r.Set != "" {
				out += " (" + r.Set + ")"
			}
		}
	}
	if q := p.Policy; q != nil {
		out += fmt.Sprintf("\npolicy %s every %v keep %s readmit %s min %d nodata %q hold %v step %g votes %d out %g share %g",
			q.Signals[0].Query, q.Signals[0].Interval, q.Steer.Rules[0].Keep, q.Steer.Rules[0].Readmit, q.Steer.Guards.MinMembers, q.Steer.Guards.NoData, q.Steer.Guards.Hold, q.Steer.Guards.MaxStep,
			q.Steer.Guards.Votes, q.Steer.Guards.MaxOut, q.Steer.Guards.MinShare)
	}
	if p.KeepPolicy {
		out += "\nkeep policy"
	}
	for _, problem := range p.Problems {
		out += "\n" + problem.Reason + " " + problem.Message
	}
	return out
}

func TestTranslate(t *testing.T) {
	const web = "metadata: {name: web, namespace: shop, annotations: {external-dns.kubernetes.io/hostname: web.test}}\n"
	annotated := func(annotations string) string {
		return "metadata: {name: web, namespace: shop, annotations: {external-dns.kubernetes.io/hostname: web.test, " + annotations + "}}\n"
	}
	for _, c := range []struct {
		name, service string
		slices        []string
		want          string
	}{
		{"no annotation", "metadata: {name: web, namespace: shop}", nil, "none"},
		{"for another controller", annotated("external-dns.kubernetes.io/controller: other"), nil, "none"},
		{"for us by name", annotated("external-dns.kubernetes.io/controller: dns-controller"), nil, "hosts web.test."},
		{
			"older prefix, several names",
			"metadata: {name: web, namespace: shop, annotations: {external-dns.alpha.kubernetes.io/hostname: 'A.test,b.test. , a.TEST, *.c.test'}}",
			nil,
			"hosts a.test. b.test. *.c.test.",
		},
		{"newer prefix wins", annotated("external-dns.alpha.kubernetes.io/hostname: old.test"), nil, "hosts web.test."},
		{
			"bad names", "metadata: {name: web, namespace: shop, annotations: {external-dns.kubernetes.io/hostname: 'a..test,ü.test,ok.test,a*.test,-a.test'}}", nil,
			"hosts ok.test.\nInvalidHostname annotation external-dns.kubernetes.io/hostname: \"a..test\" is no host name",
		},
		{"no name at all", "metadata: {name: web, namespace: shop, annotations: {external-dns.kubernetes.io/hostname: ' ,'}}", nil, "hosts \nInvalidHostname annotation external-dns.kubernetes.io/hostname names no host"},
		{"ttl in seconds", annotated("external-dns.kubernetes.io/ttl: '60'"), nil, "hosts web.test.\nttl 60"},
		{"ttl as duration", annotated("external-dns.kubernetes.io/ttl: 2m"), nil, "hosts web.test.\nttl 120"},
		{"ttl too large", annotated("external-dns.kubernetes.io/ttl: '2147483648'"), nil, "hosts web.test.\nInvalidTTL annotation external-dns.kubernetes.io/ttl: \"2147483648\" is no TTL"},
		{"ttl negative", annotated("external-dns.kubernetes.io/ttl: -5s"), nil, "InvalidTTL"},
		{"ttl of half a second", annotated("external-dns.kubernetes.io/ttl: 500ms"), nil, "InvalidTTL"},
		{"all answers", annotated("dnsingress.dev/max-answers: '0'"), nil, "hosts web.test.\nmax -1"},
		{"two answers", annotated("dnsingress.dev/max-answers: '2'"), nil, "hosts web.test.\nmax 2"},
		{"external name", web + "spec: {type: ExternalName, externalName: x.test}", nil, "hosts \nweb.test. CNAME x.test."},
		{"external name that is an address", web + "spec: {type: ExternalName, externalName: 192.0.2.1}", nil, "hosts \nweb.test. A 192.0.2.1"},
		{
			"targets", annotated("external-dns.kubernetes.io/target: '2001:db8::1, 192.0.2.1', external-dns.kubernetes.io/ttl: 1m, external-dns.kubernetes.io/set-identifier: eu"), nil,
			"ttl 60\nweb.test. AAAA 2001:db8::1 (eu)\nweb.test. A 192.0.2.1 (eu)",
		},
		{"a target that is none", annotated("external-dns.kubernetes.io/target: 'a b'"), nil, "hosts web.test.\nInvalidTarget target \"a b\" is neither"},
		{"unknown service-target", annotated("dnsingress.dev/service-target: pod"), nil, `InvalidTarget annotation dnsingress.dev/service-target: "pod" is unknown (hint: pods or status)`},
		{
			"status: addresses and a host name", annotated("dnsingress.dev/service-target: status") + "spec: {type: LoadBalancer}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.9}, {ip: '2001:db8::9'}, {hostname: lb.example.}]}}", nil,
			"hosts \nweb.test. AAAA 2001:db8::9 -> lb.example.\nweb.test. A 192.0.2.9 -> lb.example.",
		},
		{"status: external addresses go before it", annotated("dnsingress.dev/service-target: status") + "spec: {type: LoadBalancer, externalIPs: [192.0.2.8]}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}", nil, "hosts \nweb.test. A 192.0.2.8"},
		{"status: not yet", annotated("dnsingress.dev/service-target: status") + "spec: {type: LoadBalancer}", nil, "hosts web.test."},
		{"status of a ClusterIP", annotated("dnsingress.dev/service-target: status") + "spec: {type: ClusterIP, clusterIP: 10.0.0.1}", nil, "hosts \nNoTarget a Service of type ClusterIP has no status"},
		{"status of a headless one: its endpoints", annotated("dnsingress.dev/service-target: status") + "spec: {clusterIP: None}", []string{`{addressType: IPv6, endpoints: [{addresses: ["fd00::1"]}]}`}, "hosts web.test.\nfd00::1 pod="},
		{
			"internal names: cluster addresses", "metadata: {name: web, annotations: {external-dns.kubernetes.io/internal-hostname: in.test}}\nspec: {clusterIP: 'fd01::1', clusterIPs: ['fd01::1', 10.0.0.1]}", nil,
			"hosts \nin.test. AAAA fd01::1\nin.test. A 10.0.0.1",
		},
		{
			"pods with names of their own", annotated("external-dns.kubernetes.io/ttl: '7'") + "spec: {clusterIP: None}",
			[]string{`{addressType: IPv6, endpoints: [{addresses: ["fd00::1"], hostname: web-0}, {addresses: ["fd00::2"], hostname: web-1, conditions: {ready: false}}]}`, `{addressType: IPv4, endpoints: [{addresses: [10.0.0.1], hostname: web-0}]}`},
			"\nweb-0.web.test. AAAA fd00::1\nweb-0.web.test. A 10.0.0.1",
		},
		{
			"hints", web,
			[]string{`{addressType: IPv6, endpoints: [
			{addresses: ["fd00::1"], zone: a, hints: {forZones: [{name: b}]}}, {addresses: ["fd00::2"], zone: a, hints: {forZones: [{name: b}, {name: a}]}}]}`},
			"fd00::1 pod= node= ready=true serving=true terminating=false zone=b\nfd00::2 pod= node= ready=true serving=true terminating=false zone=a",
		},
		{
			"ports", web + "spec: {ports: [{name: WEB, port: 443, appProtocol: https}, {name: quic, port: 443, protocol: UDP, appProtocol: https}, {name: admin, port: 9000}]}",
			[]string{
				`{addressType: IPv6, ports: [{name: WEB, port: 443, appProtocol: https}, {name: quic, port: 443, protocol: UDP}, {name: other, port: 1}], endpoints: [{addresses: ["fd00::1"]}]}`,
				`{addressType: IPv6, ports: [{name: admin, port: 9001}], endpoints: [{addresses: ["fd00::2"]}]}`,
			},
			`fd00::1 pod= node= ready=true serving=true terminating=false ports=[443 443 0]
fd00::2 pod= node= ready=true serving=true terminating=false ports=[0 0 9001]
port web/tcp https [h3 h2 http/1.1]
port quic/udp  []
port admin/tcp  []
PortTranslated port 9000 (admin) is 9001 at the pods`,
		},
		{"a translated port without pods", web + "spec: {ports: [{port: 80, targetPort: 8080}]}", nil, "PortTranslated port 80 is 8080 at the pods"},
		{"a named target port without pods", web + "spec: {ports: [{port: 80, targetPort: http}]}", nil, "hosts web.test.\nport /tcp  []"},
		{
			"host addresses", annotated("external-dns.kubernetes.io/endpoints-type: HostIP"),
			[]string{`{addressType: IPv6, endpoints: [{addresses: ["fd00::1"], nodeName: n1}, {addresses: ["fd00::2"], nodeName: n1, conditions: {ready: false}}, {addresses: ["fd00::3"], nodeName: n2}]}`},
			"hosts web.test.\n2001:db8:0:1::1 pod= node=n1 ready=true serving=true terminating=false\n2001:db8:0:1::2 pod= node=n2 ready=true",
		},
		{
			"nodes' outer addresses", annotated("external-dns.kubernetes.io/endpoints-type: NodeExternalIP"),
			[]string{`{addressType: IPv6, endpoints: [{addresses: ["fd00::1"], nodeName: n1}, {addresses: ["fd00::3"], nodeName: n2}]}`},
			"hosts web.test.\n2001:db8::1 pod= node=n1 ready=true",
		},
		{"unknown endpoints-type", annotated("external-dns.kubernetes.io/endpoints-type: Node"), nil, `InvalidEndpointsType annotation external-dns.kubernetes.io/endpoints-type: "Node" is unknown`},
		{
			"node ports", annotated("dnsingress.dev/service-target: status") + "spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}, {port: 81, nodePort: 30081, protocol: UDP}]}", nil,
			"hosts \nweb.test. AAAA 2001:db8::1\n_web._tcp.web.test. SRV 0 50 30080 web.test.\n_web._udp.web.test. SRV 0 50 30081 web.test.",
		},
		{
			"node ports, private", annotated("dnsingress.dev/service-target: status, external-dns.kubernetes.io/access: private") + "spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}", nil,
			"hosts \nweb.test. AAAA 2001:db8:0:1::1 2001:db8:0:1::2\nweb.test. A 10.0.0.1",
		},
		{
			"node ports where an endpoint is", annotated("dnsingress.dev/service-target: status, external-dns.kubernetes.io/access: private") + "spec: {type: NodePort, externalTrafficPolicy: Local}",
			[]string{`{addressType: IPv6, endpoints: [{addresses: ["fd00::1"], nodeName: n1, conditions: {ready: false}}, {addresses: ["fd00::3"], nodeName: n2}]}`},
			"hosts \nweb.test. AAAA 2001:db8:0:1::2",
		},
		{"node ports, access unknown", annotated("dnsingress.dev/service-target: status, external-dns.kubernetes.io/access: both") + "spec: {type: NodePort}", nil, `InvalidAccess annotation external-dns.kubernetes.io/access: "both" is unknown`},
		{
			"conditions", web,
			[]string{`{addressType: IPv6, endpoints: [
				{addresses: ["fd00::4"], conditions: {ready: false, serving: true, terminating: true}},
				{addresses: ["fd00::3"], conditions: {ready: false}},
				{addresses: ["fd00::2"], conditions: {ready: true}, nodeName: n1, zone: eu-1, targetRef: {kind: Pod, name: web-2}},
				{addresses: ["fd00::1", "fd00::99"], targetRef: {kind: VM, name: x}}]}`, `{addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}]}`},
			`hosts web.test.
10.0.0.1 pod= node= ready=true serving=true terminating=false
fd00::1 pod= node= ready=true serving=true terminating=false
fd00::2 pod=web-2 node=n1 ready=true serving=true terminating=false zone=eu-1
fd00::3 pod= node= ready=false serving=false terminating=false
fd00::4 pod= node= ready=false serving=true terminating=true`,
		},
		{
			"one address in two slices", web,
			[]string{
				`{addressType: IPv6, endpoints: [{addresses: ["fd00::1"], conditions: {ready: false}}, {addresses: ["fd00::2"]}]}`,
				`{addressType: IPv6, endpoints: [{addresses: ["fd00::1"]}, {addresses: ["fd00::2"], conditions: {ready: false}}]}`,
			},
			"hosts web.test.\nfd00::1 pod= node= ready=true serving=true terminating=false\nfd00::2 pod= node= ready=true serving=true terminating=false",
		},
		{
			"not ready is published", web + "spec: {publishNotReadyAddresses: true}",
			[]string{`{addressType: IPv6, endpoints: [{addresses: ["fd00::1"], conditions: {ready: false, serving: false}}]}`},
			"hosts web.test.\nfd00::1 pod= node= ready=true serving=false terminating=false",
		},
		{
			"names and wrong families", web,
			[]string{`{addressType: FQDN, endpoints: [{addresses: [x.test]}]}`, `{metadata: {name: s}, addressType: IPv6, endpoints: [{addresses: [10.0.0.1]}, {addresses: []}]}`},
			"hosts web.test.\nInvalidAddress EndpointSlice s: \"10.0.0.1\" is no IPv6 address",
		},
		{
			"policy", annotated(`dnsingress.dev/promql: load, dnsingress.dev/keep: "< 8", dnsingress.dev/readmit: "<6", dnsingress.dev/interval: 10s,
				dnsingress.dev/min-members: "2", dnsingress.dev/no-data: drop, dnsingress.dev/hold: 10s, dnsingress.dev/max-step: 20%,
				dnsingress.dev/votes: "1", dnsingress.dev/max-out: 100%, dnsingress.dev/min-share: 0%, dnsingress.dev/hold-max: 1m`), nil,
			`hosts web.test.` + "\n" + `policy load every 10s keep < 8 readmit < 6 min 2 nodata "drop" hold 10s step 0.2 votes 1 out 1 share 0`,
		},
		{
			"relative policy", annotated(`dnsingress.dev/promql: load, dnsingress.dev/keep: "<= median + 3 * mad"`), nil,
			`policy load every 0s keep <= median + 3 * mad readmit  min 1 nodata "keep" hold 30s step 0.25 votes 3 out 0.2 share 0.5`,
		},
		{"expression", annotated(`dnsingress.dev/promql: bad, dnsingress.dev/keep: "< 8"`), nil, "keep policy\nInvalidPolicy annotation dnsingress.dev/promql: 1:1: parse error; the last good policy, or readiness alone, stays in force"},
		{"promql without keep", annotated(`dnsingress.dev/promql: load`), nil, "InvalidPolicy annotation dnsingress.dev/promql without dnsingress.dev/keep"},
		{"keep without promql", annotated(`dnsingress.dev/keep: "< 8"`), nil, "InvalidPolicy policy annotations without dnsingress.dev/promql"},
		{"unknown annotation", annotated(`dnsingress.dev/promql: load, dnsingress.dev/keep: "< 8", dnsingress.dev/kep: x`), nil, "InvalidPolicy annotation dnsingress.dev/kep is unknown (hint: "},
		{
			"several mistakes", annotated(`dnsingress.dev/promql: load, dnsingress.dev/keep: "8", dnsingress.dev/interval: 1ms, dnsingress.dev/min-members: "0", dnsingress.dev/max-step: 200%`), nil,
			`interval: "1ms" is no interval (hint: 1s or longer); annotation dnsingress.dev/keep: bound "8": column 1: it does not begin`,
		},
		{"contradiction", annotated(`dnsingress.dev/promql: load, dnsingress.dev/keep: "< 8", dnsingress.dev/readmit: "< 9"`), nil, "is looser than keep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var svc corev1.Service
			if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(c.service, "\t", " ")), &svc); err != nil {
				t.Fatal(err)
			}
			var endpoints []*discoveryv1.EndpointSlice
			for i, text := range c.slices {
				var s discoveryv1.EndpointSlice
				if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(text, "\t", " ")), &s); err != nil {
					t.Fatal(err)
				}
				if s.Name == "" {
					s.Name = fmt.Sprint("slice-", i)
				}
				s.Namespace, s.Labels = svc.Namespace, map[string]string{discoveryv1.LabelServiceName: svc.Name}
				endpoints = append(endpoints, &s)
			}
			pool, _ := translated(&svc, endpoints...)
			if got := show(pool); !strings.Contains(got, c.want) || c.want == "none" && got != "none" {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
			// The cache keeps all that is needed.
			stripped, _ := translated(keepService(&svc, settings()), endpoints...)
			if show(stripped) != show(pool) {
				t.Errorf("from the cache it is another pool:\n%s\nnot\n%s", show(stripped), show(pool))
			}
		})
	}
}

// TestOrderOfSlicesDoesNotMatter: two slices know different pods at one address.
func TestOrderOfSlicesDoesNotMatter(t *testing.T) {
	slice := func(name, pod string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{ObjectMeta: sliceMeta(name), AddressType: discoveryv1.AddressTypeIPv6, Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"fd00::1"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod}},
			{Addresses: []string{pod}}, // a problem
		}}
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", Annotations: map[string]string{"external-dns.kubernetes.io/hostname": "a.test"}}}
	one, _ := translated(svc, slice("a", "web-1"), slice("b", "web-2"))
	two, _ := translated(svc, slice("b", "web-2"), slice("a", "web-1"))
	if show(one) != show(two) {
		t.Errorf("one pool is\n%s\nthe other\n%s", show(one), show(two))
	}
}

func TestTriggerTimeIsTheNewest(t *testing.T) {
	at := func(s string) *discoveryv1.EndpointSlice {
		m := sliceMeta(s)
		m.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: s}
		return &discoveryv1.EndpointSlice{ObjectMeta: m, AddressType: discoveryv1.AddressTypeIPv6}
	}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", Annotations: map[string]string{"external-dns.kubernetes.io/hostname": "a.test"}}}
	_, got := translated(svc, at("2026-01-01T00:00:01Z"), at("2026-01-01T00:00:02.5Z"), at("soon"))
	if want := time.Date(2026, 1, 1, 0, 0, 2, 5e8, time.UTC); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add("load", "< 8", "< 6", "10s", "25%")
	f.Fuzz(func(t *testing.T, promql, keep, readmit, interval, step string) {
		annotations := map[string]string{}
		for k, v := range map[string]string{"promql": promql, "keep": keep, "readmit": readmit, "interval": interval, "max-step": step} {
			annotations["dnsingress.dev/"+k] = v
		}
		policy, err := defaults().policy(annotations, checkExpr)
		if err == nil && (policy == nil || policy.Steer.Check([]string{""}) != nil || policy.Signals[0].Interval < model.LeastInterval) {
			t.Errorf("accepted %v as %+v", annotations, policy)
		}
	})
}
