// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestParseStubStatus(t *testing.T) {
	// As nginx 1.22.1 answers.
	got, err := parseStubStatus("Active connections: 291 \nserver accepts handled requests\n 16630948 16630946 31070465 \nReading: 6 Writing: 179 Waiting: 106 \n")
	if want := (status{active: 291, accepted: 16630948, handled: 16630946, requests: 31070465}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"", "Active connections: many", "<html>502 Bad Gateway</html>", "Active connections: 1 \nserver accepts handled requests\n 1 2"} {
		if got, err := parseStubStatus(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}
