// SPDX-License-Identifier: Apache-2.0

// Package grafana marks what happened on the dashboards of a Grafana: annotations, by its HTTP API.
package grafana

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client asks one Grafana.
type Client struct {
	URL        string   // https://HOST[:PORT][/PATH]
	Token      string   // of a service account that may write annotations
	Dashboards []string // UIDs; none: annotations of the organisation, which dashboards show by their tags
	HTTP       *http.Client
}

// timeout bounds what a Grafana may take for an answer.
const timeout = 5 * time.Second

// Note is what an annotation says.
type Note struct {
	At   time.Time
	Text string
	Tags []string
}

// annotation is the body of POST and PATCH /api/annotations; times are milliseconds since the epoch.
type annotation struct {
	Dashboard string   `json:"dashboardUID,omitempty"`
	Time      int64    `json:"time,omitempty"`
	TimeEnd   int64    `json:"timeEnd,omitempty"`
	Tags      []string `json:"tags,omitempty"`
	Text      string   `json:"text,omitempty"`
}

// Marks are the annotations of one note: one a dashboard.
type Marks struct {
	client *Client
	ids    []int64
}

// Annotate marks a note on all dashboards. What could not be marked is the error; the rest is in the marks all the same.
func (c *Client) Annotate(ctx context.Context, n Note) (*Marks, error) {
	dashboards := c.Dashboards
	if len(dashboards) == 0 {
		dashboards = []string{""}
	}
	m := &Marks{client: c}
	var errs []error
	for _, d := range dashboards {
		var made struct{ ID int64 }
		if err := c.do(ctx, http.MethodPost, "api/annotations", annotation{Dashboard: d, Time: n.At.UnixMilli(), Tags: n.Tags, Text: n.Text}, &made); err != nil {
			errs = append(errs, fmt.Errorf("annotating dashboard %q: %w", d, err))
			continue
		}
		m.ids = append(m.ids, made.ID)
	}
	return m, errors.Join(errs...)
}

// End makes regions of the annotations, up to an instant.
func (m *Marks) End(ctx context.Context, at time.Time) error {
	var errs []error
	for _, id := range m.ids {
		if err := m.client.do(ctx, http.MethodPatch, "api/annotations/"+strconv.FormatInt(id, 10), annotation{TimeEnd: at.UnixMilli()}, nil); err != nil {
			errs = append(errs, fmt.Errorf("ending annotation %d: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// Check asks whether the token is good and the dashboards are there.
func (c *Client) Check(ctx context.Context) error {
	if err := c.do(ctx, http.MethodGet, "api/annotations?limit=1", nil, nil); err != nil {
		return fmt.Errorf("asking Grafana at %s: %w", c.URL, err)
	}
	var errs []error
	for _, d := range c.Dashboards {
		if err := c.do(ctx, http.MethodGet, "api/dashboards/uid/"+url.PathEscape(d), nil, nil); err != nil {
			errs = append(errs, fmt.Errorf("finding dashboard %q: %w", d, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+"/"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", "application/json")
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var said struct{ Message string }
		if json.Unmarshal(b, &said) != nil || said.Message == "" {
			said.Message = http.StatusText(resp.StatusCode)
		}
		return fmt.Errorf("it says %d: %s", resp.StatusCode, said.Message)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("reading its answer: %w", err)
	}
	return nil
}
