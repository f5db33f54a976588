package bench

// The manifests as Git has them, as compact JSON with sorted keys; name and
// namespace are filled in.
const (
	deploymentJSON = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"app":"web"},"name":%q,"namespace":%q},` +
		`"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},` +
		`"spec":{"containers":[{"image":"nginx:1.27","name":"c","ports":[{"containerPort":80}],` +
		`"resources":{"requests":{"cpu":"500m","memory":"64Mi"}}}]}}}}`
	serviceJSON = `{"apiVersion":"v1","kind":"Service","metadata":{"labels":{"app":"web"},"name":%q,"namespace":%q},` +
		`"spec":{"ports":[{"name":"http","port":80,"targetPort":"http"}],"selector":{"app":"web"}}}`
	secretJSON = `{"apiVersion":"v1","kind":"Secret","metadata":{"labels":{"app":"web"},"name":%q,"namespace":%q},` +
		`"stringData":{"password":"correct horse battery staple","url":"postgres://db.example.org/shop","user":"shop"}}`
	backendJSON = `{"apiVersion":"acme.dev/v1","kind":"Backend","metadata":{"labels":{"app":"web"},"name":%q,"namespace":%q},` +
		`"spec":{"endpoints":[{"host":"a.example.org","port":8443,"weight":10},{"host":"b.example.org","port":8443,"weight":1}],` +
		`"routes":[{"backoff":"250ms","path":"/cart","retries":3},{"path":"/pay"}],"tls":{"minVersion":"1.2"},"timeout":"5s"}}`
)

// backendCRD has what CRDs in use have: nesting, defaults, lists with keys and
// without.
const backendCRD = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"backends.acme.dev"},
"spec":{"group":"acme.dev","names":{"kind":"Backend","listKind":"BackendList","plural":"backends","singular":"backend"},"scope":"Namespaced",
"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","properties":{
"spec":{"type":"object","properties":{
 "endpoints":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["host"],"items":{"type":"object","required":["host"],"properties":{
  "host":{"type":"string"},"port":{"type":"integer","default":443},"weight":{"type":"integer","default":1},"zone":{"type":"string","default":"any"}}}},
 "routes":{"type":"array","items":{"type":"object","properties":{
  "path":{"type":"string"},"retries":{"type":"integer","default":2},"backoff":{"type":"string","default":"100ms"},"methods":{"type":"array","items":{"type":"string"},"default":["GET","POST"]}}}},
 "tls":{"type":"object","properties":{"minVersion":{"type":"string","default":"1.3"},"verify":{"type":"boolean","default":true}}},
 "timeout":{"type":"string","default":"10s"},"paused":{"type":"boolean","default":false}}},
"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}]}}`

// serverMetadataJSON is what the API server adds to metadata, by kind.
var serverMetadataJSON = map[string]string{
	"Deployment": `{"creationTimestamp":"2026-01-01T10:00:00Z","generation":1,"resourceVersion":"234","uid":"cbcd2627-90d2-4e0b-bc1f-ce7dc5d58d31",` +
		`"managedFields":[{"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:replicas":{},` +
		`"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},` +
		`"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}},"f:resources":{"f:requests":{"f:cpu":{},"f:memory":{}}}}}}}}},` +
		`"manager":"kubectl","operation":"Apply","time":"2026-01-01T10:00:00Z"}]}`,
	"Secret": `{"creationTimestamp":"2026-01-01T10:00:00Z","resourceVersion":"237","uid":"c0c5b0e4-384f-44aa-b728-f2fc8a62ba68",` +
		`"managedFields":[{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{"f:app":{}}},"f:stringData":{"f:password":{},"f:url":{},"f:user":{}}},` +
		`"manager":"kubectl","operation":"Apply","time":"2026-01-01T10:00:00Z"}]}`,
	"Backend": `{"creationTimestamp":"2026-01-01T10:00:00Z","generation":1,"resourceVersion":"240","uid":"1912f41a-4c69-48dd-b5e0-d2b8ba628ac7",` +
		`"managedFields":[{"apiVersion":"acme.dev/v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:endpoints":{` +
		`"k:{\"host\":\"a.example.org\"}":{".":{},"f:host":{},"f:port":{},"f:weight":{}},"k:{\"host\":\"b.example.org\"}":{".":{},"f:host":{},"f:port":{},"f:weight":{}}},` +
		`"f:routes":{},"f:timeout":{},"f:tls":{"f:minVersion":{}}}},"manager":"kubectl","operation":"Apply","time":"2026-01-01T10:00:00Z"}]}`,
}
