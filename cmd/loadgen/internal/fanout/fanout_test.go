// SPDX-License-Identifier: Apache-2.0

package fanout

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/openloop"
	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/user"
	"github.com/dnsingress/dnsingress/internal/results"
)

// relayed is a relay that a test can end.
type relayed struct {
	*Relay
	at   string
	stop func()
}

func startRelay(t *testing.T, at string) *relayed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	on, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	r := &relayed{at: on.LocalAddr().String(), Relay: &Relay{
		TLS:  &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		Idle: time.Minute, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, on) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		on.Close()
	})
	t.Cleanup(r.stop)
	return r
}

// people returns n clients of a relay.
func people(t *testing.T, at string, n int) []*user.User {
	t.Helper()
	target, err := user.NewTarget(user.Request{URL: "https://" + at + "/live"})
	if err != nil {
		t.Fatal(err)
	}
	users, err := user.NewPopulation(n, &user.Habits{
		Client: "test", Target: target, Timeout: 20 * time.Second, Protocol: user.HTTP3, TLS: &tls.Config{InsecureSkipVerify: true},
	}, user.Traits{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return users
}

// book collects rows by their request.
type book struct {
	mu   sync.Mutex
	rows map[string][]results.Sample
	came chan string // one token a row
}

func newBook() *book {
	return &book{rows: map[string][]results.Sample{}, came: make(chan string, 1<<16)}
}

func (b *book) note(s *results.Sample, _ bool, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows[s.Request] = append(b.rows[s.Request], *s)
	b.came <- s.Request + " " + s.Error
}

// await reads tokens until one is want.
func (b *book) await(t *testing.T, want string) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case got := <-b.came:
			if got == want {
				return
			}
		case <-limit:
			t.Fatalf("no row %q", want)
		}
	}
}

func plan(n int, every time.Duration) openloop.Plan {
	length := time.Duration(n) * every
	return openloop.Plan{
		Start: openloop.At(time.Now()), Schedule: openloop.NewSchedule(openloop.Constant(1/every.Seconds()), length, every),
		Length: length, MaxInFlight: 1000, Drop: func(openloop.Hit) {}, Open: func() {}, Close: func() {},
	}
}

func settings(d Delivery, size int) Settings {
	return Settings{Client: "test", Track: "live", Delivery: d, Size: size, Timeout: 20 * time.Second, Idle: time.Minute, Again: time.Millisecond}
}

// Every object comes to every subscriber once, in every form, with the source's own instants; twice
// in a row with the same sessions, as a search for the highest rate runs.
func TestDeliveries(t *testing.T) {
	for d, size := range map[Delivery]int{Datagrams: 1000, Streams: 30000, Stream: 30000} {
		t.Run(string(d), func(t *testing.T) {
			relay := startRelay(t, "[::1]:0")
			const n, objects = 5, 20
			users := people(t, relay.at, n+1)
			party, err := Join(t.Context(), settings(d, size), users[n], users[:n])
			if err != nil {
				t.Fatal(err)
			}
			defer party.Leave()
			for run := range 2 {
				b := newBook()
				begin := time.Now().UnixNano()
				if err := party.Flow(t.Context(), plan(objects, time.Millisecond), b.note); err != nil {
					t.Fatal(err)
				}
				party.Settle()
				type key struct {
					user int32
					seq  uint64
				}
				seen := map[key]bool{}
				for _, s := range b.rows[rowObject] {
					k := key{s.User, s.Seq}
					if !s.OK() || seen[k] || s.Bytes != int64(size) || s.IntendedNs < begin || s.SentNs < s.IntendedNs || s.TotalNs < s.SentNs-s.IntendedNs || s.Peer != "::1" {
						t.Errorf("%+v", s)
					}
					seen[k] = true
				}
				if len(seen) != n*objects {
					t.Errorf("run %d: %d deliveries, want %d", run, len(seen), n*objects)
				}
				if got := len(b.rows[rowSubscribe]); run == 0 && got != n || run == 1 && got != 0 {
					t.Errorf("run %d: %d sessions begun", run, got)
				}
				if len(b.rows[rowPublish])+len(b.rows[rowSession]) > 0 {
					t.Errorf("%v", b.rows)
				}
			}
			if c := relay.Counts(); c.Objects != 2*objects || c.Passed != 2*n*objects || c.Dropped+c.TooLarge != 0 || c.Sources != 1 || c.Subscribers != n {
				t.Errorf("the relay counts %+v", c)
			}
		})
	}
}

