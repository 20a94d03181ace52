# Everything a contributor types. `make` alone lists it; `make check` is what CI runs.
.DEFAULT_GOAL := help
SHELL := bash
GO ?= go
BIN := build/tools/bin
INSTALL := scripts/tools/install.sh

# The environment of the tests: where the tools are, and that a missing one is a failure. Under a bare `go test ./...`
# a test that misses its tool is skipped, with the command that installs it.
TEST_ENV = SPILLWAY_TOOLS="$(or $(SPILLWAY_TOOLS),$(CURDIR)/scripts/tools/node_modules)" SPILLWAY_REQUIRE_TOOLS=1

# The race detector needs a C compiler.
RACE := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

# Where goroutines share memory: these run under the race detector, with short simulations. The fleet and the quotas
# run without it too, for their simulations in full length; so do those whose short form leaves a browser or a table out.
SHARED := /handler/internal/(accounting|admin|affinity|api|auth|backend|fleet|proxy|quota$$|relay|tablestore|telemetry|transcript)
FULL := /handler/internal/(admin|auth/keys|fleet|quota)$$

# Bounds of the long ones: time per fuzz target, length of a soak, the benchmarks to run, and where
# their plots go.
FUZZTIME ?= 20s
SOAKTIME ?= 10m
BENCH ?= .
PLOTS ?= build/bench
N ?= 3

.PHONY: help run fleet test check lint bench fuzz soak vuln infra-check infra-fast stage package release start clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

run: ## see the main job work: simulated service, one handler, a curl line, the status page
	scripts/run.sh

fleet: ## N handlers (N=3) that share one emulated table, under a load that spills
	$(INSTALL) npm
	N=$(N) scripts/fleet.sh

check: lint infra-fast test ## what CI runs: lint, the fast tier of infra-check, test

test: ## every test; installs what they need first
	$(INSTALL) npm chromium
	$(if $(RACE),,@echo "no C compiler: the race detector is off")
	$(TEST_ENV) $(GO) test $(RACE) -short -shuffle=on -timeout 20m $$($(GO) list ./... | grep -E '$(SHARED)')
	$(TEST_ENV) $(GO) test -shuffle=on -timeout 20m $$($(GO) list ./... | grep -vE '$(SHARED)') $$($(GO) list ./... | grep -E '$(FULL)')

lint: ## golangci-lint (gofumpt, goimports), shellcheck, shfmt
	$(INSTALL) golangci-lint shfmt shellcheck
	$(BIN)/golangci-lint run ./...
	shellcheck -x -P SCRIPTDIR scripts/*.sh scripts/tools/*.sh .ci/run
	$(BIN)/shfmt -d -i 2 scripts/*.sh scripts/tools/*.sh .ci/run

bench: ## benchmarks, with ratios against the bare Go reverse proxy of the same run, and plots in PLOTS; BENCH=regexp, PEERS=name=host:port,…
	$(INSTALL) npm
	$(TEST_ENV) SPILLWAY_BENCH="$(abspath $(PLOTS))" $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 40m $$($(GO) list ./handler/...)

fuzz: ## every fuzz target for FUZZTIME (20s) each
	FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

soak: ## long load with faults for SOAKTIME (10m): leaks, drift, disagreement
	$(INSTALL) npm
	$(TEST_ENV) SOAKTIME=$(SOAKTIME) scripts/soak.sh

vuln: ## known vulnerabilities that the code reaches; VULNDB=file://... when offline
	$(INSTALL) govulncheck
	$(BIN)/govulncheck $(if $(VULNDB),-db $(VULNDB)) ./...

infra-check: ## templates and scripts of the deployment: fast tier, then Terraform with its providers when they are there
	scripts/infra-check.sh

# The part of infra-check that needs only Go: half a minute of CPU, and a minute and a half more when a script or template has changed.
infra-fast:
	$(INSTALL) golangci-lint
	scripts/infra-check.sh --fast

stage: ## lay out build/app, the folder that the Functions host runs
	scripts/stage.sh

package: ## build/spillway.zip, what is deployed: linux/amd64, static
	scripts/package.sh

release: ## build/release/VERSION (VERSION=1.2.3): packages for amd64 and arm64, what is in them, notes, checksums
	scripts/release.sh $(VERSION)

start: ## run build/app under Azure Functions Core Tools 4.3 or newer
	scripts/start.sh

clean: ## remove what was built; TOOLS=1 removes the fetched tools too
	rm -rf $(if $(TOOLS),build scripts/tools/node_modules,$(filter-out build/tools,$(wildcard build/*)))
