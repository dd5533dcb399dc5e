// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dnsingress/dnsingress/cmd/dnsingress/internal/model"
)

func TestEventsOfReplicasHaveOneName(t *testing.T) {
	one := report{ref: model.Ref{Kind: "Service", Namespace: "shop", Name: strings.Repeat("x", 253)}, uid: "u1", problem: model.Problem{Reason: "NameTaken", Message: strings.Repeat("ü", 3000)}}
	a, b := eventOf(one, metav1.Now()), eventOf(one, metav1.NewTime(time.Now().Add(time.Hour)))
	if a.Name != b.Name || len(a.Name) > 253 || len(a.Message) > 1024 || !utf8.ValidString(a.Message) {
		t.Errorf("%q and %q, message of %d bytes", a.Name, b.Name, len(a.Message))
	}
	one.uid = "u2"
	if c := eventOf(one, metav1.Now()); c.Name == a.Name {
		t.Error("the event of another object has the same name")
	}
}
