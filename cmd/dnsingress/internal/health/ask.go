// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

// maxHeader bounds what an HTTP check reads, in bytes; the body is not read.
const maxHeader = 64 << 10

// ask makes one check; nil: the member is healthy. ctx bounds its time.
func ask(ctx context.Context, t Target) error {
	address := netip.AddrPortFrom(t.Address, t.Check.Port).String()
	switch t.Check.Protocol {
	case model.TCP:
		return askTCP(ctx, address)
	case model.HTTP, model.HTTPS:
		return askHTTP(ctx, t.Check, address)
	case model.GRPC:
		return askGRPC(ctx, t.Check.Service, address)
	case model.ICMP:
		return ping(ctx, t.Address)
	}
	return fmt.Errorf("unknown protocol %q", t.Check.Protocol)
}

func askTCP(ctx context.Context, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func askHTTP(ctx context.Context, c model.HealthCheck, address string) error {
	u, err := url.ParseRequestURI(c.Path)
	if err != nil {
		return fmt.Errorf("reading the path of the check: %w", err)
	}
	u.Scheme, u.Host = string(c.Protocol), address
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	request.Host = c.Host
	request.Header.Set("User-Agent", "dnsingress-health")
	client := http.Client{
		// No proxy from the environment and no connection kept: a new client is what matters.
		Transport: &http.Transport{
			DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader,
			// Without a name to check, the question is whether it answers, not who it is, as with the kubelet's probes.
			TLSClientConfig: &tls.Config{ServerName: c.TLSName, InsecureSkipVerify: c.TLSName == ""},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // without the URL, which the check tells already
		}
		return err
	}
	response.Body.Close()
	if response.StatusCode < c.Status[0] || response.StatusCode > c.Status[1] {
		return fmt.Errorf("status %d is not in %d-%d", response.StatusCode, c.Status[0], c.Status[1])
	}
	return nil
}

func askGRPC(ctx context.Context, service, address string) error {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(), grpc.WithDisableServiceConfig())
	if err != nil {
		return err
	}
	defer conn.Close()
	reply, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		return err
	}
	if reply.Status != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("gRPC health of service %q is %s", service, reply.Status)
	}
	return nil
}
