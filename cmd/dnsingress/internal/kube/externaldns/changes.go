// SPDX-License-Identifier: Apache-2.0

package externaldns

// Changes are a batch, as external-dns hands it to a provider. Endpoints are told apart by their names, types and set
// identifiers.
//
// +kubebuilder:object:generate=false
type Changes struct {
	Create    []*Endpoint `json:"create,omitempty"`
	UpdateOld []*Endpoint `json:"updateOld,omitempty"` // what is there, one for each of UpdateNew
	UpdateNew []*Endpoint `json:"updateNew,omitempty"`
	Delete    []*Endpoint `json:"delete,omitempty"`
}

// Written are the endpoints that are there after the batch, Gone those that were there before it and may be there
// again. A batch is: away with all that is Gone, then all that is Written.
func (c *Changes) Written() []*Endpoint { return join(c.UpdateNew, c.Create) }

// Gone are the endpoints that the batch takes away, or puts others in the place of.
func (c *Changes) Gone() []*Endpoint { return join(c.UpdateOld, c.Delete) }

func join(a, b []*Endpoint) []*Endpoint {
	return append(append(make([]*Endpoint, 0, len(a)+len(b)), a...), b...)
}
