// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

const (
	answerTime = 10 * time.Second // for one answer that has no body to speak of
	pause      = time.Second      // between two tries
	tries      = 120              // a switch that has seen a link come up may be silent for a minute
	every      = time.Second      // between two reports of progress
)

// server is the netboot service, as the agent sees it.
type server struct {
	url     *url.URL // of the order
	client  *http.Client
	said    atomic.Int64 // when progress was last reported, in nanoseconds since 1970
	current order.Order
}

func newServer(u *url.URL) *server {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 10 * time.Second}
	return &server{url: u, client: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, ResponseHeaderTimeout: answerTime}}}
}

// again tries until it works, tries are used up or ctx ends.
func again(ctx context.Context, try func() error) error {
	var err error
	for range tries {
		var final *finalError
		if err = try(); err == nil || errors.As(err, &final) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// finalError is an answer that will not change.
type finalError struct{ status string }

func (e *finalError) Error() string { return "the netboot service answers " + e.status }

// do asks and checks the status.
func (s *server) do(req *http.Request) (*http.Response, error) {
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	resp.Body.Close()
	if resp.StatusCode/100 == 4 {
		return nil, &finalError{resp.Status}
	}
	return nil, errors.New("the netboot service answers " + resp.Status)
}

// order asks for the order.
func (s *server) order(ctx context.Context) (order.Order, error) {
	var o order.Order
	err := again(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
		if err != nil {
			return err
		}
		resp, err := s.do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&o)
	})
	if err == nil {
		err = o.Check()
	}
	if err != nil {
		return o, fmt.Errorf("asking for the order: %w", err)
	}
	s.current = o
	return o, nil
}

// report says what became of the order. Progress is said once a second, and lost if it does not get through.
func (s *server) report(ctx context.Context, r order.Report) error {
	progress := (r.Step == order.Writing || r.Step == order.Verifying) && r.Done < r.Total
	now := time.Now()
	if progress && now.Sub(time.Unix(0, s.said.Load())) < every {
		return nil
	}
	s.said.Store(now.UnixNano())
	r.At = now
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.ResolveReference(&url.URL{Path: s.current.ReportPath}).String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := s.do(req)
	if err != nil {
		return fmt.Errorf("reporting: %w", err)
	}
	return resp.Body.Close()
}

// insist reports until it is heard.
func (s *server) insist(ctx context.Context, r order.Report) error {
	return again(ctx, func() error { return s.report(ctx, r) })
}

// image opens the image; a connection that breaks is made again, and the stream goes on where it was.
func (s *server) image(ctx context.Context, o order.Order, from int64) (io.ReadCloser, error) {
	i := &imageStream{ctx: ctx, server: s, path: o.ImagePath, at: from, size: o.Image.Size}
	if err := again(ctx, i.open); err != nil {
		return nil, fmt.Errorf("asking for the image: %w", err)
	}
	return i, nil
}

// imageStream is an image from an offset on.
type imageStream struct {
	ctx      context.Context
	server   *server
	path     string
	at, size int64

	body    io.ReadCloser
	decoder *zstd.Decoder
}

func (i *imageStream) open() error {
	u := i.server.url.ResolveReference(&url.URL{Path: i.path, RawQuery: "from=" + strconv.FormatInt(i.at, 10)})
	req, err := http.NewRequestWithContext(i.ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := i.server.do(req)
	if err != nil {
		return err
	}
	if i.decoder == nil {
		i.decoder, err = zstd.NewReader(resp.Body)
	} else {
		err = i.decoder.Reset(resp.Body)
	}
	if err != nil {
		resp.Body.Close()
		return err
	}
	i.body = resp.Body
	return nil
}

// Read returns io.EOF at the image's end and not before.
func (i *imageStream) Read(p []byte) (int, error) {
	for lost := 0; ; lost++ {
		n, err := i.decoder.Read(p)
		i.at += int64(n)
		switch {
		case n > 0:
			return n, nil // an error that came with it comes again
		case errors.Is(err, io.EOF) && i.at >= i.size:
			return 0, io.EOF
		case err == nil:
			continue
		case lost >= tries || i.ctx.Err() != nil:
			return 0, err
		}
		i.body.Close()
		if err := again(i.ctx, i.open); err != nil {
			return 0, err
		}
	}
}

func (i *imageStream) Close() error {
	if i.decoder != nil {
		i.decoder.Close()
	}
	return i.body.Close()
}
