package attacks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Objects that several attacks are about. The namespace is $NS.

func configMap(name, apple string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: $NS}\ndata: {apple: %q}\n", name, apple)
}

func secret(name, password string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: $NS}\nstringData: {password: %q}\n", name, password)
}

func pod(name, image string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: $NS}\nspec: {containers: [{name: box, image: %q, resources: {requests: {cpu: 100m}}}]}\n", name, image)
}

func deployment(name, image string) string {
	return workload("apps/v1", "Deployment", name, image, "replicas: 1")
}

// workload is an object with a selector and a pod template.
func workload(apiVersion, kind, name, image, more string) string {
	return fmt.Sprintf(`apiVersion: %s
kind: %s
metadata: {name: %s, namespace: $NS}
spec:
  %s
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec: {containers: [{name: web, image: %q}]}
`, apiVersion, kind, name, more, name, name, image)
}

const account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: robot, namespace: $NS}\n"

// widgets have a status of their own and keep what they do not know.
const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}, status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`

// gadgets have none.
const gadgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}, colour: {type: string, default: grey}}}}}}
`

// evilRequest asks for a certificate in the name of system:masters, and
// approves itself.
var evilRequest = func() string {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "evil", Organization: []string{"evil"}}}, key))
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return fmt.Sprintf("{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: evil}, "+
		"spec: {request: %s, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}, "+
		"status: {conditions: [{type: Approved, status: 'True', reason: Mine, message: mine}]}}", base64.StdEncoding.EncodeToString(text))
}()

func configMapObject(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
