// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The chart gives the webhook the rights that the Kustomize component gives it.
func TestChartAgreesWithWebhookComponent(t *testing.T) {
	data, err := chart(t, "--set-json", leastValues, "--set", "webhook.enabled=true")
	if err != nil {
		t.Fatal(err)
	}
	fromChart := decodeAll(t, data)
	fromComponent := webhookExample(t)
	for _, kind := range []string{"Role", "RoleBinding"} {
		base, o := fromComponent[kind+" dnsingress-webhook"], fromChart[kind+" dnsingress-webhook"]
		if base == nil || o == nil {
			t.Fatalf("%s: component %v, chart %v", kind, base, o)
		}
		for _, path := range [][]string{{"metadata", "namespace"}, {"rules"}, {"roleRef"}, {"subjects"}} {
			want, _, _ := unstructured.NestedFieldNoCopy(base.Object, path...)
			got, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
			if a, b := asJSON(t, want), asJSON(t, got); a != b {
				t.Errorf("%s: %s\ncomponent: %s\nchart:     %s", kind, strings.Join(path, "."), a, b)
			}
		}
	}
	for _, bad := range []string{"webhook.namespace=Two Words", "webhook.enabled=perhaps", "webhook.serviceAccount.name=", "webhook.zone=apps.test"} {
		if _, err := chart(t, "--set-json", leastValues, "--set", bad); err == nil || !strings.Contains(err.Error(), "webhook") {
			t.Errorf("%s: want a complaint of the schema, got %v", bad, err)
		}
	}
}

// The component puts a container beside external-dns whose arguments the command knows.
func TestWebhookComponentAddsTheContainer(t *testing.T) {
	o := webhookExample(t)["Deployment external-dns"]
	if o == nil {
		t.Fatal("no Deployment external-dns")
	}
	containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 2 {
		t.Fatalf("%d containers, %v", len(containers), err)
	}
	images := map[string]bool{}
	for _, c := range containers {
		container := c.(map[string]any)
		images[container["image"].(string)] = true
		args, _, err := unstructured.NestedStringSlice(container, "args")
		if err != nil {
			t.Fatal(err)
		}
		if container["name"] != "dnsingress-webhook" {
			continue
		}
		root := command(nil, io.Discard, io.Discard)
		c, rest, err := root.Find(args)
		if err != nil || c.Name() != "webhook" {
			t.Fatal(args, err)
		}
		if err := c.ParseFlags(rest); err != nil {
			t.Error(err)
		}
	}
	if len(images) != 2 {
		t.Errorf("images %v", images)
	}
}

func webhookExample(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	data, err := deployTool(t, "kustomize", "build", "../../deploy/dnsingress/external-dns")
	if err != nil {
		t.Fatal(err)
	}
	return decodeAll(t, data)
}

// testDeployWebhook gives what the example renders to the API server, which refuses what it does not know.
func testDeployWebhook(t *testing.T, c *cluster) {
	c.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "external-dns"}})
	for name, o := range webhookExample(t) {
		//lint:ignore SA1019 what takes its place checks no fields
		err := c.admin.Patch(t.Context(), o, client.Apply, client.DryRunAll, client.ForceOwnership, client.FieldOwner("test"), strictFields)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
