// SPDX-License-Identifier: Apache-2.0

// Package objects turns Kubernetes objects into what they publish, and into the status that they should have. It is
// pure: values in, values out; it speaks to no API server, looks at no clock and logs nothing. What an object refers
// to is asked of a View, of which there is one over the cache of a cluster and one over files.
//
// A kind is translated and told of as its row in Kinds says. What of an object its translation does not read is not
// kept: Keep leaves it out before the object is stored.
package objects
