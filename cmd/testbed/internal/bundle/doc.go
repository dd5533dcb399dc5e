// SPDX-License-Identifier: Apache-2.0

// Package bundle builds what the nodes of a cluster need and no package of their distribution gives: the Kubernetes
// binaries and the container images. The nodes reach no registry: images are assembled here, file by file, and imported.
//
// A [Source] is something made from pinned inputs. It has a key, the hash of those inputs, and is built once for each
// key, into the cache of a [Store]. There are seven kinds:
//
//   - [GoProgram]: a program built by the go command, from the repository's module or from a nested module of tools/;
//   - [Wheel]: a file out of a Python wheel that is pinned by version and SHA-256;
//   - [Debian]: Debian packages, with the shared libraries that their programs need, as a tree of files;
//   - [Archives]: the Debian packages of the nodes, as they are, for cards that are written without network;
//   - [Kubernetes]: etcd and the Kubernetes binaries, a directory;
//   - [Manifest]: Kubernetes objects out of another project's Go module;
//   - [Image]: a container image made of files of the others, or by its digest from a registry, as a docker-archive, bit by bit the same
//     for the same key.
//
// [Catalog] lists what a cluster gets. To add an image, write a function that returns its *Image into a file of its
// own and name it in Catalog.
package bundle
