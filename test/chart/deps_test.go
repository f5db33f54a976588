package chart

import (
	_ "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	_ "helm.sh/helm/v4/pkg/chart/common"
	_ "helm.sh/helm/v4/pkg/chart/common/util"
	_ "helm.sh/helm/v4/pkg/chart/v2/loader"
	_ "helm.sh/helm/v4/pkg/engine"
	_ "k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)
