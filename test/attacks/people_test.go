package attacks

import (
	"k8s.io/client-go/rest"

	"github.com/gitward/gitward/test/controlplane"
)

// Who attacks. The users are in no group but authenticated; RBAC says the rest.
const (
	editor  = "eddy"    // ClusterRole edit, in the namespace of the test
	mallory = "mallory" // ClusterRole cluster-admin
)

// The applier whose token was stolen: bound to cluster-admin, as Flux' own is.
const (
	applierNamespace = "flux-system"
	applierName      = "kustomize-controller"
	applierUser      = "system:serviceaccount:" + applierNamespace + ":" + applierName
)

// person is somebody with the rights to do something.
type person struct {
	name  string
	as    rest.ImpersonationConfig
	user  string // of the control plane; empty: the stolen token
	stole bool
}

// everybody plays each attack, so far as RBAC lets them.
var everybody = []person{
	{name: "namespace editor", user: editor},
	{name: "cluster-admin", user: mallory},
	{name: "system:masters", user: controlplane.Admin},
	{name: "stolen applier token", stole: true},
	{name: "as the applier", user: mallory, as: rest.ImpersonationConfig{UserName: applierUser}},
	{name: "as the applier, with its groups and a uid", user: mallory, as: rest.ImpersonationConfig{UserName: applierUser, UID: "11111111-2222-3333-4444-555555555555",
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + applierNamespace, "system:authenticated"}}},
	{name: "as the deployment controller", user: controlplane.Admin, as: controller("deployment-controller", "")},
	{name: "as the replicaset controller, with a uid", user: controlplane.Admin, as: controller("replicaset-controller", "11111111-2222-3333-4444-555555555555")},
	{name: "as the namespace controller, with a uid", user: controlplane.Admin, as: controller("namespace-controller", "11111111-2222-3333-4444-555555555555")},
	{name: "as the garbage collector, with a uid", user: controlplane.Admin, as: controller("generic-garbage-collector", "11111111-2222-3333-4444-555555555555")},
	{name: "as kube-controller-manager", user: controlplane.Admin, as: rest.ImpersonationConfig{UserName: "system:kube-controller-manager", Groups: masters}},
	{name: "as the scheduler", user: controlplane.Admin, as: rest.ImpersonationConfig{UserName: "system:kube-scheduler", Groups: masters}},
	{name: "as a kubelet", user: controlplane.Admin, as: rest.ImpersonationConfig{UserName: "system:node:evil", Groups: []string{"system:nodes", "system:masters"}}},
}

// administrators are those who have rights outside of a namespace.
var administrators = everybody[1:]

var masters = []string{"system:masters", "system:authenticated"}

// controller is somebody who takes the name of one of kube-controller-manager's
// controllers. The group gives the rights that RBAC would keep from that name.
func controller(name, uid string) rest.ImpersonationConfig {
	return rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:" + name, UID: uid,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:masters", "system:authenticated"}}
}

// apiServer is the name that the webhooks are not asked about at all.
var apiServer = person{name: "as system:apiserver", user: controlplane.Admin, as: rest.ImpersonationConfig{UserName: "system:apiserver", UID: "11111111-2222-3333-4444-555555555555", Groups: masters}}

func whoIs(name string) person {
	for _, p := range everybody {
		if p.name == name {
			return p
		}
	}
	panic("nobody is called " + name)
}

// config is how a person reaches the API server.
func (l *lab) config(p person) *rest.Config {
	config := l.plane.RESTConfig(p.user)
	if p.stole {
		config.BearerToken = l.stolen
	}
	config.Impersonate = p.as
	config.WarningHandler = rest.NoWarnings{}
	return config
}
