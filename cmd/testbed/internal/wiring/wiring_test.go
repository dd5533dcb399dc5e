// SPDX-License-Identifier: Apache-2.0

package wiring_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
	"github.com/dnsingress/dnsingress/cmd/testbed/internal/wiring"
)

var update = flag.Bool("update", false, "write docs/testbed/wiring.svg")

// The drawing in the documentation is that of the inventory, and is well-formed.
func TestDocumentedWiring(t *testing.T) {
	inv, err := inventory.Load("../../../../pi-cluster/inventory.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := wiring.SVG(&got, inv); err != nil {
		t.Fatal(err)
	}
	const path = "../../../../docs/testbed/wiring.svg"
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Error("docs/testbed/wiring.svg is not pi-cluster/inventory.yaml (hint: testbed power wiring -i pi-cluster/inventory.yaml >docs/testbed/wiring.svg)")
	}
	cables := 0
	for dec := xml.NewDecoder(&got); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "path" {
			cables++
		}
	}
	if cables != 22 {
		t.Errorf("%d cables, want 22", cables)
	}
	for _, n := range inv.Nodes {
		if !strings.Contains(string(want), ">"+n.Name+"<") {
			t.Errorf("%s is not drawn", n.Name)
		}
	}
}
