// SPDX-License-Identifier: Apache-2.0

package grafana_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/grafana"
)

// annotation is what the server keeps, with the fields of Grafana's HTTP API.
type annotation struct {
	ID        int64
	Dashboard string   `json:"dashboardUID"`
	Time      int64    `json:"time"`
	TimeEnd   int64    `json:"timeEnd"`
	Tags      []string `json:"tags"`
	Text      string   `json:"text"`
}

// server answers as Grafana's HTTP API is documented: tokens, dashboards that are not there, ids, milliseconds.
type server struct {
	mu   sync.Mutex
	kept []annotation
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	say := func(status int, format string, a ...any) {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(status)
		fmt.Fprintf(w, format, a...)
	}
	if r.Header.Get("Authorization") != "Bearer good" {
		say(http.StatusUnauthorized, `{"message":"Invalid API key","messageId":"api-key.invalid"}`)
		return
	}
	var a annotation
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			say(http.StatusBadRequest, `{"message":"bad request data"}`)
			return
		}
	}
	id, isOne := strings.CutPrefix(r.URL.Path, "/grafana/api/annotations/")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/grafana/api/annotations":
		say(http.StatusOK, `[]`)
	case r.Method == http.MethodGet && r.URL.Path == "/grafana/api/dashboards/uid/cluster":
		say(http.StatusOK, `{"dashboard":{"uid":"cluster"}}`)
	case r.Method == http.MethodGet:
		say(http.StatusNotFound, `{"message":"Dashboard not found"}`)
	case r.Method == http.MethodPost && a.Dashboard != "" && a.Dashboard != "cluster" && a.Dashboard != "dns":
		say(http.StatusNotFound, `{"message":"Dashboard not found"}`)
	case r.Method == http.MethodPost && a.Text == "":
		say(http.StatusBadRequest, `{"message":"Failed to save annotation","error":"text field should not be empty"}`)
	case r.Method == http.MethodPost:
		a.ID = int64(len(s.kept) + 1)
		s.kept = append(s.kept, a)
		say(http.StatusOK, `{"message":"Annotation added","id":%d}`, a.ID)
	case r.Method == http.MethodPatch && isOne:
		n, err := strconv.Atoi(id)
		if err != nil || n < 1 || n > len(s.kept) {
			say(http.StatusNotFound, `{"message":"Could not find annotation to update"}`)
			return
		}
		s.kept[n-1].TimeEnd = a.TimeEnd
		say(http.StatusOK, `{"message":"Annotation patched"}`)
	default:
		say(http.StatusNotFound, `{"message":"Not found"}`)
	}
}

func TestAnnotate(t *testing.T) {
	s := &server{}
	web := httptest.NewServer(s)
	defer web.Close()
	c := &grafana.Client{URL: web.URL + "/grafana/", Token: "good", Dashboards: []string{"cluster", "missing", "dns"}}
	at := time.UnixMilli(1763804800123)
	note := grafana.Note{At: at, Text: "pod-freeze of bench/backend-7", Tags: []string{"testbed", "fault"}}
	m, err := c.Annotate(t.Context(), note)
	if err == nil || !strings.Contains(err.Error(), `annotating dashboard "missing": it says 404: Dashboard not found`) {
		t.Errorf("a dashboard that is not there: %v", err)
	}
	if err := m.End(t.Context(), at.Add(1500*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	want := []annotation{
		{1, "cluster", 1763804800123, 1763804801623, note.Tags, note.Text},
		{2, "dns", 1763804800123, 1763804801623, note.Tags, note.Text},
	}
	if diff := cmp.Diff(want, s.kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	c.Dashboards = nil
	if _, err := c.Annotate(t.Context(), note); err != nil || s.kept[2].Dashboard != "" {
		t.Errorf("of no dashboard: %v", err)
	}
}

func TestCheck(t *testing.T) {
	web := httptest.NewServer(&server{})
	defer web.Close()
	for name, test := range map[string]struct {
		client grafana.Client
		want   string
	}{
		"all is well":  {grafana.Client{Token: "good", Dashboards: []string{"cluster"}}, ""},
		"a bad token":  {grafana.Client{Token: "bad"}, "it says 401: Invalid API key"},
		"no dashboard": {grafana.Client{Token: "good", Dashboards: []string{"cluster", "gone"}}, `finding dashboard "gone": it says 404: Dashboard not found`},
	} {
		test.client.URL = web.URL + "/grafana"
		switch err := test.client.Check(t.Context()); {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	web.Close()
	gone := grafana.Client{URL: web.URL, Token: "good"}
	if err := gone.Check(t.Context()); err == nil {
		t.Error("nobody listens, and all is well")
	}
}
