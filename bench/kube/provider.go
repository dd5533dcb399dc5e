// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
)

// provider is what external-dns writes its records to: its documented webhook interface, kept in memory.
type provider struct {
	listener net.Listener
	server   *http.Server
	mu       sync.Mutex
	records  map[string]record // by name and type
	err      error
}

// record is an endpoint as external-dns writes it.
type record struct {
	DNSName       string            `json:"dnsName,omitempty"`
	Targets       []string          `json:"targets,omitempty"`
	RecordType    string            `json:"recordType,omitempty"`
	SetIdentifier string            `json:"setIdentifier,omitempty"`
	RecordTTL     int64             `json:"recordTTL,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

const mediaType = "application/external.dns.webhook+json;version=1"

func newProvider() (*provider, error) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return nil, fmt.Errorf("listening for external-dns: %w", err)
	}
	p := &provider{listener: l, records: map[string]record{}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", mediaType)
		_ = json.NewEncoder(w).Encode(v) // who went away is told nothing
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string][]string{"include": {strings.TrimSuffix(domain, ".")}})
	})
	mux.HandleFunc("GET /records", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		all := make([]record, 0, len(p.records))
		for _, r := range p.records {
			all = append(all, r)
		}
		p.mu.Unlock()
		answer(w, all)
	})
	mux.HandleFunc("POST /adjustendpoints", func(w http.ResponseWriter, r *http.Request) {
		var all []json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, all)
	})
	mux.HandleFunc("POST /records", func(w http.ResponseWriter, r *http.Request) {
		var changes struct {
			Create    []record `json:"create"`
			UpdateNew []record `json:"updateNew"`
			Delete    []record `json:"delete"`
		}
		if err := json.NewDecoder(r.Body).Decode(&changes); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		for _, r := range changes.Delete {
			delete(p.records, r.DNSName+" "+r.RecordType)
		}
		for _, r := range append(changes.Create, changes.UpdateNew...) {
			p.records[r.DNSName+" "+r.RecordType] = r
		}
		p.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	p.server = &http.Server{Handler: mux}
	go func() {
		err := p.server.Serve(l)
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
	}()
	return p, nil
}

func (p *provider) url() string  { return "http://" + p.listener.Addr().String() }
func (p *provider) Close() error { return p.server.Close() }

// addresses is an answerer.
func (p *provider) addresses(i int) ([]netip.Addr, error) {
	p.mu.Lock()
	r, ok := p.records[strings.TrimSuffix(hostName(i), ".")+" AAAA"]
	err := p.err
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("no record of Service %d", i)
	}
	var addresses []netip.Addr
	for _, t := range r.Targets {
		a, err := netip.ParseAddr(t)
		if err != nil {
			return nil, fmt.Errorf("a target of Service %d: %w", i, err)
		}
		addresses = append(addresses, a)
	}
	return addresses, nil
}
