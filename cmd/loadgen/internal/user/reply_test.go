// SPDX-License-Identifier: Apache-2.0

package user

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

// parse reads a reply with this package's parser.
func parse(text, method string) (r reply, body int64, left string, err error) {
	in := bufio.NewReaderSize(strings.NewReader(text), 64)
	if err = r.read(in, method == http.MethodHead); err != nil {
		return r, 0, "", err
	}
	body, err = r.discard(in, in)
	rest, _ := io.ReadAll(in)
	return r, body, string(rest), err
}

// theirs reads it with net/http's.
func theirs(text, method string) (status int, shut bool, body int64, left string, err error) {
	in := bufio.NewReaderSize(strings.NewReader(text), 64)
	req := &http.Request{Method: method}
	for {
		resp, err := http.ReadResponse(in, req)
		if err != nil {
			return 0, false, 0, "", err
		}
		if resp.StatusCode == 101 {
			return 0, false, 0, "", errUnexpected
		}
		if resp.StatusCode < 200 {
			continue
		}
		n, err := io.Copy(io.Discard, resp.Body)
		rest, _ := io.ReadAll(in)
		return resp.StatusCode, resp.Close, n, string(rest), err
	}
}

// What this parser takes net/http's takes too, and reads alike: status, length of the body, where
// the reply ends and whether another may follow. It may refuse more.
func FuzzReplyLikeNetHTTP(f *testing.F) {
	long := "X-Long: " + strings.Repeat("x", 300) + "\r\n"
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: x\r\n\r\nrest",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\na\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nConnection: a, close\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 1\n\nx",
		"HTTP/1.1 200 OK\r\n" + long + "X-Fold: a\r\n b\r\nContent-Length: 1\r\n\r\nx",
		"HTTP/1.1 200\r\nContent-Length : 1\r\n\r\nx",
		"HTTP/2.0 200 OK\r\n\r\n",
	} {
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, head bool) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		r, body, left, err := parse(text, method)
		if err != nil {
			return
		}
		status, shut, n, rest, err := theirs(text, method)
		if err != nil {
			t.Fatalf("%q: taken as %+v, net/http says %v", text, r, err)
		}
		if status != r.status || n != body || rest != left || shut != r.close {
			t.Errorf("%q: status %d, %d bytes, close %v, left %q; net/http has %d, %d, %v, %q", text, r.status, body, r.close, left, status, n, shut, rest)
		}
	})
}

// Replies that servers send are read, not refused.
func TestReplies(t *testing.T) {
	tests := []struct {
		text  string
		body  int64
		close bool
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 5, false},
		{"HTTP/1.1 200 \r\nCONTENT-LENGTH:5\r\nX-A: b\r\n\r\nhello", 5, false},
		{"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 0, false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\nA;x=\"y\"\r\n0123456789\r\n00\r\nTrailer: a\r\n\r\n", 10, false},
		{"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok", 2, true},
		{"HTTP/1.1 200 OK\r\n\r\neverything", 10, true},
		{"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 2, true},
		{"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", 2, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n" + strings.Repeat("X-A: "+strings.Repeat("y", 100)+"\r\n", 5) + "\r\n" + strings.Repeat("z", 300), 300, false},
	}
	for _, tt := range tests {
		r, body, left, err := parse(tt.text, http.MethodGet)
		if err != nil || r.status != 200 || body != tt.body || r.close != tt.close || left != "" {
			t.Errorf("%q: %+v, %d bytes, %q left, %v", tt.text, r, body, left, err)
		}
	}
}

func BenchmarkReply(b *testing.B) {
	const text = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 03:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: keep-alive\r\nX-Backend: backend-7c9d5-x2x4q\r\n\r\nhello"
	src := strings.NewReader(text)
	in := bufio.NewReaderSize(src, 4096)
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(text)
		in.Reset(src)
		var r reply
		if err := r.read(in, false); err != nil {
			b.Fatal(err)
		}
		if _, err := r.discard(in, in); err != nil {
			b.Fatal(err)
		}
	}
}
