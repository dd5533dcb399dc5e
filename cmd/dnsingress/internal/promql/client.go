// SPDX-License-Identifier: Apache-2.0

package promql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	httpconfig "github.com/prometheus/common/config"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/config"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

const (
	// maxBody bounds one response to a query in bytes: 100,000 series of 600 bytes fit.
	maxBody = 64 << 20
	// maxPoints bounds what a range query is asked for. The bytes of its response are bounded accordingly.
	maxPoints    = 2_000_000
	maxRangeBody = maxBody + 32*maxPoints
	// maxSteps bounds the instants of a range query, as Prometheus does.
	maxSteps = 11_000
	// maxComplaint bounds what is read of an answer that is none.
	maxComplaint = 16 << 10
)

// Client asks one of several servers that have the same data.
type Client struct {
	servers []*server
	best    atomic.Int64 // the server that answered last
	http    *http.Client
	timeout time.Duration // of one request where the query has none
	log     *slog.Logger

	requests *prometheus.CounterVec
	samples  prometheus.Counter
	bytes    prometheus.Counter
	warnings prometheus.Counter
	skew     *prometheus.GaugeVec
}

type server struct {
	base    *url.URL
	name    string      // the URL without a password
	getOnly atomic.Bool // it refuses POST
}

// NewClient makes a client of the servers of c. Files with secrets are read again when they change.
func NewClient(c config.Prometheus, r prometheus.Registerer, log *slog.Logger) (*Client, error) {
	p := &Client{
		timeout: c.Timeout, log: log,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dnsingress_promql_requests_total", Help: "Requests to Prometheus servers by outcome.",
		}, []string{"server", "outcome"}),
		samples: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dnsingress_promql_samples_total", Help: "Samples that Prometheus servers have answered with.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dnsingress_promql_response_bytes_total", Help: "Bytes that Prometheus servers have answered with.",
		}),
		warnings: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dnsingress_promql_warnings_total", Help: "Answers that a server itself calls doubtful, such as partial ones.",
		}),
		skew: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dnsingress_promql_clock_skew_seconds", Help: "How far a server's clock is ahead of this one's, by the Date of its last answer; whole seconds.",
		}, []string{"server"}),
	}
	access, err := c.Access()
	if err != nil {
		return nil, err
	}
	// Not compressed: an answer comes once an interval over a near network, and unpacking costs more than reading.
	if p.http, err = httpconfig.NewClientFromConfig(*access, "prometheus", httpconfig.WithUserAgent("dnsingress")); err != nil {
		return nil, fmt.Errorf("preparing to ask Prometheus: %w (hint: prometheus in the configuration)", err)
	}
	for _, address := range c.URLs {
		u, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("reading the address of a Prometheus: %w", err)
		}
		p.servers = append(p.servers, &server{base: u, name: u.Redacted()})
	}
	for _, m := range []prometheus.Collector{p.requests, p.samples, p.bytes, p.warnings, p.skew} {
		if err := r.Register(m); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return p, nil
}

// Instant asks for the query's values at an instant. last may be what the same query gave before, or zero: series that
// come again are then read faster.
func (c *Client) Instant(ctx context.Context, q Query, at time.Time, last Samples) (Samples, error) {
	form := url.Values{"query": {q.Expr}, "time": {seconds(at)}}
	r, err := c.ask(ctx, "query", form, "vector", c.timeoutOf(q), maxBody, last.table, q.Match, steps{})
	if err != nil {
		return Samples{}, err
	}
	return r.table.samples(r.points, r.series), nil
}

// Range asks for the query's values at count instants from first on, every interval of the query. It returns as many.
func (c *Client) Range(ctx context.Context, q Query, first time.Time, count int, timeout time.Duration, last Samples) ([]Samples, error) {
	of := steps{first, q.Interval, count}
	form := url.Values{
		"query": {q.Expr}, "start": {seconds(first)}, "end": {seconds(first.Add(time.Duration(count-1) * q.Interval))},
		"step": {strconv.FormatFloat(q.Interval.Seconds(), 'f', -1, 64)},
	}
	r, err := c.ask(ctx, "query_range", form, "matrix", timeout, maxRangeBody, last.table, q.Match, of)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(r.points, func(a, b point) int { return int(a.step) - int(b.step) })
	out := make([]Samples, count)
	rest := r.points
	for i := range out {
		n := 0
		for n < len(rest) && int(rest[n].step) == i {
			n++
		}
		out[i] = r.table.samples(rest[:n], n)
		rest = rest[n:]
	}
	return out, nil
}

