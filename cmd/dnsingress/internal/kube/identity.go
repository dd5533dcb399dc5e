// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/typed/core/v1"
)

// identityAgain is between two questions for a cluster's identity that nobody answers.
const identityAgain = 2 * time.Second

// Identity is that of the cluster: the UID of its namespace kube-system, which it has for as long as it lives and no other
// cluster has. It asks until it is answered or ctx ends.
func Identity(ctx context.Context, kubeconfig string, log *slog.Logger) (string, error) {
	config, err := restConfig(kubeconfig, log)
	if err != nil {
		return "", err
	}
	client, err := v1.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("preparing the Kubernetes client: %w", err)
	}
	for said := false; ; {
		n, err := client.Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if err == nil {
			return string(n.UID), nil
		}
		if !said {
			said = true
			log.Warn("asking for the cluster's identity; peers get nothing until there is an answer", "namespace", metav1.NamespaceSystem, "error", err)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(identityAgain):
		}
	}
}
