// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"embed"
	"net/http"
	"strconv"
)

// page is a small read-only site that shows pools as they live. It needs nothing from anywhere else.
//
//go:embed page
var page embed.FS

// listed bounds the names of one list.
const (
	listed     = 200
	mostListed = 10000
)

// policyOfPage lets a browser load and ask nothing but this server, and nobody frame the page.
const policyOfPage = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// servePage serves the page, or one of the files that it consists of.
func servePage(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if name == "" {
		name = "index.html"
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policyOfPage)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	http.ServeFileFS(w, r, page, "page/"+name)
}

// pools lists names, those that contain match, at most limit.
func (s *Server) pools(w http.ResponseWriter, r *http.Request) {
	limit := listed
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostListed {
			http.Error(w, "limit "+strconv.Quote(text)+" is no number of names (hint: 1 to "+strconv.Itoa(mostListed)+")", http.StatusBadRequest)
			return
		}
		limit = n
	}
	list, total := s.options.Explainer.Pools(r.URL.Query().Get("match"), limit)
	writeJSON(w, map[string]any{"pools": list, "total": total})
}
