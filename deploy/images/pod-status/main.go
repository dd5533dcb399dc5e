// SPDX-License-Identifier: Apache-2.0

// Pod-status writes the addresses of a Service's ready pods into the status of another Service of type LoadBalancer, as a load
// balancer would write its own. k8s_gateway 1.6.1 publishes nothing else of a Service; with this beside it, pods' own addresses.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/dnsingress/dnsingress/internal/cli"
)

func main() { os.Exit(cli.Main(command)) }

func command(_ io.Reader, _, stderr io.Writer) *cobra.Command {
	var kubeconfig, from, to string
	cmd := &cobra.Command{
		Use:   "pod-status --from NAMESPACE/NAME --to NAMESPACE/NAME",
		Short: "Write the addresses of a Service's ready pods into another Service's status",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := follower{log: slog.New(slog.NewTextHandler(stderr, nil)), changed: make(chan struct{}, 1)}
			var err error
			if f.from, err = parseName("from", from); err != nil {
				return err
			}
			if f.to, err = parseName("to", to); err != nil {
				return err
			}
			config, err := rest.InClusterConfig()
			if kubeconfig != "" {
				config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
			}
			if err != nil {
				return fmt.Errorf("finding the API server: %w", err)
			}
			if f.client, err = kubernetes.NewForConfig(config); err != nil {
				return fmt.Errorf("making the API client: %w", err)
			}
			return f.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the Service whose pods are meant, `NAMESPACE/NAME`")
	cmd.Flags().StringVar(&to, "to", "", "the Service whose status is written, `NAMESPACE/NAME`")
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig `file` (default: the pod's service account)")
	return cmd
}

func parseName(flag, text string) (types.NamespacedName, error) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" {
		return types.NamespacedName{}, cli.Misuse("parsing --%s %q: it is no NAMESPACE/NAME", flag, text)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

// follower keeps the status of one Service equal to the ready pods of another.
type follower struct {
	client   kubernetes.Interface
	from, to types.NamespacedName
	log      *slog.Logger
	changed  chan struct{} // a notice; holds at most one
}

// again is the pause before a write that failed is tried once more.
const again = 200 * time.Millisecond

// run follows the pods until ctx ends. While the API server is away, the status stays as it is.
func (f *follower) run(ctx context.Context) error {
	source := cache.NewFilteredListWatchFromClient(f.client.DiscoveryV1().RESTClient(), "endpointslices", f.from.Namespace, func(o *metav1.ListOptions) {
		o.LabelSelector = labels.Set{discovery.LabelServiceName: f.from.Name}.String()
	})
	return f.follow(ctx, source)
}

func (f *follower) follow(ctx context.Context, source cache.ListerWatcher) error {
	informer := cache.NewSharedIndexInformer(source, &discovery.EndpointSlice{}, 0, nil)
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { f.notify() },
		UpdateFunc: func(any, any) { f.notify() },
		DeleteFunc: func(any) { f.notify() },
	}); err != nil {
		return fmt.Errorf("watching EndpointSlices: %w", err)
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil
	}
	f.notify() // there may be no pod to tell of
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.changed:
		}
		if err := f.write(ctx, ready(informer.GetStore().List())); err != nil && ctx.Err() == nil {
			f.log.Error("writing the status", "service", f.to.String(), "err", err)
			time.AfterFunc(again, f.notify)
		}
	}
}

func (f *follower) notify() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// write makes the addresses the Service's status, unless they are: replicas of this program write the same.
func (f *follower) write(ctx context.Context, addresses []string) error {
	services := f.client.CoreV1().Services(f.to.Namespace)
	s, err := services.Get(ctx, f.to.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var have []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		have = append(have, i.IP)
	}
	if slices.Equal(have, addresses) {
		return nil
	}
	ingress := []core.LoadBalancerIngress{}
	for _, a := range addresses {
		ingress = append(ingress, core.LoadBalancerIngress{IP: a})
	}
	var patch bytes.Buffer
	if err := json.NewEncoder(&patch).Encode(map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": ingress}}}); err != nil {
		return err
	}
	_, err = services.Patch(ctx, f.to.Name, types.MergePatchType, patch.Bytes(), metav1.PatchOptions{}, "status")
	if err == nil {
		f.log.Info("written", "service", f.to.String(), "addresses", addresses)
	}
	return err
}

// ready returns the addresses of ready endpoints of EndpointSlices, sorted, each once.
func ready(list []any) []string {
	var all []netip.Addr
	for _, item := range list {
		slice, ok := item.(*discovery.EndpointSlice)
		if !ok {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, text := range e.Addresses {
				if a, err := netip.ParseAddr(text); err == nil {
					all = append(all, a)
				}
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	var texts []string
	for _, a := range slices.Compact(all) {
		texts = append(texts, a.String())
	}
	return texts
}
