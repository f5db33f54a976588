# The control plane of the tests and the product are compiled with the same
# settings, so that they share one build cache.
export CGO_ENABLED = 0

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
# Two packages at a time: each may run an API server of its own.
TESTP    ?= 2
FUZZTIME ?= 10s
ARGS     ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Compile bin/gitward and bin/kubectl-gitward
	go build -ldflags "$(LDFLAGS)" -o bin/gitward ./cmd/gitward
	ln -sf gitward bin/kubectl-gitward

.PHONY: demo
demo: ## Run the demo against a real API server (ARGS="--no-cluster", ...)
	go run -ldflags "$(LDFLAGS)" ./cmd/gitward demo $(ARGS)

.PHONY: test
test: controlplane ## Run every test, those against a real API server too
	go test ./... -p $(TESTP) -timeout 60m

.PHONY: test-short
test-short: ## Run the tests that need no API server
	go test -short ./...

.PHONY: controlplane
controlplane: ## Have etcd and the Kubernetes servers ready (minutes once, then cached)
	@go run ./test/controlplane/ensure >/dev/null

.PHONY: interop-flux
interop-flux: controlplane ## Real Flux controllers before a real API server (test/interop)
	go run ./test/interop/ensure flux >/dev/null
	GITWARD_INTEROP=flux go test -count=1 -v -timeout 150m ./test/interop

.PHONY: interop-argocd
interop-argocd: controlplane ## A real Argo CD before a real API server (test/interop)
	go run ./test/interop/ensure argocd >/dev/null
	GITWARD_INTEROP=argocd go test -count=1 -v -timeout 150m ./test/interop

.PHONY: bench
bench: ## Measure decisions, round trips, the index and rendering beside their goals (docs/benchmarks.md)
	@set -e; for pkg in $$(grep -rlE '^func Benchmark' --include='*_test.go' . | xargs -r -n1 dirname | sort -u); do \
		go test -run '^$$' -bench . -cpu 1 "$$pkg"; done
	go run ./test/bench/index $(ARGS)
	go run ./test/bench/render

.PHONY: fuzz
fuzz: ## Run each fuzz test for FUZZTIME (10s)
	@set -e; grep -rEo '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' . | sort -u | \
	while IFS=: read -r file func; do \
		echo "fuzz $$(dirname "$$file") $${func#func }"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
	done

.PHONY: lint
lint: gofmt vet staticcheck ## gofmt, go vet, staticcheck

.PHONY: gofmt
gofmt:
	@bad=$$(git ls-files -co --exclude-standard '*.go' | while read -r f; do [ ! -f "$$f" ] || gofmt -l "$$f"; done); \
	if [ -n "$$bad" ]; then echo "not gofmt'ed:"; echo "$$bad"; exit 1; fi

.PHONY: vet
vet:
	go vet ./...

.PHONY: staticcheck
staticcheck: bin/tools/staticcheck
	bin/tools/staticcheck ./...

.PHONY: generate
generate: bin/tools/controller-gen ## Write the deepcopy code and the CRDs anew
	@if [ -d api/v1alpha1 ]; then \
		set -ex; bin/tools/controller-gen object crd paths=./api/v1alpha1/... output:crd:dir=charts/gitward/crds; \
	fi

.PHONY: layout
layout:
	go test -count=1 ./test/layout

# What git shows as changed now is held against what it showed before: so
# verify speaks of what generate did, on a tree with work in it too. In CI
# the tree begins clean, so anything that changed is named.
.PHONY: verify
verify: ## generate must change nothing; then gofmt, go vet, staticcheck and the layout test
	@before=$$(mktemp) && after=$$(mktemp) && trap 'rm -f "$$before" "$$after"' EXIT && \
	$(MAKE) --no-print-directory fingerprint >"$$before" && \
	$(MAKE) --no-print-directory generate && \
	$(MAKE) --no-print-directory fingerprint >"$$after" && \
	changed=$$(sort "$$before" "$$after" | uniq -u | cut -c43- | sort -u) && \
	if [ -n "$$changed" ]; then echo "make generate changed these files, commit the result:"; echo "$$changed"; exit 1; fi
	@$(MAKE) --no-print-directory gofmt vet staticcheck layout
	@if [ -n "$(CI)" ] && [ -n "$$(git status --porcelain)" ]; then \
		echo "these files changed, or are not committed:"; git status --porcelain; exit 1; fi

# Every file that git does not ignore, with a checksum.
.PHONY: fingerprint
fingerprint:
	@git ls-files -co --exclude-standard | while IFS= read -r f; do [ ! -f "$$f" ] || sha1sum "$$f"; done

.PHONY: clean
clean: ## Remove what make built (not the cached control plane)
	rm -rf bin dist

# The tools have a module of their own: the product's go.mod knows none of them.
bin/tools/staticcheck: test/tools/go.mod test/tools/go.sum
	cd test/tools && go build -o ../../$@ honnef.co/go/tools/cmd/staticcheck

bin/tools/controller-gen: test/tools/go.mod test/tools/go.sum
	cd test/tools && go build -o ../../$@ sigs.k8s.io/controller-tools/cmd/controller-gen
