// SPDX-License-Identifier: Apache-2.0

package netboot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

// serveHTTP gives agents their orders and images, and hears from them.
func (s *Service) serveHTTP(ctx context.Context) (func() error, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp4", netip.AddrPortFrom(s.Address.Addr(), uint16(s.ports.http)).String())
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	return func() error {
		err := server.Close()
		<-served
		return err
	}, nil
}

// handler serves what tokens open; whoever has none finds nothing.
func (s *Service) handler() http.Handler {
	mux := http.NewServeMux()
	with := func(pattern string, serve func(o *Offer, w http.ResponseWriter, r *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			o := s.withToken(r.PathValue("token"))
			if o == nil {
				http.NotFound(w, r)
				return
			}
			serve(o, w, r)
		})
	}
	with("GET /v1/order/{token}", (*Offer).serveOrder)
	with("GET /v1/image/{token}", (*Offer).serveImage)
	with("POST /v1/report/{token}", (*Offer).serveReport)
	with("GET /v1/boot/{token}/kernel", func(o *Offer, w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, s.Kernel) })
	with("GET /v1/boot/{token}/initrd", func(o *Offer, w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.Initramfs))
	})
	return mux
}

func (o *Offer) serveOrder(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o.Order) // a node that hears only half of it asks again
}

// serveImage sends the image from an offset on. An agent whose connection broke asks for the rest.
func (o *Offer) serveImage(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.ParseInt(r.FormValue("from"), 10, 64)
	if err != nil || from < 0 || from > o.Order.Image.Size {
		http.Error(w, "from is no offset in the image", http.StatusBadRequest)
		return
	}
	if o.image.Disk == nil {
		http.NotFound(w, r) // an order to go back needs none
		return
	}
	w.Header().Set("Content-Type", "application/zstd")
	if err := compress(w, io.NewSectionReader(o.image.Disk, from, o.Order.Image.Size-from)); err != nil {
		// The status has gone out; a stream that ends in the middle of a frame is what the agent sees.
		o.service.Log.Debug("sending an image", "node", o.client.Node, "error", err)
		panic(http.ErrAbortHandler)
	}
}

// compress writes one zstd frame. The fastest level keeps ahead of any card.
func compress(w io.Writer, r io.Reader) error {
	enc, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if _, err := io.Copy(enc, r); err != nil {
		return err
	}
	return enc.Close()
}

// maxReport is more than any report has.
const maxReport = 64 << 10

func (o *Offer) serveReport(w http.ResponseWriter, r *http.Request) {
	var report order.Report
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport)).Decode(&report); err != nil {
		http.Error(w, "this is no report", http.StatusBadRequest)
		return
	}
	// A report that is the last counts, whether or not the node waits for the answer.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(r.Context()), time.Minute, errors.New("nobody reads the reports"))
	defer cancel()
	o.report(ctx, report)
	w.WriteHeader(http.StatusNoContent)
}
