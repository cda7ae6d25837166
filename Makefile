.DEFAULT_GOAL := help

# One scenario of make bench, and its size.
SCENARIO ?= push-to-ready
SIZE     ?= 20
# How long each target of make fuzz runs.
FUZZTIME ?= 30s
# What make build puts into --version.
VERSION  ?= $(shell git describe --tags --always --dirty)

# The race detector needs a C compiler; without one the same tests run without it.
RACE := $(if $(shell command -v $$(go env CC)),-race)
# Two packages at a time: each starts an API server of its own. The timeout is
# that of one package, about ten times what the slowest takes.
TEST := go test -p 2 -timeout 20m

# Modules of their own, so that go.mod stays free of what only they need.
NESTED := $(patsubst %/go.mod,%,$(shell git ls-files -- '*/go.mod'))
# Those of them that have tests, and those that are light enough to lint: the
# others are a few lines around a Kubernetes or a Vault.
TESTED := $(sort $(foreach m,$(NESTED),$(if $(shell git ls-files -- '$(m)/*_test.go'),$(m))))
LINTED := $(filter-out tools/% test/controlplane test/servers/kwok test/servers/vault test/servers/gitea test/servers/s3,$(NESTED))

LINTER := $(CURDIR)/tools/lint/go.mod
# What make generate writes.
GENERATED := charts/lockstep/crds charts/lockstep/files ':(glob)apis/**/zz_generated.*'

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## From a commit to running workloads, live, on real servers; KEEP=1 stays up
	@go run ./test/demo

test: servers ## Every test, on a real control plane and real servers
	@echo "go test: $(if $(RACE),with,without a C compiler there is no) race detector"
	@bad=; for m in . $(TESTED); do echo "== tests of $$m"; (cd $$m && $(TEST) $(RACE) ./...) || bad=1; done; test -z "$$bad"

quick: ## Only the tests that start no server
	@bad=; for m in . $(TESTED); do echo "== quick tests of $$m"; (cd $$m && go test -short ./...) || bad=1; done; test -z "$$bad"

lint: ## The linters of .golangci.yml; the first run builds them
	@bad=; for m in . $(LINTED); do echo "== lint $$m"; \
	  (cd $$m && go tool -modfile=$(LINTER) golangci-lint run --config $(CURDIR)/.golangci.yml ./...) || bad=1; done; test -z "$$bad"

generate: ## Deep copies, CRDs and RBAC from the Go types and markers
	@go run ./tools/generate

verify: generate ## Fail if generate changed or added a file
	@test -z "$$(git status --porcelain -- $(GENERATED))" || { \
	  echo "make generate changed what is generated; commit it:"; \
	  git status --short -- $(GENERATED); git --no-pager diff -- $(GENERATED); exit 1; }

tidy: ## go.mod of the main module and of the light nested ones
	@bad=; for m in . $(LINTED); do (cd $$m && go mod tidy) || bad=1; done; test -z "$$bad"

bench: ## One scenario: SCENARIO=push-to-ready SIZE=20; docs/benchmarks.md lists them
	@go run ./test/bench run $(SCENARIO) --size $(SIZE)

fuzz: ## Every fuzz target, FUZZTIME each
	@set -e; for f in $$(git grep -l '^func Fuzz' -- '*_test.go'); do p=./$$(dirname $$f); \
	  for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$f); do \
	    echo "== $$p $$t"; go test $$p -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME); done; done

build: ## The programs, into bin/
	@go build -trimpath -tags kustomize_disable_go_plugin_support -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...
	@ls -sh bin

servers: ## Build the servers for tests and demo, once, into the user's cache folder
	@go run ./test/build

clean: ## Remove bin/; the servers in the cache stay
	@rm -rf bin

.PHONY: help demo test quick lint generate verify tidy bench fuzz build servers clean
