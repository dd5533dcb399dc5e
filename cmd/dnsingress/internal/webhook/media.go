// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"mime"
	"net/http"
	"strings"
)

// MediaType is that of all bodies but those of errors, octet for octet: external-dns compares it as text.
const MediaType = "application/external.dns.webhook+json;version=1"

const (
	mediaType    = "application/external.dns.webhook+json"
	mediaVersion = "1"
)

// written reports whether a body is of the media type.
func written(contentType string) bool {
	name, parameters, err := mime.ParseMediaType(contentType)
	return err == nil && name == mediaType && parameters["version"] == mediaVersion
}

// accepted reports whether the client takes the media type. One that says nothing takes all (RFC 9110 §12.5.1).
func accepted(h http.Header) bool {
	fields := h.Values("Accept")
	if len(fields) == 0 {
		return true
	}
	for _, one := range strings.Split(strings.Join(fields, ","), ",") {
		name, parameters, err := mime.ParseMediaType(one)
		if err != nil || refusedQuality(parameters["q"]) {
			continue
		}
		if name == "*/*" || name == "application/*" || name == mediaType && (parameters["version"] == mediaVersion || parameters["version"] == "") {
			return true
		}
	}
	return false
}

// refusedQuality reports whether a weight is 0 (RFC 9110 §12.4.2).
func refusedQuality(q string) bool {
	return strings.HasPrefix(q, "0") && strings.Trim(q, "0.") == ""
}
