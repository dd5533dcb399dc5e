// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// mixFile is a file for --requests.
type mixFile struct {
	Requests []mixRequest `yaml:"requests"`
}

// mixRequest is a request that is drawn by weight.
type mixRequest struct {
	mixStep `yaml:",inline"`
	Weight  float64   `yaml:"weight"`
	Then    []mixStep `yaml:"then"`
}

// mixStep is one request.
type mixStep struct {
	Name      string            `yaml:"name"`
	Method    string            `yaml:"method"`
	Path      string            `yaml:"path"`
	Headers   map[string]string `yaml:"headers"`
	Body      string            `yaml:"body"`
	BodyFile  string            `yaml:"bodyFile"` // from the file's directory
	BodyBytes int64             `yaml:"bodyBytes"`
	Think     user.Think        `yaml:"think"`
}

// maxBodyBytes bounds the body that a request may have.
const maxBodyBytes = 64 << 20

// readMix reads a file of requests. The error holds everything that is wrong with it, each with its place.
func readMix(path string, base user.Request) (*user.Mix, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--requests: %w", err)
	}
	var m mixFile
	f := strictyaml.Decode(path, data, &m)
	if len(m.Requests) == 0 {
		f.Problem("requests", "requests: [{path: /}]", "there is no request")
	}
	var sessions []user.Session
	for i, r := range m.Requests {
		at := fmt.Sprintf("requests[%d]", i)
		s := user.Session{Weight: 1}
		if f.Has(at + ".weight") {
			s.Weight = r.Weight
		}
		if !(s.Weight > 0 && s.Weight <= 1e9) {
			f.Problem(at+".weight", "weight: 9", "a weight must be positive")
		}
		if f.Has(at + ".think") {
			f.Problem(at+".think", "think is for what follows, below then", "the first request of a session is due by the schedule")
		}
		steps := append([]mixStep{r.mixStep}, r.Then...)
		for n, step := range steps {
			where := at
			if n > 0 {
				where = fmt.Sprintf("%s.then[%d]", at, n-1)
			}
			s.Steps = append(s.Steps, step.read(f, where, filepath.Dir(path), base))
		}
		sessions = append(sessions, s)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return user.NewMix(sessions), nil
}

// read makes the step's target, noting in f what is wrong.
func (s *mixStep) read(f *strictyaml.File, at, dir string, base user.Request) user.Step {
	r := base
	r.Header = base.Header.Clone()
	for name, value := range s.Headers {
		r.Header.Set(name, value)
	}
	if s.Method != "" {
		r.Method = s.Method
	}
	bodies := 0
	for _, key := range []string{"body", "bodyFile", "bodyBytes"} {
		if f.Has(at + "." + key) {
			bodies++
		}
	}
	if bodies > 1 {
		f.Problem(at, "keep one", "body, bodyFile and bodyBytes exclude each other")
	}
	switch {
	case s.Body != "":
		r.Body = []byte(s.Body)
	case s.BodyFile != "":
		name := s.BodyFile
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		var err error
		if r.Body, err = os.ReadFile(name); err != nil {
			f.Problem(at+".bodyFile", "", "%v", err)
		}
	case s.BodyBytes < 0 || s.BodyBytes > maxBodyBytes:
		f.Problem(at+".bodyBytes", "", "a body has 0 to %d bytes", maxBodyBytes)
	case s.BodyBytes > 0:
		r.Body = randomBytes(s.BodyBytes)
	}
	step := user.Step{Name: s.Name, Think: s.Think}
	if step.Name == "" {
		step.Name = r.Method + " " + s.Path
	}
	var err error
	if r.URL, err = urlAt(base.URL, s.Path); err == nil {
		step.Target, err = user.NewTarget(r)
	}
	if err != nil {
		f.Problem(at+".path", "path: /items?n=1", "%v", err)
	}
	return step
}

// parseMix reads 'WEIGHT METHOD PATH [BODY]' of each.
func parseMix(requests []string, base user.Request) (*user.Mix, error) {
	var sessions []user.Session
	var errs []error
	for _, text := range requests {
		parts := strings.SplitN(strings.TrimSpace(text), " ", 4)
		weight, err := strconv.ParseFloat(parts[0], 64)
		if len(parts) < 3 || err != nil || !(weight > 0 && weight <= 1e9) {
			errs = append(errs, fmt.Errorf("%q is no request with a weight (hint: '9 GET /items')", text))
			continue
		}
		r := base
		r.Method = parts[1]
		if len(parts) == 4 {
			r.Body = []byte(parts[3])
		}
		step := user.Step{Name: parts[1] + " " + parts[2]}
		if r.URL, err = urlAt(base.URL, parts[2]); err == nil {
			step.Target, err = user.NewTarget(r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", text, err))
			continue
		}
		sessions = append(sessions, user.Session{Weight: weight, Steps: []user.Step{step}})
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return user.NewMix(sessions), nil
}

// urlAt returns the URL of a path at another URL's host.
func urlAt(url, path string) (string, error) {
	if !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("path %q must begin with / (all requests of a mix go to the URL's host)", path)
	}
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	return r.URL.Scheme + "://" + r.URL.Host + path, nil
}

// randomBytes returns bytes that no compression shortens, always the same.
func randomBytes(n int64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}
