// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/internal/steer"
)

// Prefixes say under which prefixes annotations are looked for.
type Prefixes struct {
	Hostname []string // the first that is set wins
	Policy   string
}

// hostname returns the annotation under the first hostname prefix that has it, and its whole key.
func (p Prefixes) hostname(annotations map[string]string, name string) (key, value string) {
	for _, prefix := range p.Hostname {
		for key, value := range annotations { // they are few, and to join prefix and name costs more
			if len(key) == len(prefix)+len(name) && strings.HasPrefix(key, prefix) && strings.HasSuffix(key, name) {
				return key, value
			}
		}
	}
	return "", ""
}

// annotationPath is where an annotation is in its object.
func annotationPath(key string) string { return fmt.Sprintf("metadata.annotations[%q]", key) }

// ours reports whether an annotation is worth keeping in the cache.
func (p Prefixes) ours(key string) bool {
	return strings.HasPrefix(key, p.Policy) || slices.ContainsFunc(p.Hostname, func(h string) bool { return strings.HasPrefix(key, h) })
}

// Claimed reports whether the annotations ask for publication by this controller.
func (p Prefixes) Claimed(annotations map[string]string) bool {
	key, _ := p.hostname(annotations, "hostname")
	internal, _ := p.hostname(annotations, "internal-hostname")
	owner, controller := p.hostname(annotations, "controller")
	return key+internal != "" && (owner == "" || controller == "dns-controller")
}

// Hosts reads the hostname annotation: names in lower case, fully qualified, distinct.
func (p Prefixes) Hosts(annotations map[string]string) (hosts []string, problems []model.Problem) {
	return annotatedHosts(p.hostname(annotations, "hostname"))
}

// annotatedHosts reads the names that an annotation lists.
func annotatedHosts(key, value string) (hosts []string, problems []model.Problem) {
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !hostname(name) {
			problems = append(problems, model.Problem{Reason: "InvalidHostname", Path: annotationPath(key), Message: fmt.Sprintf(
				"annotation %s: %q is no host name (hint: letters, digits and hyphens between dots, at most 63 bytes each)", key, name)})
			continue
		}
		if host := dns.CanonicalName(name); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 && len(problems) == 0 {
		problems = append(problems, model.Problem{Reason: "InvalidHostname", Path: annotationPath(key), Message: fmt.Sprintf("annotation %s names no host", key)})
	}
	return hosts, problems
}

// hostname reports whether name is a host name (RFC 1123 §2.1), perhaps with the wildcard label in front.
// Underscores are let through, as everywhere in DNS practice.
func hostname(name string) bool {
	name = strings.TrimPrefix(strings.TrimSuffix(name, "."), "*.")
	if len(name) > 250 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return true
}

// ttl reads the ttl annotation; nil: there is none that can be used.
func (p Prefixes) ttl(annotations map[string]string) (*uint32, []model.Problem) {
	key, value := p.hostname(annotations, "ttl")
	if key == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		d, derr := time.ParseDuration(value)
		if err = derr; d < 0 || d%time.Second != 0 {
			err = errors.New("not a whole number of seconds")
		}
		seconds = uint64(d / time.Second)
	}
	if err != nil || seconds > math.MaxInt32 { // RFC 2181 §8
		return nil, []model.Problem{{Reason: "InvalidTTL", Path: annotationPath(key), Message: fmt.Sprintf("annotation %s: %q is no TTL (hint: whole seconds, such as 60 or 1m)", key, value)}}
	}
	t := uint32(seconds)
	return &t, nil
}

// maxAnswers reads the max-answers annotation; 0: the zone's default, negative: all.
func (p Prefixes) maxAnswers(annotations map[string]string) (int, []model.Problem) {
	key := p.Policy + "max-answers"
	value, ok := annotations[key]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseUint(value, 10, 15)
	if err != nil {
		return 0, []model.Problem{{Reason: "InvalidPolicy", Path: annotationPath(key), Message: fmt.Sprintf("annotation %s: %q is no number of addresses (hint: 0 means all)", key, value)}}
	}
	if n == 0 {
		return -1, nil
	}
	return int(n), nil
}

