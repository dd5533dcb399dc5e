// SPDX-License-Identifier: Apache-2.0

package power

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// openUniFi returns a switch that a UniFi controller manages.
func openUniFi(inv *inventory.Inventory, s inventory.Switch, log *slog.Logger) (Switch, error) {
	secret, err := inv.Secret(s.Credentials)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the controller's URL: %w", err)
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		if trust, err = pinned(inv, s.CA, base.Hostname()); err != nil {
			return nil, err
		}
	}
	c := newController(base, trust, log)
	if s.Driver == inventory.DriverUniFi {
		if strings.ContainsAny(secret, " \t\r\n") {
			return nil, errors.New("reading credentials: the official API wants one word, its key (hint: UniFi Network, Settings, Control Plane, Integrations)")
		}
		c.key = secret
		return &official{controller: c, settings: s}, nil
	}
	switch words := strings.Split(secret, "\n"); len(words) {
	case 1:
		c.key = strings.TrimSpace(words[0])
	case 2:
		c.user, c.password = strings.TrimSpace(words[0]), strings.TrimSpace(words[1])
	default:
		return nil, errors.New("reading credentials: want a key on one line, or user and password on two")
	}
	return &legacy{controller: c, settings: s}, nil
}

// pinned trusts the certificates of a file: each as itself, whatever name it bears (controllers sign their own for the name
// "unifi"), and as an authority.
func pinned(inv *inventory.Inventory, file, host string) (*tls.Config, error) {
	path, err := inv.File(file)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the controller's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	var exact [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the controller's certificate %s: %w", path, err)
		}
		roots.AddCert(cert)
		exact = append(exact, cert.Raw)
	}
	if len(exact) == 0 {
		return nil, fmt.Errorf("reading the controller's certificate: %s holds none (hint: PEM)", path)
	}
	verify := func(state tls.ConnectionState) error {
		leaf := state.PeerCertificates[0]
		if slices.ContainsFunc(exact, func(raw []byte) bool { return bytes.Equal(raw, leaf.Raw) }) {
			return nil
		}
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
		return err
	}
	// VerifyConnection replaces the library's check, which knows no pinned leaf.
	return &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyConnection: verify}, nil
}

const (
	// answerTimeout bounds one exchange with a controller.
	answerTimeout = 20 * time.Second
	// longestPause is what is waited at most when a controller asks for patience; what is longer is an error at once.
	longestPause = 30 * time.Second
	attempts     = 5
	maxAnswer    = 32 << 20
)

// controller speaks HTTP with a UniFi controller, either with a key or in a session, which it opens when it is needed and
// again when it was lost.
type controller struct {
	base           *url.URL
	http           *http.Client
	log            *slog.Logger
	key            string
	user, password string
	pause          func(context.Context, time.Duration) error

	opening sync.Mutex // held while a session is being opened: controllers count logins

	mu      sync.Mutex
	session int    // how many have been opened
	live    bool   // the last of them is thought to be
	prefix  string // of Network's paths: "/proxy/network" on UniFi OS
	csrf    string // the session's token against forgery
}

func newController(base *url.URL, trust *tls.Config, log *slog.Logger) *controller {
	jar, _ := cookiejar.New(nil) // never fails
	transport := &http.Transport{TLSClientConfig: trust, TLSHandshakeTimeout: answerTimeout, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}
	return &controller{
		base: base, log: log, pause: pause,
		http: &http.Client{
			Transport: transport, Jar: jar, Timeout: answerTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// StatusError is a refusal by a controller.
type StatusError struct {
	Method, Path string
	Status       int
	Code         string // as the controller has it: "api.err.NoPermission"; may be empty
	Text         string // may be empty
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		s += ", " + e.Code
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	if hint := hints(e.Code, e.Status); hint != "" {
		s += " (hint: " + hint + ")"
	}
	return s
}

func hints(code string, status int) string {
	switch {
	case code == "api.err.NoSiteContext":
		return "site: in the inventory is the id in the controller's URL, as \"default\""
	case code == "api.err.NoPermission" || status == http.StatusForbidden:
		return "the account needs to be an administrator of the site"
	case code == "api.err.UnknownDevice" || code == "api.err.InvalidTarget":
		return "mac: of the switch in the inventory"
	case code == "api.err.InvalidTargetPort":
		return "a controller cycles only ports that deliver power"
	case status == http.StatusTooManyRequests:
		return "the controller wants to be asked less often; wait some minutes"
	case status == http.StatusUnauthorized:
		return "credentials: in the inventory"
	}
	return ""
}

// do sends a request, in a session if there is no key. What a controller did not do because it was busy or asked too often
// is asked again, as long as repeating it does no harm.
func (c *controller) do(ctx context.Context, method, path string, body any) (answer, error) {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return answer{}, fmt.Errorf("encoding a request: %w", err)
		}
	}
	relogin := 0
	for attempt := 1; ; attempt++ {
		session, prefix, err := c.enter(ctx)
		if err != nil {
			return answer{}, err
		}
		a, err := c.send(ctx, method, prefix+path, payload)
		wait := time.Duration(0)
		switch {
		case err != nil:
			// Whether a POST was carried out before the connection broke is not known: it is not sent again.
			if ctx.Err() != nil || method == http.MethodPost || attempt == attempts {
				return a, err
			}
			wait = time.Duration(attempt) * time.Second
		case a.status/100 == 2:
			return a, nil
		case a.status == http.StatusTooManyRequests:
			wait = retryAfter(a.header, attempt)
		case a.status >= 502 && a.status <= 504 && method != http.MethodPost:
			wait = time.Duration(attempt) * time.Second
		case (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden) && c.key == "" && relogin == 0:
			// A lost session, or a token against forgery that is no longer good: both come with a new login.
			relogin++
			c.lose(session)
			continue
		default:
			return a, refusal(method, path, a)
		}
		if attempt == attempts || wait > longestPause {
			if err == nil {
				err = refusal(method, path, a)
			}
			return a, err
		}
		c.log.Debug("the controller wants patience", "path", path, "status", a.status, "wait", wait)
		if err := c.pause(ctx, wait); err != nil {
			return a, err
		}
	}
}

// send is one exchange.
func (c *controller) send(ctx context.Context, method, path string, payload []byte) (answer, error) {
	u := *c.base
	path, query, _ := strings.Cut(path, "?")
	u.Path, u.RawQuery = path, query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(payload))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", "application/json")
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	c.mu.Lock()
	if c.key != "" {
		req.Header.Set("X-API-KEY", c.key)
	} else if c.csrf != "" {
		req.Header.Set("X-CSRF-Token", c.csrf)
	}
	c.mu.Unlock()
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return answer{}, context.Cause(ctx)
		}
		return answer{}, fmt.Errorf("asking the controller: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("reading the controller's answer: %w", err)
	}
	if len(data) > maxAnswer {
		return answer{}, fmt.Errorf("reading the controller's answer: more than %d bytes", maxAnswer)
	}
	c.mu.Lock()
	for _, name := range []string{"X-Csrf-Token", "X-Updated-Csrf-Token"} {
		if token := resp.Header.Get(name); token != "" {
			c.csrf = token
		}
	}
	c.mu.Unlock()
	return answer{resp.StatusCode, resp.Header, data}, nil
}

