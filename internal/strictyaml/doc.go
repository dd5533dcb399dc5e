// SPDX-License-Identifier: Apache-2.0

// Package strictyaml reads the YAML files that people write (scenarios, inventories,
// configurations) into Go structs and reports everything that is wrong with a file at once, each
// finding as
//
//	FILE:LINE:COLUMN: where.in.the.file: what (hint: what to do)
//
// A key that the struct does not have, a key given twice, a value of another type, a second
// document and an alias are findings. Keys are matched by the field's yaml tag.
package strictyaml