// What no datagram holds is lost at the source, and told: by the source and for each subscriber.
func TestTooLargeForADatagram(t *testing.T) {
	relay := startRelay(t, "[::1]:0")
	users := people(t, relay.at, 2)
	s := settings(Datagrams, 20000)
	s.Timeout = 200 * time.Millisecond // what will not come is not waited for long; nothing else takes this long to be judged
	party, err := Join(t.Context(), settings(Datagrams, 20000), users[1], users[:1])
	if err != nil {
		t.Fatal(err)
	}
	party.Timeout = s.Timeout
	defer party.Leave()
	b := newBook()
	if err := party.Flow(t.Context(), plan(3, time.Millisecond), b.note); err != nil {
		t.Fatal(err)
	}
	party.Settle()
	lost := 0
	for _, row := range b.rows[rowObject] {
		if row.Error == results.ErrLost {
			lost++
		}
	}
	if len(b.rows[rowPublish]) != 3 || lost != 3 {
		t.Errorf("%d rows of the source, %d lost: %v", len(b.rows[rowPublish]), lost, b.rows)
	}
}

// Subscribers alone learn of the source from what comes; a relay that ends is told of by its
// sessions, and subscribers come again when there is another.
func TestRelayEndsAndComesAgain(t *testing.T) {
	relay := startRelay(t, "[::1]:0")
	users := people(t, relay.at, 3)
	listeners, err := Join(t.Context(), settings(Streams, 100), nil, users[:2])
	if err != nil {
		t.Fatal(err)
	}
	defer listeners.Leave()
	b := newBook()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- listeners.Flow(ctx, plan(1000000, time.Second), b.note) }()
	publish := func() *Party {
		source, err := Join(t.Context(), settings(Streams, 100), users[2], nil)
		if err != nil {
			t.Fatal(err)
		}
		return source
	}
	quiet := func(*results.Sample, bool, error) {}
	source := publish()
	b.await(t, "subscribe ")
	b.await(t, "subscribe ")
	if err := source.Flow(t.Context(), plan(1, time.Millisecond), quiet); err != nil {
		t.Fatal(err)
	}
	b.await(t, "object ")
	b.await(t, "object ")
	relay.stop()
	b.await(t, "session reset")
	b.await(t, "subscribe connect-refused")
	source.Leave()
	startRelay(t, relay.at)
	b.await(t, "subscribe ")
	b.await(t, "subscribe ")
	cancel()
	if err := <-ended; err == nil {
		t.Error("the run was not cut short")
	}
	listeners.Settle()
	if n := len(b.rows[rowObject]); n != 2 {
		t.Errorf("%d deliveries, want 2", n)
	}
}

// A subscriber that stays for a while leaves without an error and comes again.
func TestStay(t *testing.T) {
	relay := startRelay(t, "[::1]:0")
	s := settings(Datagrams, 100)
	s.Stay = 20 * time.Millisecond
	party, err := Join(t.Context(), s, nil, people(t, relay.at, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer party.Leave()
	b := newBook()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- party.Flow(ctx, plan(1000000, time.Second), b.note) }()
	for range 3 {
		b.await(t, "subscribe ")
	}
	cancel()
	<-ended
	party.Settle()
	if len(b.rows[rowSession]) > 0 {
		t.Errorf("%v", b.rows[rowSession])
	}
}

// With no relay there is nothing to publish to: one error.
func TestNoRelay(t *testing.T) {
	taken, err := net.Dial("udp", "[::1]:9") // takes nothing from here
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	users := people(t, taken.LocalAddr().String(), 2)
	if _, err := Join(t.Context(), settings(Datagrams, 100), users[1], users[:1]); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v", err)
	}
}

// Clients that ask for nonsense are refused, and the relay goes on.
func TestRelayRefuses(t *testing.T) {
	relay := startRelay(t, "[::1]:0")
	for _, line := range []string{"HELLO", "SUBSCRIBE live", "SUBSCRIBE live pigeons", "PUBLISH a b c", "TAKE live streams", strings.Repeat("x", 1000)} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		conn, err := quic.DialAddr(ctx, relay.at, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{ALPN}}, Config(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(conn, time.Now().Add(time.Minute), line); err == nil {
			t.Errorf("%.20q was taken", line)
		}
		cancel()
		_ = conn.CloseWithError(0, "")
	}
	users := people(t, relay.at, 2)
	party, err := Join(t.Context(), settings(Stream, 100), users[1], users[:1])
	if err != nil {
		t.Fatal(err)
	}
	defer party.Leave()
	// Objects that are none are not passed on, and end a stream that says so of its length.
	for _, b := range [][]byte{nil, make([]byte, MinObject-1)} {
		if o, err := readObject(b); err == nil {
			t.Errorf("%d bytes are an object %+v", len(b), o)
		}
	}
	b := newBook()
	if err := party.Flow(t.Context(), plan(2, time.Millisecond), b.note); err != nil {
		t.Fatal(err)
	}
	party.Settle()
	if len(b.rows[rowObject]) != 2 {
		t.Errorf("%v", b.rows)
	}
}

func FuzzObject(f *testing.F) {
	b := make([]byte, MinObject)
	object{1, 2, 3, 4}.write(b)
	f.Add(b)
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := readObject(b)
		if (err == nil) != (len(b) >= MinObject) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		again := make([]byte, MinObject)
		o.write(again)
		if fmt.Sprintf("%x", again) != fmt.Sprintf("%x", b[:MinObject]) {
			t.Errorf("%x became %x", b[:MinObject], again)
		}
	})
}
