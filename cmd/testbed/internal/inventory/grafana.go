// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
)

// Grafana is where faults are marked on dashboards. It is asked by the machine that runs testbed.
type Grafana struct {
	URL string `yaml:"url"` // https://HOST[:PORT][/PATH]
	// Credentials is the token of a service account that may write annotations: a file that only its owner may
	// read, or env:NAME.
	Credentials string `yaml:"credentials" json:"-"`
	// Dashboards that are annotated, by UID; none: annotations belong to no dashboard, and those that ask for the
	// tag "testbed" show them.
	Dashboards []string `yaml:"dashboards" json:",omitempty"`
}

// Given says whether the inventory names a Grafana.
func (g Grafana) Given() bool { return g.URL != "" }

// uid is what Grafana takes for the name of a dashboard.
const uid = `^[A-Za-z0-9_-]{1,40}$`

func (c *checker) grafana() {
	if !c.file.Has("grafana") {
		return
	}
	for _, key := range []string{"url", "credentials"} {
		c.need("grafana", key)
	}
	if u, err := url.Parse(c.Grafana.URL); c.file.Has("grafana.url") && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "") {
		c.file.Problem("grafana.url", "https://HOST[:PORT][/PATH]", "%q is no address of a Grafana", c.Grafana.URL)
	}
	for i, d := range c.Grafana.Dashboards {
		at := fmt.Sprintf("grafana.dashboards[%d]", i)
		if !regexp.MustCompile(uid).MatchString(d) {
			c.file.Problem(at, "the part of its address after /d/", "%q is no UID of a dashboard", d)
		}
		if slices.Contains(c.Grafana.Dashboards[:i], d) {
			c.file.Problem(at, "", "%q is there twice", d)
		}
	}
}
