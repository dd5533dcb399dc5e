// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/dnsingress/dnsingress/cmd/loadgen/internal/fanout"
	"github.com/dnsingress/dnsingress/internal/cli"
)

const relayLong = `relay is the server side of 'loadgen fanout': it passes each object that a source publishes on a
track to every subscriber of the track, over QUIC, until SIGINT or SIGTERM. The first line on stdout
is the address that it listens on, the last what it did, as JSON. A subscriber that is slow loses
objects, and holds up nobody.

Without --cert it makes itself a certificate, which clients accept with --insecure.`

// relayFlags are the flags of "loadgen relay" as given.
type relayFlags struct {
	listen    string
	cert, key string
	idle      time.Duration
	logLevel  string
}

func relayCommand(stdout, stderr io.Writer) *cobra.Command {
	var f relayFlags
	c := &cobra.Command{
		Use:     "relay",
		Short:   "Pass objects from a source to subscribers over QUIC",
		Long:    relayLong,
		Example: `  loadgen relay --listen [::]:4433 --cert relay.pem --key relay.key`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			quietQUIC()
			logger, err := cli.Logger(stderr, f.logLevel)
			if err != nil {
				return err
			}
			cert, err := f.certificate()
			if err != nil {
				return err
			}
			on, err := net.ListenPacket("udp", f.listen)
			if err != nil {
				return fmt.Errorf("listening on %s: %w", f.listen, err)
			}
			defer on.Close()
			r := &fanout.Relay{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Idle: f.idle, Log: logger}
			fmt.Fprintln(stdout, on.LocalAddr())
			if err := r.Serve(cmd.Context(), on); err != nil {
				return err
			}
			return json.NewEncoder(stdout).Encode(r.Counts())
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.listen, "listen", "[::]:4433", "UDP address to listen on; port 0 is any that is free")
	fs.StringVar(&f.cert, "cert", "", "PEM file with the certificate and those that it hangs on")
	fs.StringVar(&f.key, "key", "", "PEM file with the certificate's key")
	fs.DurationVar(&f.idle, "idle", 5*time.Second, "after which a client that says nothing is gone")
	fs.StringVar(&f.logLevel, "log-level", "warn", "debug, info, warn or error")
	return c
}

// certificate returns the one that is given, or a new one.
func (f *relayFlags) certificate() (tls.Certificate, error) {
	if f.idle <= 0 {
		return tls.Certificate{}, cli.Misuse("--idle must be positive")
	}
	if f.cert != "" || f.key != "" {
		if f.cert == "" || f.key == "" {
			return tls.Certificate{}, cli.Misuse("--cert and --key belong together")
		}
		c, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return c, &cli.MisuseError{Err: fmt.Errorf("reading certificate: %w", err)}
		}
		return c, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "loadgen relay"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IPAddresses: []net.IP{net.IPv6loopback}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, errors.Join(errors.New("making certificate"), err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// quietQUIC keeps quic-go from writing to stderr on its own, of buffers that an ordinary user may not enlarge.
func quietQUIC() { log.SetOutput(io.Discard) }
