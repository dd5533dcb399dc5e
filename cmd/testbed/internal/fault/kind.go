// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"slices"

	"github.com/dnsingress/dnsingress/cmd/testbed/internal/inventory"
)

// Kinds of fault.
const (
	PodSIGKILL      = "pod-sigkill"
	PodDelete       = "pod-delete"
	PodDeleteForced = "pod-delete-forced"
	PodFreeze       = "pod-freeze"
	PodSlow         = "pod-slow"
	PodPartition    = "pod-partition"
	ContainerKill   = "container-kill"
	Rollout         = "rollout"

	NodePowerCut   = "node-power-cut"
	LinkDown       = "link-down"
	GroupPartition = "partition"
	PacketLoss     = "packet-loss"
	PacketDelay    = "packet-delay"
	DiskFull       = "disk-full"
	ClockSkew      = "clock-skew"

	DNSKill          = "dns-kill"
	ForwarderKill    = "forwarder-kill"
	ClusterDNSKill   = "cluster-dns-kill"
	ProvisioningKill = "provisioning-kill"
	APIServerKill    = "apiserver-kill"
	EtcdKill         = "etcd-kill"
	ControlPlaneKill = "control-plane-kill"
	PrometheusKill   = "prometheus-kill"

	ClusterKill      = "cluster-kill"
	ClusterPartition = "cluster-partition"
)

// Kind describes a kind of fault.
type Kind struct {
	Name string `json:"name"`
	What string `json:"what"`
	// With lists the parameters that it takes.
	With []string `json:"with"`
	// System says that it strikes pods of a system: one that has none knows no such fault.
	System bool `json:"needs_system,omitempty"`
	// Momentary says that nothing is held broken: what it does is done at one instant.
	Momentary bool `json:"momentary,omitempty"`

	power bool // it needs control of the nodes' power
	// cannot says why it cannot be on an inventory; nil or nothing when it can.
	cannot func(p params, inv *inventory.Inventory) []string
	// ready is Ready's part; nil when nothing is to be found out.
	ready func(ctx context.Context, e *Env, p params) error
	make  func(e *Env, p params) Fault
}

// All describes all kinds of fault.
func All() []Kind {
	pods := []string{withPod, withNode, withCount}
	return []Kind{
		{Name: PodSIGKILL, What: "the processes of a backend pod are killed and kept from restarting", With: pods, cannot: noPod, make: newPodSIGKILL},
		{Name: PodDelete, What: "a backend pod is deleted gracefully, and another with another address takes its place", With: pods, Momentary: true, cannot: noPod, ready: needs("kubectl"), make: newPodDelete},
		{Name: PodDeleteForced, What: "likewise with no grace: the API forgets it before its processes have ended", With: pods, Momentary: true, cannot: noPod, ready: needs("kubectl"), make: newPodDeleteForced},
		{Name: PodFreeze, What: "a backend pod stops running and keeps its memory, sockets and address", With: pods, cannot: noPod, make: newPodFreeze},
		{Name: PodSlow, What: "every request of a backend pod takes longer by a time (300ms)", With: append([]string{withBy}, pods...), cannot: noPod, make: newPodSlow},
		{Name: PodPartition, What: "a backend pod is cut off from everybody; its processes and its node are well", With: pods, cannot: noPod, ready: netfilter, make: newPodPartition},
		{Name: ContainerKill, What: "the processes of one container are killed, and its kubelet restarts it", With: append([]string{withContainer}, pods...), Momentary: true, cannot: noPod, make: newContainerKill},
		{Name: Rollout, What: "the backend's Deployment replaces its pods gracefully", Momentary: true, ready: needs("kubectl"), make: newRollout},

		{Name: NodePowerCut, What: "a node loses its power (a worker)", With: []string{withNode, withCount}, power: true, cannot: noNode, make: newPowerCut},
		{Name: LinkDown, What: "a node's link goes down (a worker's)", With: []string{withNode, withCount}, cannot: noNode, ready: needs("ip"), make: newLinkDown},
		{Name: GroupPartition, What: "two groups of nodes hear nothing of each other (half of the workers, and all others)", With: []string{withSides}, cannot: noSides, ready: netfilter, make: newGroupPartition},
		{Name: PacketLoss, What: "a node's packets are lost in both directions, at random (a worker's, 5%)", With: []string{withNode, withCount, withLoss}, cannot: noNode, ready: lossy, make: newPacketLoss},
		{Name: PacketDelay, What: "packets leave a node later (a worker, 50ms); needs netem in its kernel", With: []string{withNode, withCount, withDelay, withJitter}, cannot: noDelay, ready: netem, make: newPacketDelay},
		{Name: DiskFull, What: "a file system of a node has no room (a worker's /var/lib, on the twin /run)", With: []string{withNode, withCount, withPath}, cannot: noDisk, ready: disk, make: newDiskFull},
		{Name: ClockSkew, What: "a node's clock is wrong (a worker's, by 2s)", With: []string{withNode, withCount, withBy}, cannot: noClock, make: newClockSkew},

		{Name: DNSKill, What: "a cluster's authoritative servers are killed and kept from restarting", With: []string{withCount}, System: true, make: roleKiller(DNSKill, RoleAuthoritative)},
		{Name: ForwarderKill, What: "likewise the servers that resolvers ask, where they are others", With: []string{withCount}, System: true, make: roleKiller(ForwarderKill, RoleForwarder)},
		{Name: ClusterDNSKill, What: "likewise the pods of the cluster's own CoreDNS, behind its Service", With: []string{withCount}, make: roleKiller(ClusterDNSKill, RoleClusterDNS)},
		{Name: ProvisioningKill, What: "likewise what writes records, and then a backend pod is replaced", With: []string{withCount}, System: true, ready: needs("kubectl"), make: roleKiller(ProvisioningKill, RoleProvisioning)},
		{Name: APIServerKill, What: "the API server is killed and kept from restarting", ready: active(apiserver()), make: unitKiller(APIServerKill, apiserver())},
		{Name: EtcdKill, What: "likewise etcd", ready: active(etcd()), make: unitKiller(EtcdKill, etcd())},
		{Name: ControlPlaneKill, What: "likewise etcd, the API server, the controller manager and the scheduler", ready: active(controlPlane()), make: unitKiller(ControlPlaneKill, controlPlane())},
		{Name: PrometheusKill, What: "likewise Prometheus", ready: active(prometheus()), make: unitKiller(PrometheusKill, prometheus())},

		{Name: ClusterKill, What: "all nodes of a cluster lose their power", power: true, cannot: noClusters, make: newClusterKill},
		{Name: ClusterPartition, What: "a cluster is cut off from everybody, but not from itself", cannot: noClusters, ready: netfilter, make: newClusterPartition},
	}
}

// Kinds lists the names of what New makes.
func Kinds() []string {
	var names []string
	for _, k := range All() {
		names = append(names, k.Name)
	}
	return names
}

func kindOf(name string) (Kind, bool) {
	all := All()
	i := slices.IndexFunc(all, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return all[i], true
}

// NeedsSystem says whether a fault strikes pods of a system: on one that has none it cannot be.
func NeedsSystem(name string) bool {
	k, _ := kindOf(name)
	return k.System
}
