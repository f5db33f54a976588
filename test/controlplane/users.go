package controlplane

import (
	"encoding/csv"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Admin is the user in system:masters that every control plane has.
const Admin = "admin"

// controllerManagerUser is bound to what it needs by the API server itself.
const controllerManagerUser = "system:kube-controller-manager"

// User is somebody who may speak to the API server, and nothing more: what
// they may do is for RBAC to say. An empty Token stands for a new random one,
// an empty UID for the name.
type User struct {
	Name   string
	Groups []string
	Token  string
	UID    string
}

// withHouse adds the users that every control plane has and completes all.
func withHouse(users []User) []User {
	users = append([]User{{Name: Admin, Groups: []string{"system:masters"}}, {Name: controllerManagerUser}}, users...)
	for i, user := range users {
		if user.Token == "" {
			users[i].Token = newToken()
		}
		if user.UID == "" {
			users[i].UID = user.Name
		}
	}
	return users
}

// checkUsers refuses what the token file could not tell apart.
func checkUsers(users []User) error {
	seen := map[string]bool{}
	for _, user := range users {
		if user.Name == "" || seen[user.Name] {
			return fmt.Errorf("user %q: every user of a control plane needs a name of their own (%s and %s are taken)", user.Name, Admin, controllerManagerUser)
		}
		seen[user.Name] = true
	}
	return nil
}

// writeTokens writes the file for --token-auth-file: token, name, uid, and the
// groups as one field.
func writeTokens(path string, users []User) error {
	var text strings.Builder
	rows := csv.NewWriter(&text)
	for _, user := range users {
		if err := rows.Write([]string{user.Token, user.Name, user.UID, strings.Join(user.Groups, ",")}); err != nil {
			return err
		}
	}
	rows.Flush()
	if err := rows.Error(); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text.String()), 0o600)
}

// token is empty for a user that the control plane does not have, so that
// whoever mistypes a name is system:anonymous.
func (cp *ControlPlane) token(name string) string {
	i := slices.IndexFunc(cp.users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return ""
	}
	return cp.users[i].Token
}

// RESTConfig is how client-go reaches the API server as a user: Admin, or one
// of Options.Users. Any other name gets no credentials and is
// system:anonymous. There is no client-side throttling.
func (cp *ControlPlane) RESTConfig(user string) *rest.Config {
	return &rest.Config{
		Host:            cp.Host,
		BearerToken:     cp.token(user),
		TLSClientConfig: rest.TLSClientConfig{CAData: cp.CA},
		QPS:             -1,
	}
}

// Kubeconfig is the file with which kubectl and others are that user. Only
// Admin and Options.Users have one.
func (cp *ControlPlane) Kubeconfig(user string) string {
	return filepath.Join(cp.Dir, "kubeconfig", url.PathEscape(user)+".yaml")
}

func (cp *ControlPlane) writeKubeconfigs() error {
	if err := os.MkdirAll(filepath.Join(cp.Dir, "kubeconfig"), 0o700); err != nil {
		return err
	}
	for _, user := range cp.users {
		config := clientcmdapi.Config{
			Clusters:       map[string]*clientcmdapi.Cluster{"gitward": {Server: cp.Host, CertificateAuthorityData: cp.CA}},
			AuthInfos:      map[string]*clientcmdapi.AuthInfo{user.Name: {Token: user.Token}},
			Contexts:       map[string]*clientcmdapi.Context{"gitward": {Cluster: "gitward", AuthInfo: user.Name, Namespace: "default"}},
			CurrentContext: "gitward",
		}
		if err := clientcmd.WriteToFile(config, cp.Kubeconfig(user.Name)); err != nil {
			return fmt.Errorf("writing the kubeconfig of %s: %w", user.Name, err)
		}
	}
	return nil
}
