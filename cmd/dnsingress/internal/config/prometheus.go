// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	httpconfig "github.com/prometheus/common/config"

	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// Prometheus says where and how metrics are asked.
type Prometheus struct {
	// URLs of servers that speak the Prometheus HTTP API and have the same data; the next is asked when one fails.
	// Default: none.
	URLs []string `yaml:"urls"`
	// BearerTokenFile holds the token of the Authorization header; it is read again for each request. Default: none.
	BearerTokenFile string `yaml:"bearerTokenFile"`
	// BasicAuth is the user that asks. Default: none.
	BasicAuth *BasicAuth `yaml:"basicAuth"`
	// Headers are sent with each request, such as X-Scope-OrgID. Default: none.
	Headers map[string]string `yaml:"headers"`
	// HeaderFiles hold the values of headers that are secret; they are read again for each request. Default: none.
	HeaderFiles map[string]string `yaml:"headerFiles"`
	// TLS says whom to trust and who asks, of servers with https. Default: the system's certificates.
	TLS ClientTLS `yaml:"tls"`
	// Interval between evaluations of policies that set none. Instants are multiples of it, on every replica. Default: 5s.
	Interval time.Duration `yaml:"interval"`
	// Timeout of one request to one server. Default: 2s.
	Timeout time.Duration `yaml:"timeout"`
	// Delay is how far behind the present values are asked for, where they take time to arrive. Default: 0s.
	Delay time.Duration `yaml:"delay"`
	// Staleness is how long the last values count when no new ones come; then readiness alone does. It is never
	// less than two intervals of the policy. Default: 1m.
	Staleness time.Duration `yaml:"staleness"`
	// FirstPass is how long the start waits for the first values before it answers by readiness alone. Default: 5s.
	FirstPass time.Duration `yaml:"firstPass"`
	// Rebuild is how far back a start asks for values at least, so that it decides as if it had never been away; it
	// goes back farther for a policy that remembers longer. Default: 10m; 0s: nothing is asked, and hysteresis begins anew.
	Rebuild *time.Duration `yaml:"rebuild"`
}

// BasicAuth is a user and the file of its password, which is read again for each request.
type BasicAuth struct {
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"passwordFile"`
}

// ClientTLS names files in PEM, which are read again when they change.
type ClientTLS struct {
	// CAFile holds the certificates that a server's may be signed by.
	CAFile string `yaml:"caFile"`
	// CertFile and KeyFile are the client's own certificate.
	CertFile string `yaml:"certFile"`
	KeyFile  string `yaml:"keyFile"`
	// ServerName is what the server's certificate must be for, where that is not the host in its URL.
	ServerName string `yaml:"serverName"`
}

func (p *Prometheus) fill() {
	orElse(&p.Interval, 5*time.Second)
	orElse(&p.Timeout, 2*time.Second)
	orElse(&p.Staleness, time.Minute)
	orElse(&p.FirstPass, 5*time.Second)
	orPointer(&p.Rebuild, 10*time.Minute)
}

func (p Prometheus) check(f *strictyaml.File) {
	for i, raw := range p.URLs {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			f.Problem(fmt.Sprintf("prometheus.urls[%d]", i), "http://prometheus.example.org:9090", "%q is no HTTP address", redacted(raw))
		}
	}
	if p.Interval < 100*time.Millisecond {
		f.Problem("prometheus.interval", "100ms at least", "interval %v is too short", p.Interval)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"timeout", p.Timeout}, {"staleness", p.Staleness}, {"firstPass", p.FirstPass}, {"delay", p.Delay}, {"rebuild", *p.Rebuild}} {
		if d.value < 0 {
			f.Problem("prometheus."+d.key, "", "%v is negative", d.value)
		}
	}
	if p.Staleness < p.Interval+p.Delay {
		f.Problem("prometheus.staleness", "several intervals", "values would be stale after %v, before new ones are asked for after %v", p.Staleness, p.Interval+p.Delay)
	}
	p.checkAccess(f)
}

// redacted is an address without the user and the password in it, also where it is none.
func redacted(raw string) string {
	end := strings.LastIndexByte(raw, '@')
	if end < 0 {
		return raw
	}
	begin := 0
	if i := strings.Index(raw[:end], "://"); i >= 0 {
		begin = i + len("://")
	}
	return raw[:begin] + "xxxxx" + raw[end:]
}

func (p Prometheus) checkAccess(f *strictyaml.File) {
	if b := p.BasicAuth; b != nil {
		if b.Username == "" {
			f.Problem("prometheus.basicAuth", "basicAuth: {username: dns, passwordFile: /etc/dnsingress/password}", "a username is missing")
		}
		if b.PasswordFile == "" {
			f.Problem("prometheus.basicAuth", "basicAuth: {username: dns, passwordFile: /etc/dnsingress/password}", "a passwordFile is missing")
		}
		if p.BearerTokenFile != "" {
			f.Problem("prometheus.bearerTokenFile", "one of them", "bearerTokenFile and basicAuth both want the Authorization header")
		}
	}
	if (p.TLS.CertFile == "") != (p.TLS.KeyFile == "") {
		f.Problem("prometheus.tls", "both or neither", "a client certificate needs certFile and keyFile")
	}
	for name := range p.HeaderFiles {
		if _, both := p.Headers[name]; both {
			f.Problem("prometheus.headerFiles", "one of them", "header %q is in headers too", name)
		}
	}
	if _, err := p.Access(); err != nil {
		f.Problem("prometheus", "", "%v", err)
	}
}

// Access is how the servers are asked, in the words of Prometheus's own HTTP client.
func (p Prometheus) Access() (*httpconfig.HTTPClientConfig, error) {
	c := httpconfig.DefaultHTTPClientConfig
	c.ProxyConfig.ProxyFromEnvironment = true
	c.FollowRedirects = false // the secrets would go along, wherever to
	c.TLSConfig = httpconfig.TLSConfig{
		CAFile: p.TLS.CAFile, CertFile: p.TLS.CertFile, KeyFile: p.TLS.KeyFile, ServerName: p.TLS.ServerName,
	}
	if p.BearerTokenFile != "" {
		c.Authorization = &httpconfig.Authorization{Type: "Bearer", CredentialsFile: p.BearerTokenFile}
	}
	if p.BasicAuth != nil && p.BearerTokenFile == "" {
		c.BasicAuth = &httpconfig.BasicAuth{Username: p.BasicAuth.Username, PasswordFile: p.BasicAuth.PasswordFile}
	}
	headers := map[string]httpconfig.Header{}
	for name, value := range p.Headers {
		headers[name] = httpconfig.Header{Values: []string{value}}
	}
	for name, file := range p.HeaderFiles {
		headers[name] = httpconfig.Header{Files: []string{file}}
	}
	if len(headers) > 0 {
		c.HTTPHeaders = &httpconfig.Headers{Headers: headers}
		if err := c.HTTPHeaders.Validate(); err != nil {
			return nil, err
		}
	}
	return &c, nil
}