// enter opens a session unless one is open or a key makes it needless.
func (c *controller) enter(ctx context.Context) (session int, prefix string, err error) {
	if c.key != "" {
		return 0, "/proxy/network", nil // keys exist on UniFi OS alone
	}
	c.opening.Lock()
	defer c.opening.Unlock()
	c.mu.Lock()
	session, live, prefix := c.session, c.live, c.prefix
	c.mu.Unlock()
	if live {
		return session, prefix, nil
	}
	return c.login(ctx)
}

// lose notes that a session is no longer good; of several who note it, the first opens the next.
func (c *controller) lose(session int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == session {
		c.live = false
	}
}

func (c *controller) login(ctx context.Context) (session int, prefix string, err error) {
	path := "/api/login"
	front, err := c.send(ctx, http.MethodGet, "/", nil)
	if err != nil {
		return 0, "", err
	}
	if front.status == http.StatusOK { // UniFi OS shows its portal; Network alone sends to /manage
		path, prefix = "/api/auth/login", "/proxy/network"
	}
	payload, err := json.Marshal(map[string]any{"username": c.user, "password": c.password, "rememberMe": false})
	if err != nil {
		return 0, "", fmt.Errorf("encoding the login: %w", err)
	}
	a, err := c.send(ctx, http.MethodPost, path, payload)
	switch {
	case err != nil:
		return 0, "", err
	case a.status == http.StatusTooManyRequests:
		// Every further attempt would make it longer.
		return 0, "", fmt.Errorf("logging in as %q: the controller takes no logins for now%s (hint: wait some minutes; an API key needs no login)", c.user, waitText(a.header))
	case a.status == 499:
		return 0, "", fmt.Errorf("logging in as %q: the account wants a second factor (hint: a local account, or an API key)", c.user)
	case a.status/100 != 2:
		return 0, "", fmt.Errorf("logging in as %q: the controller refuses user and password: %w", c.user, refusal(http.MethodPost, path, a))
	}
	if _, err := envelope(http.MethodPost, path, a); prefix == "" && err != nil {
		return 0, "", fmt.Errorf("logging in as %q: %w", c.user, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session++
	c.live, c.prefix = true, prefix
	return c.session, prefix, nil
}

// Close ends the session, of which controllers keep few.
func (c *controller) Close() error {
	c.mu.Lock()
	live, prefix := c.live, c.prefix
	c.live = false
	c.mu.Unlock()
	defer c.http.CloseIdleConnections()
	if !live {
		return nil
	}
	path := "/api/logout"
	if prefix != "" {
		path = "/api/auth/logout"
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout/4)
	defer cancel()
	if _, err := c.send(ctx, http.MethodPost, path, []byte("{}")); err != nil {
		c.log.Debug("the session ends by itself", "error", err)
	}
	return nil
}

// retryAfter is how long a controller wants not to be asked (RFC 9110 §10.2.3, in seconds); where it does not say, ever longer.
func retryAfter(h http.Header, attempt int) time.Duration {
	if s, err := strconv.Atoi(h.Get("Retry-After")); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	return time.Duration(1<<attempt) * time.Second
}

func waitText(h http.Header) string {
	if s := h.Get("Retry-After"); s != "" {
		return ", for " + s + " s"
	}
	return ""
}

// refusal makes an error of an answer; both interfaces' forms are known.
func refusal(method, path string, a answer) error {
	e := &StatusError{Method: method, Path: path, Status: a.status}
	var body struct {
		Meta struct {
			Message string `json:"msg"`
		} `json:"meta"`
		Code    any    `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(a.body, &body) == nil {
		e.Code, e.Text = body.Meta.Message, body.Message
		if s, ok := body.Code.(string); ok && e.Code == "" {
			e.Code = s
		}
	}
	return e
}

// envelope takes the data out of an answer of the older interface, which may say "error" with status 200.
func envelope(method, path string, a answer) (json.RawMessage, error) {
	var body struct {
		Meta struct {
			RC string `json:"rc"`
		} `json:"meta"`
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		return nil, fmt.Errorf("reading the controller's answer to %s %s: %w", method, path, err)
	}
	if body.Meta.RC != "ok" {
		return nil, refusal(method, path, a)
	}
	return body.Data, nil
}
