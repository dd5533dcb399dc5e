// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/netboot/order"
)

// params are what the kernel's command line says to the agent.
type params struct {
	url     *url.URL         // of the order
	mac     net.HardwareAddr // of the interface to use
	address netip.Prefix     // that it shall have
}

// parseParams reads the kernel's command line; of a parameter that is there twice the last counts, as with the
// kernel's own.
func parseParams(cmdline string) (params, error) {
	var p params
	var errs []error
	value := map[string]string{}
	for _, word := range strings.Fields(cmdline) {
		if k, v, ok := strings.Cut(word, "="); ok {
			value[k] = v
		}
	}
	u, err := url.Parse(value[order.ParamURL])
	if err != nil || u.Scheme != "http" || u.Host == "" {
		errs = append(errs, fmt.Errorf("%s=%q is no address of an order", order.ParamURL, value[order.ParamURL]))
	}
	p.url = u
	if p.mac, err = net.ParseMAC(value[order.ParamMAC]); err != nil {
		errs = append(errs, fmt.Errorf("%s=%q is no MAC address", order.ParamMAC, value[order.ParamMAC]))
	}
	if p.address, err = netip.ParsePrefix(value[order.ParamAddress]); err != nil {
		errs = append(errs, fmt.Errorf("%s=%q is no address with its length", order.ParamAddress, value[order.ParamAddress]))
	}
	if len(errs) > 0 {
		return params{}, fmt.Errorf("reading the kernel's command line: %w", errors.Join(errs...))
	}
	return p, nil
}
