# Home Security Intelligence. `make` lists the commands. They work from any folder (make -C DIR ...), as root and as an ordinary user.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# A home folder that cannot be written (a service account, a dropped privilege) would stop Go's caches: use one of our own then.
ifneq ($(shell test -n "$$HOME" && test -w "$$HOME" && echo yes),yes)
export HOME := $(CURDIR)/.home
endif

# go-nvml's C header marks old calls as deprecated; the flags must be the same in every build or the cache is useless.
export CGO_ENABLED := 1
export CGO_CFLAGS := -O2 -g -Wno-deprecated-declarations
export EMBEDDED_DEPS_DIR ?= $(CURDIR)/.deps

VERSION ?= $(shell git -C $(CURDIR) describe --tags --always --dirty 2>/dev/null || echo 0.1.0)
GO_BUILD = go build -buildvcs=false -ldflags "-X main.version=$(VERSION)"
LINT_VERSION := v2.15.0
LINT := $(CURDIR)/.tools/golangci-lint-$(LINT_VERSION)
OASDIFF_VERSION := v1.36.0
export OASDIFF := $(CURDIR)/.tools/oasdiff-$(OASDIFF_VERSION)

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: deps dashboard build ## Build and start the server on http://127.0.0.1:8000; Ctrl-C stops it
	@exec bin/hsi serve

.PHONY: build
build: ## Build bin/hsi
	@$(GO_BUILD) -o bin/hsi ./cmd/hsi

WEB_SOURCES = $(shell find web/src web/build web/public web/client/src -type f) web/index.html web/vite.config.ts web/tsconfig.json openapi.yaml

.PHONY: web
web: web/dist/app/index.html ## Build the dashboard, which make build then embeds; needs Node and npm

web/dist/app/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	@cd web && node_modules/.bin/vite build --logLevel warn
	@touch $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json web/.npmrc
	@cd web && npm ci --ignore-scripts
	@touch $@

# With Node the dashboard is built; without it, or when its packages cannot be fetched, the server runs with a page that says how to get it.
.PHONY: dashboard
dashboard:
	@if command -v node >/dev/null && command -v npm >/dev/null; then $(MAKE) --no-print-directory web || echo "The dashboard could not be built (above); the server starts without it."; \
	else echo "Node.js and npm are missing: the server starts without its dashboard. With them, make run builds it."; fi

.PHONY: web-test
web-test: web/node_modules/.package-lock.json ## Check the dashboard's types, style and logic
	@cd web && node_modules/.bin/tsc --noEmit && node_modules/.bin/tsc --noEmit --project tsconfig.node.json
	@cd web && node_modules/.bin/oxlint --deny-warnings && node_modules/.bin/prettier --check --log-level warn .
	@cd web && node_modules/.bin/vitest run

.PHONY: browser-test
browser-test: deps web build client ## Drive the dashboard of bin/hsi and the client in Chromium; HSI_SCREENSHOTS=1 also renews docs/screenshots
	@scripts/browser.sh >/dev/null
	@cd web && node_modules/.bin/vitest run --config vitest.browser.config.ts

.PHONY: page-bench
page-bench: deps web build ## Measure how soon the dashboard shows what happened and how the system is
	@scripts/browser.sh >/dev/null
	@cd web && HSI_BENCH=1 node_modules/.bin/vitest run --config vitest.browser.config.ts

CLIENT_TOOLS := web/client/node_modules/.package-lock.json

.PHONY: client
client: $(CLIENT_TOOLS) ## Build the TypeScript client, web/client/dist; needs Node and npm
	@cd web/client && npm run --silent build

.PHONY: client-test
client-test: deps build client ## Install the TypeScript client into an empty project and drive the server through every operation
	@cd web/client && HSI_BINARY=$(CURDIR)/bin/hsi npm run --silent test

$(CLIENT_TOOLS): web/client/package.json web/client/package-lock.json web/client/.npmrc
	@scripts/node.sh
	@cd web/client && npm ci --ignore-scripts --loglevel=error
	@touch $@

.PHONY: deps
deps: ## Find PostgreSQL and Redis, or fetch their packages into .deps
	@scripts/deps.sh

# Three lanes: check while a change is made, ci before it is proposed, nightly for what takes long.
# -j2: a lane's parts run side by side, each one's output is printed whole when it ends.
LANE := $(MAKE) --no-print-directory --output-sync=target -j2
# Tests that start the server as a process carry the build tag e2e.
E2E := -tags e2e
# Many tests wait for servers, time-outs and each other: more of them at a time than there are processors.
AT_ONCE := -parallel 4

.PHONY: check
check: ## Check a change while working on it: no test starts the server as a process
	@$(MAKE) --no-print-directory verify
	@$(LANE) unit-test lint contract web-test