// policy reads the policy annotations; nil: there is none. check judges the expression.
func (p Prefixes) policy(annotations map[string]string, check func(expr string) error) (*model.Policy, error) {
	said := false // most objects have none of these
	for key := range annotations {
		said = said || strings.HasPrefix(key, p.Policy)
	}
	if !said {
		return nil, nil
	}
	var errs []error
	read := func(name string, parse func(value string) error) bool {
		value, ok := annotations[p.Policy+name]
		if ok {
			if err := parse(strings.TrimSpace(value)); err != nil {
				errs = append(errs, fmt.Errorf("annotation %s: %w", p.Policy+name, err))
			}
		}
		return ok
	}
	policy := model.Policy{Steer: steer.Defaults()}
	var signal model.Signal
	var rule steer.Rule
	guards := &policy.Steer.Guards
	steered := read("promql", func(v string) error { signal.Query = v; return check(v) })
	bounded := read("keep", func(v string) (err error) { rule.Keep, err = steer.ParseBound(v); return err })
	others := []bool{
		bounded,
		read("readmit", func(v string) (err error) { rule.Readmit, err = steer.ParseBound(v); return err }),
		read("no-data", func(v string) error { guards.NoData = steer.NoData(v); return nil }),
		read("min-members", func(v string) (err error) {
			if guards.MinMembers, err = strconv.Atoi(v); err != nil || guards.MinMembers < 1 {
				err = fmt.Errorf("%q is no number of members (hint: at least 1)", v)
			}
			return err
		}),
		read("interval", func(v string) (err error) {
			if signal.Interval, err = time.ParseDuration(v); err != nil || signal.Interval < model.LeastInterval {
				err = fmt.Errorf("%q is no interval (hint: %v or longer)", v, model.LeastInterval)
			}
			return err
		}),
		read("hold", func(v string) error { return parseDuration(v, &guards.Hold) }),
		read("hold-max", func(v string) error { return parseDuration(v, &guards.HoldMax) }),
		read("votes", func(v string) (err error) {
			if guards.Votes, err = strconv.Atoi(v); err != nil || guards.Votes < 1 {
				err = fmt.Errorf("%q is no number of evaluations (hint: at least 1)", v)
			}
			return err
		}),
		read("max-step", func(v string) (err error) { guards.MaxStep, err = parseShare(v); return err }),
		read("max-out", func(v string) (err error) { guards.MaxOut, err = parseShare(v); return err }),
		read("min-share", func(v string) error { return guards.MinShare.UnmarshalText([]byte(v)) }),
	}
	switch {
	case steered && !bounded:
		errs = append(errs, fmt.Errorf("annotation %spromql without %skeep (hint: keep says which values stay, such as \"< 8\")", p.Policy, p.Policy))
	case !steered && slices.Contains(others, true):
		errs = append(errs, fmt.Errorf("policy annotations without %spromql (hint: the expression that gives each pod's value)", p.Policy))
	}
	for name := range annotations {
		if short, ok := strings.CutPrefix(name, p.Policy); ok && !slices.Contains(policyAnnotations[:], short) {
			errs = append(errs, fmt.Errorf("annotation %s is unknown (hint: %s%s)", name, p.Policy, strings.Join(policyAnnotations[:], ", ")))
		}
	}
	policy.Steer.Rules = []steer.Rule{rule}
	if len(errs) == 0 && steered {
		for _, problem := range policy.Steer.Check([]string{signal.Name}) {
			errs = append(errs, fmt.Errorf("annotations %s*: %s (hint: %s)", p.Policy, problem.Text, problem.Hint))
		}
	}
	if len(errs) > 0 {
		slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return nil, errors.Join(errs...)
	}
	if !steered {
		return nil, nil
	}
	policy.Signals = []model.Signal{signal}
	return &policy, nil
}

var policyAnnotations = [...]string{"promql", "keep", "readmit", "interval", "min-members", "min-share", "no-data", "votes", "hold", "hold-max", "max-step", "max-out", "max-answers", "service-target"}

func parseDuration(s string, d *time.Duration) (err error) {
	if *d, err = time.ParseDuration(s); err != nil {
		err = fmt.Errorf("%q is no duration (hint: such as 30s)", s)
	}
	return err
}

// parseShare reads a share that is more than nothing.
func parseShare(s string) (share steer.Share, err error) {
	if err = share.UnmarshalText([]byte(s)); err == nil && share == 0 {
		err = fmt.Errorf("%q is no share (hint: 25%% or 0.25)", s)
	}
	return share, err
}
