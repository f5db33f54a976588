package gate

import (
	"slices"
	"strings"
)

// Users that Kubernetes itself runs under.
const (
	apiServer         = "system:apiserver"
	controllerManager = "system:kube-controller-manager"
	scheduler         = "system:kube-scheduler"
	nodePrefix        = "system:node:"
	accountPrefix     = "system:serviceaccount:"
)

// controllers are the service accounts of kube-controller-manager's controllers,
// and the one user that all of them are where it runs without.
func controllers(names ...string) []string {
	users := []string{controllerManager}
	for _, n := range names {
		users = append(users, accountPrefix+"kube-system:"+n)
	}
	return users
}

// isOneOf reports whether the user is one of these and really seems to be. A
// service account that holds a token of its own has a uid and the group of its
// namespace; one that somebody impersonates has, as a rule, no uid, and a user
// of another identity provider has neither.
func (u *User) isOneOf(names []string) bool {
	return slices.Contains(names, u.Name) && u.seemsGenuine()
}

func (u *User) seemsGenuine() bool {
	account, ok := strings.CutPrefix(u.Name, accountPrefix)
	if !ok {
		return true
	}
	namespace, _, _ := strings.Cut(account, ":")
	return u.UID != "" && slices.Contains(u.Groups, "system:serviceaccounts:"+namespace)
}

// node is the name of the Node that the user is the kubelet of; empty if it is
// none.
func (u *User) node() string {
	name, ok := strings.CutPrefix(u.Name, nodePrefix)
	if !ok || !slices.Contains(u.Groups, "system:nodes") {
		return ""
	}
	return name
}

// isMachine reports a user that Kubernetes gives its parts, and service
// accounts, as against a person.
func (u *User) isMachine() bool { return strings.HasPrefix(u.Name, "system:") && u.seemsGenuine() }

func (u *User) inAny(groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(u.Groups, g) })
}
