// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
)

// mostBody is how long a body may be: about 100,000 endpoints.
const mostBody = 32 << 20

// answer is what a request gets in place of an error.
type answer struct {
	status int // 200 with a body, 204 without
	body   any
}

// refusal is an error of the client's, with the status that says which.
type refusal struct {
	status int
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }

func refuse(status int, format string, a ...any) error {
	return &refusal{status, fmt.Errorf(format, a...)}
}

// handler answers external-dns.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for path, methods := range map[string]map[string]func(*http.Request) (answer, error){
		"/{$}":             {http.MethodGet: s.negotiate},
		"/records":         {http.MethodGet: s.records, http.MethodPost: s.change},
		"/adjustendpoints": {http.MethodPost: s.adjust},
	} {
		for method, f := range methods {
			mux.Handle(method+" "+path, s.answered(path, f))
		}
	}
	mux.HandleFunc("GET /healthz", alive)
	return mux
}

func alive(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

// answered answers with what f gives, and counts and tells of it.
func (s *Server) answered(path string, f func(*http.Request) (answer, error)) http.Handler {
	if path == "/{$}" {
		path = "/"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		done := s.metrics.begin(r.Method, path)
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		a, err := f(r)
		if err != nil {
			status := http.StatusInternalServerError
			var bad *refusal
			if errors.As(err, &bad) {
				status = bad.status
			}
			s.options.Log.Error("request failed", "method", r.Method, "path", path, "status", status, "error", err)
			if status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "1")
			}
			http.Error(w, err.Error(), status)
			done(status)
			return
		}
		if a.body != nil {
			w.Header().Set("Content-Type", MediaType)
		}
		w.WriteHeader(a.status)
		if a.body != nil {
			if err := json.NewEncoder(w).Encode(a.body); err != nil {
				s.options.Log.Warn("answering", "path", path, "error", err) // it has gone away
			}
		}
		done(a.status)
	})
}

// domainFilter is what external-dns reads of the zones.
type domainFilter struct {
	Include []string `json:"include"`
}

func (s *Server) negotiate(r *http.Request) (answer, error) {
	if err := checkAccept(r); err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, domainFilter{s.zones}}, nil
}

func (s *Server) records(r *http.Request) (answer, error) {
	if err := checkAccept(r); err != nil {
		return answer{}, err
	}
	if !s.writing.TryLock() {
		return answer{}, refuse(http.StatusServiceUnavailable, "a batch is being written")
	}
	defer s.writing.Unlock()
	ctx, cancel := context.WithTimeout(r.Context(), s.options.Timeout)
	defer cancel()
	all, err := s.options.Store.Records(ctx)
	if err != nil {
		return answer{}, err
	}
	if all == nil {
		all = []*externaldns.Endpoint{} // null would do, but is no list
	}
	s.metrics.records.Set(float64(len(all)))
	return answer{http.StatusOK, all}, nil
}

// adjust gives the endpoints that can be written, as they are: all that external-dns says of one is kept, so that what
// it reads later is what it wrote.
func (s *Server) adjust(r *http.Request) (answer, error) {
	if err := checkAccept(r); err != nil {
		return answer{}, err
	}
	data, err := body(r)
	if err != nil {
		return answer{}, err
	}
	all, bad, err := readEndpoints(data)
	if err != nil {
		return answer{}, refuse(http.StatusBadRequest, "%w", err)
	}
	if bad != nil {
		s.options.Log.Warn("endpoints are left out", "error", bad)
	}
	return answer{http.StatusOK, all}, nil
}

// change writes a batch. One that has begun is not broken off when external-dns goes away, only when its time is over.
func (s *Server) change(r *http.Request) (answer, error) {
	data, err := body(r)
	if err != nil {
		return answer{}, err
	}
	changes, err := s.zones.readChanges(data)
	if err != nil {
		return answer{}, refuse(http.StatusBadRequest, "%w", err)
	}
	if !s.writing.TryLock() {
		return answer{}, refuse(http.StatusServiceUnavailable, "another batch is being written")
	}
	defer s.writing.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), s.options.Timeout)
	defer cancel()
	if err := s.options.Store.Apply(ctx, changes, s.zones.publishes); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusNoContent}, nil
}

func checkAccept(r *http.Request) error {
	if accepted(r.Header) {
		return nil
	}
	return refuse(http.StatusNotAcceptable, "Accept %q has nothing that is spoken here (hint: %s)", r.Header.Get("Accept"), MediaType)
}

// body reads what was sent.
func body(r *http.Request) ([]byte, error) {
	if t := r.Header.Get("Content-Type"); !written(t) {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type %q is not spoken here (hint: %s)", t, MediaType)
	}
	data, err := io.ReadAll(r.Body)
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body has more than %d octets", long.Limit)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "reading the body: %w", err)
	}
	return data, nil
}
