// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"text/template"
	"time"
)

// settings are the parts of nginx.conf that do not follow the endpoints. Zero values are what nginx does by itself.
type settings struct {
	Listen netip.AddrPort
	TLS    tlsSettings
	Hosts  string // domain of the hosts of further services; empty: there is one service
	Dir    string // nginx.conf, control.sock, nginx.pid and temporary files
	User   string // of the workers

	Balance        string        // how a server is chosen: a directive of nginx
	Tries          int           // servers that a request is given to until one answers; 0: all
	ConnectTimeout time.Duration // of a connection to a server

	Keepalive         int    // idle upstream connections a worker; 0: none
	UpstreamRequests  int    // on one of them
	KeepaliveRequests int    // on a client's connection
	Connections       int    // of a worker
	ReusePort         bool   // a listening socket a worker
	Buffers           string // "8 32k": number and size of the buffers of a response; empty: nginx's, and a file beyond
}

// tlsSettings are those of a second listener.
type tlsSettings struct {
	Listen    netip.AddrPort // not valid: none
	Cert, Key string         // PEM files
}

// file is the path of nginx.conf.
func (s settings) file() string { return filepath.Join(s.Dir, "nginx.conf") }

// socket is the path of the Unix socket that answers with the configuration's version and nginx's counters.
func (s settings) socket() string { return filepath.Join(s.Dir, "control.sock") }

// HasTLS says whether there is a second listener.
func (s settings) HasTLS() bool { return s.TLS.Listen.IsValid() }

// ConnectMillis is ConnectTimeout as nginx reads it.
func (s settings) ConnectMillis() string { return fmt.Sprintf("%dms", s.ConnectTimeout.Milliseconds()) }

// Files is how many open files a worker needs for its connections: each may have a file beside it, and twice is advised.
func (s settings) Files() int { return 2 * s.Connections }

// upstream is a service and the servers that answer for it.
type upstream struct {
	Name    string // of its host; empty: all hosts that no other has
	Servers []netip.AddrPort
}

// ID is the upstream's name in nginx.conf.
func (u upstream) ID() string { return cmp.Or(u.Name, "endpoints") }

func (u upstream) equal(v upstream) bool {
	return u.Name == v.Name && slices.Equal(u.Servers, v.Servers)
}

// render returns nginx.conf for the services. The version is answered on the control socket: only so is it known
// that workers with this configuration accept connections.
func render(s settings, services []upstream, version int) ([]byte, error) {
	var b bytes.Buffer
	err := configuration.Execute(&b, struct {
		settings
		Socket   string
		Services []upstream
		Version  int
	}{s, s.socket(), services, version})
	return b.Bytes(), err
}

// The ways to choose a server: of two at random the one with fewer connections, as kubernetes-ingress does by default,
// and of all the one with the fewest.
const (
	balanceRandomTwo = "random two least_conn"
	balanceLeast     = "least_conn"
)

// configuration has the defaults of F5's kubernetes-ingress 5 for an Ingress with one path: the load balancing
// "random two least_conn" over a shared zone, max_fails, the timeouts, the X-Forwarded headers, HTTP/1.1 upstream
// without keepalive, 502 for an empty upstream. Three things differ: no access log (off for all proxies), no
// listener for IPv4, and TLS 1.3, which this version of nginx does not switch on by itself and all others do.
var configuration = template.Must(template.New("nginx.conf").Parse(`user {{.User}};
worker_processes auto;
{{- if gt .Connections 1024}}
worker_rlimit_nofile {{.Files}};
{{- end}}
daemon off;
pid {{.Dir}}/nginx.pid;
error_log stderr notice;
events {
    worker_connections {{.Connections}};
}
http {
    types {}
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    keepalive_timeout 75s;
    keepalive_requests {{.KeepaliveRequests}};
    server_tokens on;
{{- if .Hosts}}
    server_names_hash_max_size 16384;
    server_names_hash_bucket_size 256;
{{- end}}
    client_body_temp_path {{.Dir}}/body;
    proxy_temp_path {{.Dir}}/proxy;
    fastcgi_temp_path {{.Dir}}/fastcgi;
    scgi_temp_path {{.Dir}}/scgi;
    uwsgi_temp_path {{.Dir}}/uwsgi;
{{- range .Services}}
{{- if .Servers}}
    upstream {{.ID}} {
        zone {{.ID}} 256k;
        {{$.Balance}};
{{- range .Servers}}
        server {{.}} max_fails=1 fail_timeout=10s max_conns=0;
{{- end}}
{{- if $.Keepalive}}
        keepalive {{$.Keepalive}};
        keepalive_requests {{$.UpstreamRequests}};
{{- end}}
    }
{{- end}}
    server {
        listen {{$.Listen}}{{if not .Name}} default_server{{if $.ReusePort}} reuseport{{end}}{{end}};
{{- if $.HasTLS}}
        listen {{$.TLS.Listen}} ssl{{if not .Name}} default_server{{if $.ReusePort}} reuseport{{end}}{{end}};
        ssl_certificate {{$.TLS.Cert}};
        ssl_certificate_key {{$.TLS.Key}};
        ssl_protocols TLSv1.2 TLSv1.3;
{{- end}}
        server_name {{if .Name}}{{.Name}}.{{$.Hosts}}{{else}}_{{end}};
        location / {
{{- if .Servers}}
            proxy_http_version 1.1;
{{- if $.Keepalive}}
            proxy_set_header Connection "";
{{- end}}
            proxy_connect_timeout {{$.ConnectMillis}};
            proxy_read_timeout 60s;
            proxy_send_timeout 60s;
            client_max_body_size 1m;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_buffering on;
{{- if $.Buffers}}
            proxy_buffers {{$.Buffers}};
            proxy_max_temp_file_size 0;
{{- end}}
{{- if eq $.Tries 1}}
            proxy_next_upstream off;
{{- else}}
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries {{$.Tries}};
{{- end}}
            proxy_pass http://{{.ID}};
{{- else}}
            return 502;
{{- end}}
        }
    }
{{- end}}
    server {
        listen unix:{{.Socket}};
        location = /version {
            return 200 "{{.Version}}";
        }
        location = /stub_status {
            stub_status;
        }
    }
}
`))
