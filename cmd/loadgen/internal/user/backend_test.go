// SPDX-License-Identifier: Apache-2.0

package user

import (
	"strings"
	"testing"
)

// TestBackendSaysWhoItIs: the name of who answered is noted, unless no pod can have it.
func TestBackendSaysWhoItIs(t *testing.T) {
	for header, want := range map[string]string{
		"":                         "",
		"X-Backend: backend-7\r\n": "backend-7",
		"X-Backend: " + strings.Repeat("x", 300) + "\r\n": "",
	} {
		srv := serveRaw(t, write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+header+"\r\n"))
		samples, causes := do(t, one(t, plain(t, srv.addr)))
		if len(samples) != 1 || causes[0] != nil || samples[0].Backend != want {
			t.Errorf("%.20q: %+v, %v; want backend %q", header, samples, causes, want)
		}
	}
}
