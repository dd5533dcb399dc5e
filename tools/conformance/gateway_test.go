// SPDX-License-Identifier: Apache-2.0

// Package conformance runs the parts of Gateway API's own conformance suite that need no proxy: what is said of
// GatewayClasses, Gateways, listeners and routes. It is a module of its own, because the suite's dependencies must not
// meet ours.
package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes"
	clientgo "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1alpha2 "sigs.k8s.io/gateway-api/apis/v1alpha2"
	gatewayv1alpha3 "sigs.k8s.io/gateway-api/apis/v1alpha3"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	gateway "sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// statusOnly are the tests of the suite that ask for statuses alone.
var statusOnly = []suite.ConformanceTest{
	tests.GatewayClassObservedGenerationBump,
	tests.GatewayInvalidRouteKind,
	tests.GatewayModifyListeners,
	tests.GatewayObservedGenerationBump,
	tests.GatewaySecretInvalidReferenceGrant,
	tests.GatewaySecretMissingReferenceGrant,
	tests.GatewaySecretReferenceGrantAllInNamespace,
	tests.GatewaySecretReferenceGrantSpecific,
	tests.HTTPRouteDisallowedKind,
	tests.HTTPRouteInvalidCrossNamespaceParentRef,
	tests.HTTPRouteInvalidParentRefNotMatchingListenerPort,
	tests.HTTPRouteInvalidParentRefNotMatchingSectionName,
	tests.HTTPRouteInvalidParentRefSectionNameNotMatchingPort,
	tests.HTTPRouteObservedGenerationBump,
	tests.TLSRouteInvalidNoMatchingListener,
	tests.TLSRouteInvalidNoMatchingListenerHostname,
	tests.TLSRouteListenerPassthroughSupportedKinds,
	tests.TLSRouteListenerTerminateNotSupported,
}

// TestGatewayAPI needs DNSINGRESS, the program, and KUBE_BIN_DIR, a directory with etcd and kube-apiserver. Pods are not
// needed: no request is sent.
func TestGatewayAPI(t *testing.T) {
	program, binaries := os.Getenv("DNSINGRESS"), os.Getenv("KUBE_BIN_DIR")
	if program == "" || binaries == "" {
		t.Skip("NOT TESTED: DNSINGRESS and KUBE_BIN_DIR are not set (hint: make gateway-conformance)")
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgo.AddToScheme, apiextensionsv1.AddToScheme, gatewayv1.Install, gatewayv1beta1.Install, gatewayv1alpha2.Install, gatewayv1alpha3.Install,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory: binaries, ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: 3 * time.Second,
		CRDInstallOptions: envtest.CRDInstallOptions{Paths: []string{crds(t)}, ErrorIfPathMissing: true, MaxTime: 2 * time.Minute},
	}
	cfg, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Log(err)
		}
	})
	cfg.QPS, cfg.Burst = -1, -1
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := env.AddUser(envtest.User{Name: "dnsingress", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := admin.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	// Where its Lease is, by which one replica writes statuses.
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "dnsingress"}}); err != nil {
		t.Fatal(err)
	}
	start(t, program, kubeconfig)
	class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "dnsingress"}, Spec: gatewayv1.GatewayClassSpec{ControllerName: "dnsingress.dev/gateway"}}
	if err := c.Create(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	s, err := suite.NewConformanceTestSuite(suite.ConformanceOptions{
		Client: c, ClientOptions: client.Options{Scheme: scheme}, Clientset: clients, RestConfig: cfg,
		GatewayClassName: class.Name,
		ManifestFS:       []fs.FS{&gateway.Manifests}, BaseManifests: "base/manifests.yaml",
		SupportedFeatures:    sets.New[features.FeatureName](features.SupportGateway, features.SupportHTTPRoute, features.SupportHTTPRouteParentRefPort, features.SupportHTTPRouteDestinationPortMatching, features.SupportTLSRoute, features.SupportReferenceGrant),
		CleanupBaseResources: false, // the API server goes with them
		AllowCRDsMismatch:    true,
		TimeoutConfig:        config.DefaultTimeoutConfig(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Setup(t, statusOnly)
	if err := s.Run(t, statusOnly); err != nil {
		t.Fatal(err)
	}
}

// crds is the directory of Gateway API's definitions.
func crds(t *testing.T) string {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "config", "crd", "standard")
}

// start runs dnsingress until the test ends.
func start(t *testing.T, program string, kubeconfig []byte) {
	dir := t.TempDir()
	text := fmt.Sprintf(`zones: [{origin: ".", nameservers: [{name: ns.test, addresses: ["2001:db8::53"]}]}]
listen: ["[::1]:%d"]
admin: "[::1]:%d"
lameDuck: 0s
kubernetes: {kubeconfig: %q}
`, port(t), port(t), filepath.Join(dir, "kubeconfig"))
	for name, data := range map[string][]byte{"kubeconfig": kubeconfig, "config.yaml": []byte(text)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	run := exec.CommandContext(ctx, program, "run", "--config", filepath.Join(dir, "config.yaml"))
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	var log bytes.Buffer
	run.Stdout, run.Stderr = &log, &log
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		err := run.Wait()
		if t.Failed() {
			t.Logf("dnsingress: %v\n%s", err, log.String())
		}
	})
}

// port is one that nobody listens on.
func port(t *testing.T) int {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
