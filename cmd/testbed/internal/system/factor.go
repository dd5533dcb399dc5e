// SPDX-License-Identifier: Apache-2.0

package system

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/scenario"
)

// Levels of the factors that are about how a system stands. The first of each is what stands without the factor.
const (
	packDefault = "default"
	packTuned   = "tuned"

	frontStatic     = "static"
	frontL2         = "l2"
	frontKeepalived = "keepalived"
	frontBGP        = "bgp"

	retryNone   = "none"
	retryClient = "client"
	retryProxy  = "proxy"
	retryBoth   = "both"

	dynamicTTL = "dynamic"

	timersStock = "stock"
	timersShort = "short"
)

// Packs are the levels of the factor pack.
func Packs() []string { return []string{packDefault, packTuned} }

// Fronts are the levels of the factor front.
func Fronts() []string { return []string{frontStatic, frontL2, frontKeepalived, frontBGP} }

// Retries are the levels of the factor retry; without it, proxies do as their pack says and clients try once.
func Retries() []string { return []string{retryNone, retryClient, retryProxy, retryBoth} }

// TimerLevels are the levels of the factor timers; without it, the cluster stands as its inventory says.
func TimerLevels() []string { return []string{timersStock, timersShort} }

// Why a front cannot stand.
var (
	errL2  = errors.New("MetalLB answers for a Service's address on one node and leaves the way to the pods to kube-proxy, which workers do not run here (hint: keepalived, a virtual address that needs none)")
	errBGP = errors.New("BGP ECMP needs a router between clients and workers that speaks BGP and spreads flows over equal paths; here they are on one switch (hint: keepalived)")
)

// Accepts says whether a factor means anything to the system, and whether the system can stand at a level of it; the error is
// the reason why not.
func (s System) Accepts(factor, level string) (applies bool, err error) {
	proxy, zone := s.reach == byProxy, s.reach == byZone
	switch factor {
	case scenario.Pack.String():
		return s.tuned != "", oneOf(level, Packs())
	case scenario.Front.String():
		if err := oneOf(level, Fronts()); err != nil || !proxy {
			return proxy, err
		}
		switch level {
		case frontL2:
			return true, errL2
		case frontBGP:
			return true, errBGP
		}
		return true, nil
	case scenario.TLS.String():
		if level == "on" && proxy && s.product != "" {
			return true, fmt.Errorf("%s has no manifest for TLS (hint: %s has)", s.Name, s.Product())
		}
		return true, oneOf(level, []string{"off", "on"})
	case scenario.Retry.String():
		if err := oneOf(level, Retries()); err != nil {
			return true, err
		}
		if inProxy := level == retryProxy || level == retryBoth; inProxy && !proxy {
			return true, errors.New("nothing between client and pod could try again (hint: none or client; pairs of system and retry)")
		}
		if s.product != "" && proxy && level != retryClient {
			return true, fmt.Errorf("%s has no manifest for it (hint: %s has)", s.Name, s.Product())
		}
		return true, nil
	case scenario.TTL.String():
		if level == dynamicTTL && s.Product() != "dnsingress" && zone {
			return true, errors.New("only dnsingress chooses TTLs")
		}
		return zone, nil
	case scenario.Timers.String():
		return true, oneOf(level, TimerLevels())
	case scenario.Services.String():
		if level != "1" && proxy && s.product != "" {
			return true, fmt.Errorf("%s has no manifest for several services (hint: %s has)", s.Name, s.Product())
		}
		if level != "1" && s.ownTTL {
			return true, fmt.Errorf("%s has no manifest for several services", s.Name)
		}
		return true, nil
	case scenario.Cached.String():
		return zone, nil
	case scenario.ClientTTL.String():
		return s.reach != byAddress, nil
	}
	return true, nil
}

func oneOf(level string, known []string) error {
	if level == "" || slices.Contains(known, level) {
		return nil
	}
	return fmt.Errorf("unknown level %q (hint: %s)", level, strings.Join(known, ", "))
}

// Check finds out whether the repository has the manifests of the system in a setup, and what contradicts itself in it; nothing
// has to stand for that.
func (s System) Check(repo string, u scenario.Setup) error {
	var errs []error
	for _, l := range []struct{ factor, level string }{
		{"pack", u.Pack},
		{"front", u.Front},
		{"retry", u.Retry},
		{"timers", u.Timers},
		{"tls", map[bool]string{true: "on"}[u.TLS]},
		{"services", strconv.Itoa(max(u.Services, 1))},
	} {
		if l.level == "" {
			continue
		}
		if _, err := s.Accepts(l.factor, l.level); err != nil {
			errs = append(errs, fmt.Errorf("system %s, %s %s: %w", s.Name, l.factor, l.level, err))
		}
	}
	if u.Pods > 0 && u.Workers > 0 && u.Pods < u.Workers && s.reach == byAddress {
		errs = append(errs, fmt.Errorf("system %s: %d pods leave some of %d workers without any (hint: as many pods as workers)", s.Name, u.Pods, u.Workers))
	}
	for _, dir := range s.parts(u) {
		if strings.HasPrefix(dir, overlayDir+"/") {
			continue // rendered
		}
		file := filepath.Join(repo, "deploy", filepath.FromSlash(dir), "kustomization.yaml")
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("system %s has no manifest: deploy/%s/kustomization.yaml is not there", s.Name, dir))
		} else if err != nil {
			errs = append(errs, fmt.Errorf("looking for the manifest of %s: %w", s.Name, err))
		}
	}
	return errors.Join(errs...)
}

// parts are the directories below deploy/ that the system in a setup is made of: a kustomization, then components.
func (s System) parts(u scenario.Setup) []string {
	if s.Dir == "" {
		return nil
	}
	dir := s.Dir
	parent := path.Dir(dir)
	var components []string
	switch {
	case u.Pack != packTuned || s.tuned == "":
	case path.Base(dir) == packDefault:
		dir = path.Join(parent, packTuned)
	default:
		components = append(components, path.Join("baselines", s.Name, packTuned))
	}
	if u.DynamicTTL {
		components = append(components, "policies/dynamic-ttl")
	}
	if s.reach != byProxy {
		return append([]string{dir}, components...)
	}
	if u.TLS {
		components = append(components, path.Join(parent, "tls"))
	}
	switch u.Retry {
	case retryNone, retryClient:
		if s.again {
			components = append(components, path.Join(parent, "retry-none"))
		}
	case retryProxy, retryBoth:
		components = append(components, path.Join(parent, "retry-proxy"))
		if u.TLS && s.Name == "traefik" { // whose entry points have their middlewares each
			components = append(components, path.Join(parent, "retry-proxy-tls"))
		}
	}
	if u.Services > 1 && s.Name == "nginx" { // the others have an Ingress a service
		components = append(components, path.Join(parent, "services"))
	}
	return append([]string{dir}, components...)
}

// between parts the names of a form.
const between = "--"

// Form names what the manifests of the system in a setup are, so that different ones have different names; it is the system's
// own name where the setup changes nothing.
func (s System) Form(u scenario.Setup) string {
	names := []string{s.Name}
	for i, dir := range s.parts(u) {
		if i > 0 || dir != s.Dir {
			names = append(names, path.Base(dir))
		}
	}
	if s.reach == byProxy && u.Front == frontKeepalived {
		names = append(names, frontKeepalived)
	}
	if s.reach == byProxy && u.Services > 1 {
		names = append(names, strconv.Itoa(u.Services))
	}
	if s.ownTTL && u.TTL > 0 {
		names = append(names, u.TTL.String())
	}
	return strings.Join(names, between)
}