.PHONY: ci
ci: ## Check a change before it is proposed; what continuous integration runs
	@$(MAKE) --no-print-directory verify web build
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory after-test
	@bin/hsi version

# One after the other: side by side they wait for the same two cores, take as long, and what measures time in them gives up.
.PHONY: after-test
after-test:
	@$(MAKE) --no-print-directory -j1 browser-test client-test chaos-short lint contract web-test vulncheck

.PHONY: nightly
nightly: export HSI_NIGHTLY := 1
nightly: ci ## The same with all seeds and long waits, then the whole chaos run and the soak; takes over an hour
	@$(MAKE) --no-print-directory chaos soak

.PHONY: test
test: ## Run all tests with the race detector, in random order, on real PostgreSQL, Redis and ffmpeg
	@scripts/deps.sh postgres redis ffmpeg
	go test -race -shuffle=on -timeout 60m $(AT_ONCE) $(E2E) ./...
	go test -run PrecisionAndRecall ./pipeline/detect
	go -C tools test -race -shuffle=on -timeout 60m ./...

.PHONY: unit-test
unit-test: ## Run the tests that do not start the server as a process, without the race detector
	@scripts/deps.sh postgres redis ffmpeg
	go test $(AT_ONCE) ./...

.PHONY: lint
lint: $(LINT) ## Run the linters
	$(LINT) run ./...
	cd tools && $(LINT) run ./...
	go mod tidy -diff
	go -C tools mod tidy -diff

$(LINT):
	@mkdir -p .tools && GOBIN=$(CURDIR)/.tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mv .tools/golangci-lint $(LINT)

.PHONY: generate
generate: $(CLIENT_TOOLS) ## Generate gen/ and the TypeScript client from openapi.yaml
	go generate ./gen/...
	@cd web/client && npm run --silent generate

GENERATED := gen web/client/src/generated

.PHONY: verify
verify: generate ## Fail when generated code differs from what is committed
	@git diff --stat --exit-code -- $(GENERATED) || { echo "made anew from openapi.yaml just now, the files above are not those that are committed: commit them together with openapi.yaml"; exit 1; }
	@test -z "$$(git status --porcelain -- $(GENERATED))" || { git status --short -- $(GENERATED); echo "generated files are not committed"; exit 1; }

.PHONY: contract
contract: $(OASDIFF) ## Fail when openapi.yaml breaks users of the last release and api/approved-changes.txt does not say so
	@scripts/contract.sh check

.PHONY: contract-release
contract-release: $(OASDIFF) ## Make openapi.yaml the contract of the last release; part of a release
	@scripts/contract.sh release

$(OASDIFF):
	@mkdir -p .tools && GOBIN=$(CURDIR)/.tools go install github.com/oasdiff/oasdiff@$(OASDIFF_VERSION)
	@mv .tools/oasdiff $(OASDIFF)

.PHONY: demo
demo: build ## Beside make run: write pictures with moving objects into the camera folder demo
	@exec bin/hsi demo

.PHONY: bench
bench: deps build ## Measure the server beside bare programs on the same machine; make bench BENCH='-scale 0.1' for less data
	@scripts/deps.sh wrk
	@go -C tools build -buildvcs=false -o ../bin/bench ./bench
	@bin/bench -hsi bin/hsi -deps "$$EMBEDDED_DEPS_DIR" $(BENCH)

.PHONY: soak
soak: deps build ## Let 32 cameras write one picture a second each for 20 minutes and watch memory and descriptors
	@go -C tools build -buildvcs=false -o ../bin/bench ./bench
	@bin/bench -hsi bin/hsi -deps "$$EMBEDDED_DEPS_DIR" -rows soak

.PHONY: chaos
chaos: deps build ## Kill and disturb everything under load, then compare what came in with what is stored (SHORT=1: a minute; LONG=1: an hour; SEED=n: again)
	@go -C tools build -buildvcs=false -o ../bin/chaos ./chaos
	@exec bin/chaos -hsi bin/hsi $(if $(SHORT),-images 600 -kills 12) $(if $(LONG),-long) $(if $(SEED),-seed $(SEED))

.PHONY: chaos-short
chaos-short: SHORT := 1
chaos-short: chaos

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities of what is called, where their database can be reached
	@scripts/vulncheck.sh

MUTATED := ./gpu ./server ./server/health ./store ./store/media ./store/retention ./store/logsink ./pipeline \
	$(addprefix ./pipeline/,aicall analyze batch detect intake latency picture queue redis video)

.PHONY: mutate
mutate: ## Run the tests with changes made to the code and list those that no test notices: make mutate PKGS=./gpu PER=20 SEED=1
	@scripts/deps.sh postgres redis ffmpeg
	@go -C tools build -buildvcs=false -o ../bin/mutate ./mutate
	bin/mutate -per $(or $(PER),12) -seed $(or $(SEED),1) $(or $(PKGS),$(MUTATED))
