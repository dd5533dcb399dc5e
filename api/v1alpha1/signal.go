// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Duration is a time such as 500ms, 30s or 1m30s.
//
// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
// +kubebuilder:validation:MaxLength=32
type Duration string

// Share is a part of a whole, as a number or a percentage in text: "0.25" or 25%.
//
// +kubebuilder:validation:Pattern=`^(0|1|0?\.[0-9]+|1\.0+|0\.[0-9]+|([0-9]|[1-9][0-9])(\.[0-9]+)?%|100(\.0+)?%)$`
// +kubebuilder:validation:MaxLength=32
type Share string

// SignalName is what rules call a signal or a health check.
//
// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
// +kubebuilder:validation:MaxLength=63
type SignalName string

// LabelName is that of a Prometheus label.
//
// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
// +kubebuilder:validation:MaxLength=128
type LabelName string

// Signal is a PromQL expression that gives each pod a value.
type Signal struct {
	// Name is what rules call the signal.
	Name SignalName `json:"name"`
	// Query is the expression: an instant vector with one series a pod.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Query string `json:"query"`
	// Interval between evaluations, at least 1s. Default: the configured one.
	// +optional
	Interval Duration `json:"interval,omitempty"`
	// Timeout of one evaluation by one server. Default: the configured one.
	// +optional
	Timeout Duration `json:"timeout,omitempty"`
	// Staleness is how long the last values count when no new ones come. Default: the configured one.
	// +optional
	Staleness Duration `json:"staleness,omitempty"`
	// Match names the labels by which a series belongs to a pod. Default: pod, with namespace where the series has
	// it, else the address in address, ip, pod_ip or instance.
	// +optional
	Match *Match `json:"match,omitempty"`
}

// Match names the labels by which a series belongs to a pod.
//
// +kubebuilder:validation:XValidation:rule="has(self.pod) || !has(self.__namespace__)",message="namespace needs pod"
type Match struct {
	// Pod is the label with the pod's name.
	// +optional
	Pod LabelName `json:"pod,omitempty"`
	// Namespace is the label with the pod's namespace. Default: namespace.
	// +optional
	Namespace LabelName `json:"namespace,omitempty"`
	// Address is the label with the pod's address, with or without a port.
	// +optional
	Address LabelName `json:"address,omitempty"`
}

// HealthCheck asks each pod how it is.
//
// +kubebuilder:validation:XValidation:rule="(self.protocol == 'icmp') != has(self.port)",message="every protocol but icmp needs a port, and icmp has none"
// +kubebuilder:validation:XValidation:rule="self.protocol in ['http', 'https'] || !(has(self.path) || has(self.host) || has(self.status))",message="path, host and status are for http and https"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'grpc' || !has(self.service)",message="service is for grpc"
// +kubebuilder:validation:XValidation:rule="self.protocol == 'https' || !has(self.tlsName)",message="tlsName is for https"
type HealthCheck struct {
	// Name is what rules call the check's signal.
	Name SignalName `json:"name"`
	// Protocol: tcp (a connection is accepted), http or https (a GET is answered with an expected status), grpc
	// (grpc.health.v1.Health/Check says SERVING) or icmp (an echo request is answered; dnsingress needs the capability
	// NET_RAW or net.ipv4.ping_group_range for it).
	// +kubebuilder:validation:Enum=tcp;http;https;grpc;icmp
	Protocol string `json:"protocol"`
	// Port of the pod.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
	// Path of the request, perhaps with a query. Default: /.
	// +optional
	// +kubebuilder:validation:Pattern=`^/`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
	// Host is the request's Host header. Default: the pod's address.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`
	// Status is the range of statuses that are healthy. Default: 200-399.
	// +optional
	// +kubebuilder:validation:Pattern=`^[1-5][0-9]{2}(-[1-5][0-9]{2})?$`
	Status string `json:"status,omitempty"`
	// Service is what is asked for; default: the server as a whole.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Service string `json:"service,omitempty"`
	// TLSName is the name that the certificate must be for, by the system's authorities. Default: any certificate.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	TLSName string `json:"tlsName,omitempty"`
	// Interval between checks of a healthy pod. Default: 5s.
	// +optional
	Interval Duration `json:"interval,omitempty"`
	// UnhealthyInterval between checks of one that is not, or that is about to change. Default: 1s, but no more than interval.
	// +optional
	UnhealthyInterval Duration `json:"unhealthyInterval,omitempty"`
	// Timeout of one check. Default: 1s.
	// +optional
	Timeout Duration `json:"timeout,omitempty"`
	// Up is how many successes in a row make an unhealthy pod healthy. Default: 2.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Up int32 `json:"up,omitempty"`
	// Down is how many failures in a row make a healthy pod unhealthy. Default: 3.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Down int32 `json:"down,omitempty"`
}
