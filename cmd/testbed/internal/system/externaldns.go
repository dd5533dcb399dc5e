// SPDX-License-Identifier: Apache-2.0

package system

import "path"

// externalDNSDir is where the baseline for several clusters is rendered: external-dns, PowerDNS and CoreDNS forwarders, put
// together as in Swisscom's public prototype (deploy/baselines/README.md says why each setting is what it is).
var externalDNSDir = path.Join(overlayDir, "external-dns")

// externalDNSFiles are the templates of that directory. A cluster's authoritative server is on its first worker.
func externalDNSFiles() map[string]string {
	return map[string]string{
		path.Join(externalDNSDir, "kustomization.yaml"): externalDNSOverlay,
		path.Join(externalDNSDir, "pdns.conf"):          powerDNSConfig,
		path.Join(externalDNSDir, "Corefile"):           forwarderConfig,
		path.Join(externalDNSDir, "provisioning.yaml"):  provisioning,
	}
}

const externalDNSOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: external-dns
resources: [../../baselines/external-dns/default, provisioning.yaml]
configMapGenerator:
  - {name: powerdns, behavior: replace, files: [pdns.conf]}
  - {name: coredns, behavior: replace, files: [Corefile]}
patches:
  - target: {kind: Deployment, name: powerdns}
    patch: |-
      - {op: add, path: /spec/template/spec/nodeSelector, value: {kubernetes.io/hostname: {{(index .Workers 0).Name}}}}
      - {op: replace, path: /spec/template/spec/initContainers/0/env/0/value, value: {{.Zone}}}
  - patch: |-
      $patch: delete
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: external-dns}
`

const powerDNSConfig = `launch=lmdb
lmdb-filename=/var/lib/powerdns/pdns.lmdb
local-address=::
local-port=5300
api=yes
api-key={{.Secret}}
webserver=yes
webserver-address=::
webserver-port=8081
webserver-allow-from=::/0
loglevel=4
security-poll-suffix=
default-soa-content=ns1.@ hostmaster.@ 0 10800 3600 604800 5
`

// The own cluster's server first, the others' behind it.
const forwarderConfig = `{{.Zone}}.:53 {
    errors
    prometheus [::]:9153
    health [::]:8080
    ready [::]:8181
    reload
    loadbalance
    forward . [{{(index .Workers 0).Address}}]:5300{{range .Peers}} [{{(index (.Group "worker") 0).Address}}]:5300{{end}} {
        policy sequential
    }
    cache 30 {
        success 9984 5
        denial 9984 5
    }
}
`

// One external-dns for each cluster's server, each with a port of its own for its metrics.
const provisioning = `{{range $i, $to := .Clusters}}---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: external-dns-{{or $to.Member "here"}}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector: {matchLabels: {app: external-dns-{{or $to.Member "here"}}}}
  template:
    metadata:
      labels:
        app: external-dns-{{or $to.Member "here"}}
        testbed.dnsingress.dev/component: controller
        testbed.dnsingress.dev/system: external-dns
        testbed.dnsingress.dev/role: provisioning
    spec:
      serviceAccountName: external-dns
      hostNetwork: true
      terminationGracePeriodSeconds: 2
      nodeSelector: {kubernetes.io/hostname: {{(index $.Workers 0).Name}}}
      containers:
        - name: external-dns
          image: testbed.local/external-dns:0.21.0
          imagePullPolicy: Never
          args:
            - --source=service
            - --source=crd
            - --annotation-prefix=external-dns.kubernetes.io/
            - --domain-filter={{$.Zone}}
            - --provider=pdns
            - --pdns-server=http://[{{(index ($to.Group "worker") 0).Address}}]:8081
            - --pdns-api-key={{$.Secret}}
            - --policy=sync
            - --registry=txt
            - --txt-owner-id=dns-{{or $.Cluster "here"}}
            - --txt-prefix=demo-
            - --interval=30s
            - --events
            - --metrics-address=[::]:797{{$i}}
          ports:
            - {name: http, containerPort: 797{{$i}}}
          readinessProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 1
{{end}}`
