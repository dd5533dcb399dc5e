// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// internalPart is the publication of a Service's internal names.
const internalPart = "internal"

// service is what the publications of one Service have in common.
type service struct {
	*corev1.Service
	view     View
	settings *Settings
	ttl      *uint32
	set      string
	status   bool // the Service's status is to be published, not its pods
	result   *Result
}

// translateService publishes a Service under the names that its annotations give: the addresses of its pods, or what
// external-dns makes of its spec and status.
func translateService(svc *corev1.Service, v View, s *Settings) Result {
	p := s.Prefixes
	if !p.Claimed(svc.Annotations) {
		return Result{}
	}
	var r Result
	t := &service{Service: svc, view: v, settings: s, result: &r}
	var problems []model.Problem
	if t.ttl, problems = p.ttl(svc.Annotations); len(problems) > 0 {
		t.note(problems...)
	}
	_, t.set = p.hostname(svc.Annotations, "set-identifier")
	if t.status, problems = p.statusWanted(svc.Annotations, s.ServiceTarget); len(problems) > 0 {
		t.note(problems...)
	}
	if key, _ := p.hostname(svc.Annotations, "hostname"); key != "" {
		hosts, problems := p.Hosts(svc.Annotations)
		t.note(problems...)
		t.publish("", hosts)
	}
	if key, value := p.hostname(svc.Annotations, "internal-hostname"); key != "" {
		hosts, problems := annotatedHosts(key, value)
		t.note(problems...)
		t.publish(internalPart, hosts)
	}
	return r
}

// note adds problems of the Service as a whole, each once.
func (t *service) note(problems ...model.Problem) {
	t.result.Problems = appendNew(t.result.Problems, problems...)
}

// publish adds a publication under hosts.
func (t *service) publish(part string, hosts []string) {
	pool := model.Pool{Ref: Ref(t.Service, Service, part), Created: t.CreationTimestamp.Time, TTL: t.ttl}
	key, values := t.settings.Prefixes.targets(t.Annotations)
	switch {
	case len(values) > 0:
		t.lead(&pool, hosts, values, annotationPath(key))
	case t.Spec.Type == corev1.ServiceTypeExternalName:
		if values = t.Spec.ExternalIPs; len(values) == 0 {
			values = []string{t.Spec.ExternalName}
		}
		t.lead(&pool, hosts, values, "spec.externalName")
	case t.headless() || part == "" && !t.status:
		t.pods(&pool, hosts)
	case t.Spec.Type == corev1.ServiceTypeNodePort && t.status:
		t.nodePorts(&pool, hosts)
	case part == internalPart:
		if values = t.Spec.ClusterIPs; len(values) == 0 && t.Spec.ClusterIP != "" {
			values = []string{t.Spec.ClusterIP}
		}
		t.lead(&pool, hosts, values, "spec.clusterIPs")
	case t.Spec.Type == corev1.ServiceTypeLoadBalancer:
		t.lead(&pool, hosts, t.balancers(), "status.loadBalancer")
	default: // external-dns publishes nothing either
		t.note(model.Problem{Reason: "NoTarget", Path: "spec.type", Message: fmt.Sprintf(
			"a Service of type ClusterIP has no status that could be published under %s (hint: %sservice-target: pods, or internal-hostname for its cluster IP)",
			strings.Join(hosts, ", "), t.settings.Prefixes.Policy)})
		return
	}
	t.result.Pools = append(t.result.Pools, pool)
}

// headless reports whether the Service has no address of its own, so that its names are its endpoints'.
func (t *service) headless() bool {
	return t.Spec.ClusterIP == corev1.ClusterIPNone && (t.Spec.Type == "" || t.Spec.Type == corev1.ServiceTypeClusterIP)
}

// lead publishes addresses and host names. While there are none the names have no data.
func (t *service) lead(pool *model.Pool, hosts, values []string, at string) {
	sets, problems := t.settings.targets(hosts, values, t.ttl, t.set, at, t.view)
	pool.Records, pool.Problems = append(pool.Records, sets...), append(pool.Problems, problems...)
	if len(sets) == 0 {
		pool.Hosts = hosts
	}
}

// balancers are what external-dns publishes of a load balancer.
func (t *service) balancers() []string {
	if len(t.Spec.ExternalIPs) > 0 {
		return t.Spec.ExternalIPs
	}
	var values []string
	for _, b := range t.Status.LoadBalancer.Ingress {
		for _, v := range []string{b.IP, b.Hostname} {
			if v != "" {
				values = append(values, v)
			}
		}
	}
	return values
}

// pods publishes the Service's endpoints.
func (t *service) pods(pool *model.Pool, hosts []string) {
	p, s := t.settings.Prefixes, t.settings
	var problems []model.Problem
	pool.Hosts = hosts
	pool.MaxAnswers, problems = p.maxAnswers(t.Annotations)
	t.note(problems...)
	var err error
	if pool.Policy, err = p.policy(t.Annotations, s.Check); err != nil {
		pool.KeepPolicy = true
		message := strings.ReplaceAll(err.Error(), "\n", "; ")
		pool.Problems = append(pool.Problems, model.Problem{Reason: "InvalidPolicy", Message: message + "; the last good policy, or readiness alone, stays in force"})
	}
	e := endpointsOf(t.view, t.Service, 0)
	if e.Triggered.After(t.result.Triggered) {
		t.result.Triggered = e.Triggered
	}
	pool.Members, pool.Ports = e.Members, e.Ports
	if t.set != "" {
		pool.Groups = []model.Group{{Name: t.set, Weight: 1}}
	}
	t.ofNodes(pool)
	t.note(e.Problems...)
	pool.Records = append(pool.Records, t.ownNames(e, hosts)...)
}

// ownNames are the records of pods that have a host name of their own, below each of hosts.
func (t *service) ownNames(e endpoints, hosts []string) (sets []model.RecordSet) {
	for _, host := range hosts {
		if strings.HasPrefix(host, "*.") {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(e.named)) {
			for _, family := range []uint16{dns.TypeAAAA, dns.TypeA} {
				set := model.RecordSet{Name: dns.CanonicalName(name + "." + host), Type: family, TTL: t.ttl}
				for _, m := range e.named[name] {
					if m.Ready && !m.Terminating && m.Address.Is6() == (family == dns.TypeAAAA) {
						set.Records = appendNew(set.Records, model.Record{Data: m.Address.String(), Set: t.set})
					}
				}
				if len(set.Records) > 0 {
					sets = append(sets, set)
				}
			}
		}
	}
	return sets
}

// statusWanted reports whether an object's status is to be published and not its pods: as its annotation says, else as
// the default does.
func (p Prefixes) statusWanted(annotations map[string]string, standard string) (bool, []model.Problem) {
	key := p.Policy + "service-target"
	switch value := annotations[key]; value {
	case "":
		return standard == "status", nil
	case "pods", "status":
		return value == "status", nil
	default:
		return standard == "status", []model.Problem{{Reason: "InvalidTarget", Path: annotationPath(key), Message: fmt.Sprintf(
			"annotation %s: %q is unknown (hint: pods or status)", key, value)}}
	}
}

// keepService keeps what is read of a Service; of one that claims nothing what a route that names it as a backend needs.
func keepService(svc *corev1.Service, s *Settings) *corev1.Service {
	meta, spec, status := svc.ObjectMeta, svc.Spec, svc.Status
	svc.ObjectMeta = metav1.ObjectMeta{
		Namespace: s.Shared.string(meta.Namespace), Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion, Generation: meta.Generation,
	}
	svc.Spec = corev1.ServiceSpec{Type: corev1.ServiceType(s.Shared.string(string(spec.Type))), Ports: spec.Ports, PublishNotReadyAddresses: spec.PublishNotReadyAddresses}
	svc.Status = corev1.ServiceStatus{Conditions: status.Conditions}
	if s.Prefixes.Claimed(meta.Annotations) {
		svc.CreationTimestamp, svc.Annotations = meta.CreationTimestamp, meta.Annotations
		maps.DeleteFunc(svc.Annotations, func(k, _ string) bool { return !s.Prefixes.ours(k) })
		svc.Spec.ClusterIP, svc.Spec.ClusterIPs, svc.Spec.ExternalIPs = spec.ClusterIP, spec.ClusterIPs, spec.ExternalIPs
		svc.Spec.ExternalName, svc.Spec.ExternalTrafficPolicy = spec.ExternalName, spec.ExternalTrafficPolicy
		svc.Status.LoadBalancer = status.LoadBalancer
	}
	return svc
}
