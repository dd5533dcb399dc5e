// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"text/template"
)

// settings are the parts of nginx.conf that do not follow the endpoints.
type settings struct {
	Listen    netip.AddrPort
	Dir       string // nginx.conf, control.sock, nginx.pid and temporary files
	User      string // of the workers
	Keepalive int    // idle upstream connections a worker; 0: none
	Balance   string // how a server is chosen: a directive of nginx
}

// file is the path of nginx.conf.
func (s settings) file() string { return filepath.Join(s.Dir, "nginx.conf") }

// socket is the path of the Unix socket that answers with the configuration's version and nginx's counters.
func (s settings) socket() string { return filepath.Join(s.Dir, "control.sock") }

// render returns nginx.conf for the servers. The version is answered on the control socket: only so is it known
// that workers with this configuration accept connections.
func render(s settings, servers []netip.AddrPort, version int) ([]byte, error) {
	var b bytes.Buffer
	err := configuration.Execute(&b, struct {
		settings
		Socket  string
		Servers []netip.AddrPort
		Version int
	}{s, s.socket(), servers, version})
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
// without keepalive, 502 for an empty upstream. Two things differ: no access log (off for all proxies), and no
// listener for IPv4 and TLS.
var configuration = template.Must(template.New("nginx.conf").Parse(`user {{.User}};
worker_processes auto;
daemon off;
pid {{.Dir}}/nginx.pid;
error_log stderr notice;
events {
    worker_connections 1024;
}
http {
    types {}
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    keepalive_timeout 75s;
    keepalive_requests 1000;
    server_tokens on;
    client_body_temp_path {{.Dir}}/body;
    proxy_temp_path {{.Dir}}/proxy;
    fastcgi_temp_path {{.Dir}}/fastcgi;
    scgi_temp_path {{.Dir}}/scgi;
    uwsgi_temp_path {{.Dir}}/uwsgi;
{{- if .Servers}}
    upstream endpoints {
        zone endpoints 256k;
        {{.Balance}};
{{- range .Servers}}
        server {{.}} max_fails=1 fail_timeout=10s max_conns=0;
{{- end}}
{{- if .Keepalive}}
        keepalive {{.Keepalive}};
{{- end}}
    }
{{- end}}
    server {
        listen {{.Listen}} default_server;
        server_name _;
        location / {
{{- if .Servers}}
            proxy_http_version 1.1;
{{- if .Keepalive}}
            proxy_set_header Connection "";
{{- end}}
            proxy_connect_timeout 60s;
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
            proxy_next_upstream error timeout;
            proxy_pass http://endpoints;
{{- else}}
            return 502;
{{- end}}
        }
    }
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
