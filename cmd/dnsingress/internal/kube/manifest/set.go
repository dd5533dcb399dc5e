// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/kube/objects"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/policy"
	"github.com/dnsingress/dnsingress/internal/strictyaml"
)

// defaultNamespace is where objects are whose manifests do not say, as with kubectl.
const defaultNamespace = "default"

// Set is the objects of some files, and a View over them.
type Set struct {
	*objects.Store
	settings   *objects.Settings
	kinds      map[schema.GroupKind]objects.Kind
	filters    map[objects.Name]filter
	namespaces []string                       // that are read at all; nil: all
	files      map[model.Ref]*strictyaml.File // where each object stands
	errs       []error
	lost       []string // files with objects that cannot be read
	undated    int      // objects so far that do not say when they were created
}

// NewSet returns an empty set.
func NewSet(settings *objects.Settings) *Set {
	s := &Set{Store: objects.NewStore(), settings: settings, kinds: map[schema.GroupKind]objects.Kind{}, files: map[model.Ref]*strictyaml.File{}}
	for _, k := range objects.Kinds() {
		s.kinds[k.GVK().GroupKind()] = k
	}
	return s
}

// Add reads data, a file called name. What is wrong with it is among Errors; objects that can be read count all the same.
func (s *Set) Add(name string, data []byte) {
	for _, f := range strictyaml.Manifests(name, data) {
		switch {
		case f.Empty():
		case f.Broken():
			s.fail(f)
			s.lost = append(s.lost, name)
		default:
			s.add(f, "", "")
		}
	}
}

// keep takes over from the set before what stood in files that cannot be read whole now: a mistake in a file takes nothing
// away that is answered with.
func (s *Set) keep(before *Set) {
	if before == nil {
		return
	}
	for ref, f := range before.files {
		if kind := objects.Name(ref.Kind); s.files[ref] == nil && slices.Contains(s.lost, f.Name()) {
			s.files[ref] = f
			s.Put(kind, before.Get(kind, ref.Namespace, ref.Name))
		}
	}
}

// Errors are what is wrong with the files, each a strictyaml.Problem with its place where it has one.
func (s *Set) Errors() []error { return s.errs }

// add takes one document. apiVersion and kind are what it is where it does not say.
func (s *Set) add(f *strictyaml.File, apiVersion, kind string) {
	if v := f.Text("apiVersion"); v != "" {
		apiVersion = v
	}
	if k := f.Text("kind"); k != "" {
		kind = k
	}
	if apiVersion == "" || kind == "" {
		f.Problem("", "apiVersion: v1, kind: Service", "no Kubernetes manifest: apiVersion or kind is missing")
		s.fail(f)
		return
	}
	if f.Has("items") && strings.HasSuffix(kind, "List") {
		of := strings.TrimSuffix(kind, "List")
		for _, item := range f.Each("items") {
			s.add(item, apiVersion, of)
		}
		return
	}
	version, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		f.Problem("apiVersion", "", "%v", err)
		s.fail(f)
		return
	}
	known, ok := s.kinds[version.WithKind(kind).GroupKind()]
	if !ok { // somebody else's
		return
	}
	if version.Version != known.Version.Version && !slices.Contains(known.Also, version.Version) {
		f.Problem("apiVersion", known.Version.String(), "%s of %s is not read", kind, apiVersion)
		s.fail(f)
		return
	}
	s.read(f, known)
}

// fail takes over what is wrong with a document.
func (s *Set) fail(f *strictyaml.File) {
	if err := f.Err(); err != nil {
		s.errs = append(s.errs, err.(interface{ Unwrap() []error }).Unwrap()...) //nolint:errorlint // it is a join of problems
	}
}

// read takes the object of a document. One that is not read whole is left out: nobody knows what it was to say.
func (s *Set) read(f *strictyaml.File, kind objects.Kind) {
	o, typed := kind.New(), f
	if kind.Name == objects.SteeringPolicy { // says more of it than its form does
		policy.Check(f)
		typed = f.Again()
	}
	typed.Decode(o)
	switch {
	case o.GetName() == "":
		f.Problem("metadata.name", "", "a name is missing")
	case kind.Cluster:
		o.SetNamespace("")
	case o.GetNamespace() == "":
		o.SetNamespace(defaultNamespace)
	}
	ref := objects.Ref(o, kind.Name, "")
	first := s.files[ref]
	if first != nil && o.GetName() != "" {
		f.Problem("metadata.name", "one of them; the first counts", "a second %s, after %s", ref, place(first.Place("metadata.name")))
	}
	if s.fail(f); first != nil && o.GetName() != "" {
		return
	}
	if typed.Unread() || o.GetName() == "" {
		s.lost = append(s.lost, f.Name())
		return
	}
	if !kind.Backend && !s.lets(kind.Name, o) || !kind.Cluster && len(s.namespaces) > 0 && !slices.Contains(s.namespaces, o.GetNamespace()) {
		return
	}
	s.files[ref] = f
	if created := o.GetCreationTimestamp(); created.IsZero() {
		s.undated++
		o.SetCreationTimestamp(metav1.NewTime(uncreated.Add(time.Duration(s.undated) * time.Microsecond)))
	}
	labels := o.GetLabels() // a filter may want others than a translation
	kept := kind.Keep(o, s.settings)
	kept.SetLabels(labels)
	s.Put(kind.Name, kept)
}

// place is FILE:LINE:COLUMN.
func place(p strictyaml.Problem) string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Problem is a problem of an object of the set, with the place of what it is about.
func (s *Set) Problem(ref model.Ref, p model.Problem) error {
	text := fmt.Sprintf("%s: %s: %s", ref, p.Reason, p.Message)
	ref.Part = ""
	f := s.files[ref]
	if f == nil {
		return errors.New(text)
	}
	at := p.Path
	if at == "" {
		at = "metadata.name"
	}
	problem := f.Place(at)
	problem.Path, problem.Text = "", text
	return problem
}
