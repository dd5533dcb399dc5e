// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"cmp"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Store is a View over the objects that it is given. It is not for several goroutines at once.
type Store struct {
	kinds   map[Name]*stored
	indexes map[Index]map[string][]client.Object // each by namespace, then by name
}

// stored are the objects of one kind.
type stored struct {
	indexes []Indexed
	objects map[client.ObjectKey]client.Object
}

// NewStore returns an empty store.
func NewStore() *Store {
	s := &Store{kinds: map[Name]*stored{}, indexes: map[Index]map[string][]client.Object{}}
	for _, k := range Kinds() {
		s.kinds[k.Name] = &stored{objects: map[client.ObjectKey]client.Object{}}
	}
	for _, i := range Indexes() {
		s.indexes[i.Index] = map[string][]client.Object{}
		s.kinds[i.Kind].indexes = append(s.kinds[i.Kind].indexes, i)
	}
	return s
}

// Put stores an object in place of the one of its name, which it returns; nil: there was none.
func (s *Store) Put(kind Name, o client.Object) (old client.Object) {
	k, key := s.kinds[kind], client.ObjectKeyFromObject(o)
	old = s.remove(k, key)
	k.objects[key] = o
	for _, i := range k.indexes {
		index := s.indexes[i.Index]
		for _, value := range i.Keys(o) {
			at, _ := slices.BinarySearchFunc(index[value], o, byName)
			// A slice that was given to somebody is not changed.
			index[value] = slices.Insert(slices.Clip(index[value]), at, o)
		}
	}
	return old
}

// Delete removes an object and returns it; nil: there was none.
func (s *Store) Delete(kind Name, namespace, name string) (old client.Object) {
	k, key := s.kinds[kind], client.ObjectKey{Namespace: namespace, Name: name}
	old = s.remove(k, key)
	delete(k.objects, key)
	return old
}

// remove takes an object out of the indexes.
func (s *Store) remove(k *stored, key client.ObjectKey) client.Object {
	old := k.objects[key]
	if old == nil {
		return nil
	}
	for _, i := range k.indexes {
		index := s.indexes[i.Index]
		for _, value := range i.Keys(old) {
			rest := make([]client.Object, 0, len(index[value]))
			for _, o := range index[value] {
				if o != old {
					rest = append(rest, o)
				}
			}
			if index[value] = rest; len(rest) == 0 {
				delete(index, value)
			}
		}
	}
	return old
}

// Get is as a View gives it.
func (s *Store) Get(kind Name, namespace, name string) client.Object {
	k := s.kinds[kind]
	if k == nil { // a policy may name anything
		return nil
	}
	return k.objects[client.ObjectKey{Namespace: namespace, Name: name}]
}

// Find is as a View gives it.
func (s *Store) Find(index Index, key string) []client.Object { return s.indexes[index][key] }

// Indexes are those that find objects of a kind.
func (s *Store) Indexes(kind Name) []Indexed { return s.kinds[kind].indexes }

// All gives every object of a kind, by namespace and then by name.
func (s *Store) All(kind Name) []client.Object {
	out := make([]client.Object, 0, len(s.kinds[kind].objects))
	for _, o := range s.kinds[kind].objects {
		out = append(out, o)
	}
	slices.SortFunc(out, byName)
	return out
}

func byName(a, b client.Object) int {
	return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
}