func (c *Client) timeoutOf(q Query) time.Duration {
	if q.Timeout > 0 {
		return q.Timeout
	}
	return c.timeout
}

// refused is an answer that every server would give, so that no other need be asked.
type refused struct{ error }

// ask tries the servers in turn, beginning with the one that answered last.
func (c *Client) ask(ctx context.Context, path string, form url.Values, kind string, timeout time.Duration, limit int, last *table, m model.Match, of steps) (*response, error) {
	if len(c.servers) == 0 {
		return nil, errors.New("no Prometheus server is configured (hint: prometheus.urls)")
	}
	var errs []error
	first := int(c.best.Load())
	for i := range c.servers {
		n := (first + i) % len(c.servers)
		s := c.servers[n]
		r, err := c.askOne(ctx, s, path, form, kind, timeout, limit, last, m, of)
		if err == nil {
			c.requests.WithLabelValues(s.name, "ok").Inc()
			c.samples.Add(float64(len(r.points)))
			c.best.Store(int64(n))
			if len(r.Warnings) > 0 {
				c.warnings.Inc()
				c.log.Debug("Prometheus doubts its own answer", "url", s.name, "expr", form.Get("query"), "warnings", r.Warnings)
			}
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.requests.WithLabelValues(s.name, "error").Inc()
		c.log.Debug("asking Prometheus", "url", s.name, "expr", form.Get("query"), "error", err)
		errs = append(errs, fmt.Errorf("asking Prometheus %s: %w", s.name, err))
		if errors.As(err, new(refused)) {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (c *Client) askOne(ctx context.Context, s *server, path string, form url.Values, kind string, timeout time.Duration, limit int, last *table, m model.Match, of steps) (*response, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	form.Set("timeout", strconv.FormatInt(max(1, timeout.Milliseconds()), 10)+"ms")
	answer, err := c.send(ctx, s, path, form)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if at, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		c.skew.WithLabelValues(s.name).Set(at.Sub(time.Now().Truncate(time.Second)).Round(time.Second).Seconds())
	}
	if answer.StatusCode != http.StatusOK {
		return nil, complaint(answer)
	}
	body := &counted{from: answer.Body}
	r, err := decode(body, limit, last, m, of)
	c.bytes.Add(float64(body.n))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case r.Status != "success":
		return nil, fmt.Errorf("%s: %s", r.ErrorType, r.Error)
	case r.kind != kind:
		return nil, refused{fmt.Errorf("the result is a %s (hint: an instant vector is wanted)", r.kind)}
	}
	// What is behind the answer is read, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, body, maxComplaint)
	return r, nil
}

// send posts the form, or sends it in the URL where a server knows but that.
func (c *Client) send(ctx context.Context, s *server, path string, form url.Values) (*http.Response, error) {
	u := s.base.JoinPath("api/v1", path)
	if !s.getOnly.Load() {
		body := form.Encode()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := c.http.Do(request)
		if err != nil || answer.StatusCode != http.StatusMethodNotAllowed && answer.StatusCode != http.StatusNotImplemented {
			return answer, err
		}
		answer.Body.Close()
		s.getOnly.Store(true)
	}
	u.RawQuery = form.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	return c.http.Do(request)
}

// complaint is what an answer says that is no success.
func complaint(answer *http.Response) error {
	if answer.Header.Get("Location") != "" {
		return fmt.Errorf("%s: redirects are not followed (hint: prometheus.urls names where the API is)", answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxComplaint))
	if err != nil {
		return fmt.Errorf("%s: %w", answer.Status, err)
	}
	r, err := decode(bytes.NewReader(text), maxComplaint, nil, model.Match{}, steps{})
	switch {
	case err != nil || r.ErrorType == "":
		return errors.New(answer.Status)
	case r.ErrorType == "bad_data":
		return refused{fmt.Errorf("%s: %s", r.ErrorType, r.Error)}
	}
	return fmt.Errorf("%s: %s", r.ErrorType, r.Error)
}

// counted counts what is read.
type counted struct {
	from io.Reader
	n    int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	return n, err
}

// seconds is how the API writes instants.
func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64)
}
