// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/externaldns"
)

const (
	// The label of objects that a store keeps.
	writtenLabel = "dnsingress.dev/written-by"
	writtenValue = "webhook"

	// The annotation that makes an object somebody else's, for external-dns and for us: what has it is kept, and not
	// published.
	controllerKey = "external-dns.kubernetes.io/controller"
	keptValue     = "dnsingress-webhook"
)

// Stages of a batch. external-dns notes in a TXT record who owns another; one without its note it never touches again,
// so notes come before what they are of, and go after it.
const (
	notesCome = iota
	recordsChange
	notesGo
)

// endpointWrite is one request to the API server.
type endpointWrite struct {
	verb   string // create, update or delete
	stage  int
	object *externaldns.DNSEndpoint // as it will be; to delete: as it was
}

func (w endpointWrite) String() string {
	return fmt.Sprintf("%s DNSEndpoint %s/%s: %s", w.verb, w.object.Namespace, w.object.Name, w.records())
}

// records are what the object holds, in a few words.
func (w endpointWrite) records() string {
	var all []string
	for _, e := range w.object.Spec.Endpoints {
		if e == nil {
			continue
		}
		one := e.DNSName + " " + e.RecordType
		if e.SetIdentifier != "" {
			one += " (" + e.SetIdentifier + ")"
		}
		all = append(all, one+" "+strings.Join(e.Targets, ","))
	}
	return strings.Join(all, "; ")
}

// endpointKey tells endpoints apart.
type endpointKey struct{ name, rtype, set string }

func keyOf(e *externaldns.Endpoint) endpointKey {
	return endpointKey{dns.CanonicalName(e.DNSName), strings.ToUpper(e.RecordType), e.SetIdentifier}
}

func compareKeys(a, b endpointKey) int {
	return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.rtype, b.rtype), cmp.Compare(a.set, b.set))
}

func compareEndpoints(a, b *externaldns.Endpoint) int { return compareKeys(keyOf(a), keyOf(b)) }

// endpointWrites are what it takes to change the objects that there are as a batch says, in the order of their stages.
func endpointWrites(objects []externaldns.DNSEndpoint, namespace string, changes *externaldns.Changes, publish func(*externaldns.Endpoint) bool) []endpointWrite {
	before, after := map[string]*externaldns.DNSEndpoint{}, map[string]*externaldns.DNSEndpoint{}
	holders := map[string][]string{} // names of the objects that hold records of a name
	for i := range objects {
		o := &objects[i]
		before[o.Name] = o
		for _, e := range o.Spec.Endpoints {
			if e != nil {
				k := keyOf(e)
				if !slices.Contains(holders[k.name], o.Name) {
					holders[k.name] = append(holders[k.name], o.Name)
				}
			}
		}
	}
	at := func(name string) *externaldns.DNSEndpoint {
		o := after[name]
		if o == nil {
			if o = before[name]; o != nil {
				o = o.DeepCopy()
			} else {
				o = &externaldns.DNSEndpoint{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{writtenLabel: writtenValue}}}
			}
			after[name] = o
		}
		return o
	}
	remove := func(k endpointKey) {
		for _, name := range holders[k.name] {
			o := at(name)
			o.Spec.Endpoints = slices.DeleteFunc(o.Spec.Endpoints, func(e *externaldns.Endpoint) bool { return e == nil || keyOf(e) == k })
		}
	}
	for _, e := range changes.Gone() {
		remove(keyOf(e))
	}
	for _, e := range changes.Written() {
		k := keyOf(e)
		remove(k)
		home := objectName(k.name)
		if all := holders[k.name]; len(all) > 0 && !slices.Contains(all, home) {
			home = all[0] // somebody has renamed it
		}
		o := at(home)
		o.Spec.Endpoints = append(o.Spec.Endpoints, e)
		if !slices.Contains(holders[k.name], home) {
			holders[k.name] = append(holders[k.name], home)
		}
	}
	var writes []endpointWrite
	for _, name := range slices.Sorted(maps.Keys(after)) {
		was, is := before[name], after[name]
		slices.SortStableFunc(is.Spec.Endpoints, compareEndpoints)
		markKept(is, publish)
		switch {
		case was == nil && len(is.Spec.Endpoints) == 0:
		case was == nil:
			writes = append(writes, endpointWrite{"create", stage(nil, is), is})
		case len(is.Spec.Endpoints) == 0:
			writes = append(writes, endpointWrite{"delete", stage(was, nil), was})
		case !alike(was, is):
			writes = append(writes, endpointWrite{"update", stage(was, is), is})
		}
	}
	slices.SortStableFunc(writes, func(a, b endpointWrite) int { return cmp.Compare(a.stage, b.stage) })
	return writes
}

// markKept says on an object whether it is published. What others have said there stays.
func markKept(o *externaldns.DNSEndpoint, publish func(*externaldns.Endpoint) bool) {
	published := slices.ContainsFunc(o.Spec.Endpoints, publish)
	switch value := o.Annotations[controllerKey]; {
	case !published && value == "":
		if o.Annotations == nil {
			o.Annotations = map[string]string{}
		}
		o.Annotations[controllerKey] = keptValue
	case published && value == keptValue:
		delete(o.Annotations, controllerKey)
	}
}

// stage is when an object that changes from was to is may be written.
func stage(was, is *externaldns.DNSEndpoint) int {
	records := false // anything but notes changes
	index := func(o *externaldns.DNSEndpoint) map[endpointKey]*externaldns.Endpoint {
		all := map[endpointKey]*externaldns.Endpoint{}
		if o != nil {
			for _, e := range o.Spec.Endpoints {
				if e != nil {
					all[keyOf(e)] = e
				}
			}
		}
		return all
	}
	old, now := index(was), index(is)
	come := false
	for k, e := range now {
		if before := old[k]; before == nil || !alikeEndpoints(before, e) {
			come = true
			records = records || k.rtype != "TXT"
		}
	}
	for k := range old {
		records = records || now[k] == nil && k.rtype != "TXT"
	}
	switch {
	case records:
		return recordsChange
	case come:
		return notesCome
	}
	return notesGo
}

// objectName is what the object of a name is called: as the name, or by a hash where an object cannot be called so.
func objectName(name string) string {
	name = strings.TrimSuffix(name, ".")
	if len(validation.IsDNS1123Subdomain(name)) == 0 {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "name-" + hex.EncodeToString(sum[:16])
}

// NamespaceName reports whether a namespace can be called so.
func NamespaceName(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }
