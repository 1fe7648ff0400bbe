# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell scripts/version)
CACHE := .cache
FUZZTIME ?= 10s

# What "make demo" stores, and on which kind of pool it and "make chaos" do.
SRC ?= $(shell go env GOROOT)/src
POOL ?= rbd
DEMO_FLAGS ?=

# How long "make chaos" breaks a fleet, and "make alerts" loads one; the lease in seconds, and the plan: 0 for
# a new one.
DURATION ?= 30m
LEASE ?= 60
SEED ?= 0

# How often "make powercut" cuts the power.
CUTS ?= 20

# go-ceph has to be told of a Ceph as old as Debian 12's. Looked up at each use,
# for the packages may only be installed by the target "deps".
TAGS = $(if $(filter 16.%,$(shell dpkg-query -W -f '$${Version}' librados-dev 2>/dev/null)),pacific)
GO = go
# The same commit makes the same bytes, wherever it is built.
GOBUILD = $(GO) build -trimpath -buildmode=pie -buildvcs=false -ldflags "-X winery/internal/daemon.version=$(VERSION)"
GOTEST = $(GO) test -tags "$(TAGS)"

# Tools by a pinned version, each built once.
GOLANGCI_LINT := $(CACHE)/tools/golangci-lint-v2.15.0/golangci-lint
NFPM := $(CACHE)/tools/nfpm-v2.43.0/nfpm
GOTESTSUM := $(CACHE)/tools/gotestsum-v1.13.0/gotestsum
VERSITYGW := $(CACHE)/tools/versitygw-v1.8.0/versitygw
S3_SERVER := $(if $(filter mosaic-s3,$(POOL)),$(VERSITYGW))
PYTHON := $(CURDIR)/$(CACHE)/python/bin/python

##@ To use it

.PHONY: help
help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: deps build $(S3_SERVER) ## see files go through the fleet into images and back (POOL=rbd|directory|mosaic|mosaic-s3, SRC=dir)
	WINERY_VERSITYGW=$(CURDIR)/$(VERSITYGW) $(GO) run -tags "$(TAGS)" ./test/cmd/demo -pool "$(POOL)" -src "$(SRC)" $(DEMO_FLAGS)

.PHONY: chaos
chaos: deps build $(S3_SERVER) ## break a fleet under load, and prove that nothing is lost (DURATION=30m, POOL, LEASE, SEED)
	WINERY_VERSITYGW=$(CURDIR)/$(VERSITYGW) $(GO) run -tags "$(TAGS)" ./test/cmd/chaos -duration "$(DURATION)" -pool "$(POOL)" -lease "$(LEASE)" -seed "$(SEED)"

.PHONY: build
build: ## build the five programs into bin/
	$(GOBUILD) -tags "$(TAGS)" -o bin/ ./cmd/...

# The date in what is packaged: that of the last commit.
manual package: export SOURCE_DATE_EPOCH ?= $(shell git -c safe.directory='*' log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)

.PHONY: manual
manual: ## write the man pages and the completions into dist/manual
	@rm -rf dist/manual && mkdir -p dist/manual/programs
	$(GOBUILD) -tags "$(TAGS) manual" -o dist/manual/programs/ ./cmd/...
	@for program in dist/manual/programs/*; do "$$program" dist/manual; done
	@rm -r dist/manual/programs
	@scripts/third-party-licenses "$(TAGS)" | gzip -9n >dist/manual/third-party-licenses.gz

.PHONY: package
package: deps deps-package build manual $(NFPM) ## make the Debian packages in dist/
	@VERSION="$(VERSION)" scripts/package $(NFPM)

.PHONY: install
install: ## after "make build manual": install without a package (DESTDIR=, PREFIX=/usr/local)
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install

##@ To work on it

.PHONY: test
test: deps deps-vm deps-package-test lint package vm-image $(GOTESTSUM) $(VERSITYGW) python ## install what is missing and run every check and every test
	PG_FLAGS=--fast WINERY_PYTHON=$(PYTHON) WINERY_VERSITYGW=$(CURDIR)/$(VERSITYGW) GO=$(GO) \
		scripts/with-services --pg --ceph -- $(GOTESTSUM) --format testname --raw-command -- scripts/test-events "$(TAGS)"

# Those of test/interop, and those that other packages have with "Python" in
# their names.
INTEROP_LOG := $(CACHE)/interop
.PHONY: interop
interop: deps build $(GOTESTSUM) python ## only the tests with the Python Winery, and a line for each pairing proven
	@WINERY_PYTHON=$(PYTHON) scripts/with-services --pg --ceph -- $(GOTESTSUM) --format testname --jsonfile $(INTEROP_LOG)-1.json -- \
		-tags "$(TAGS)" -count 1 -timeout 20m ./test/interop
	@WINERY_PYTHON=$(PYTHON) scripts/with-services --pg -- $(GOTESTSUM) --format testname --jsonfile $(INTEROP_LOG)-2.json -- \
		-tags "$(TAGS)" -count 1 -run Python \
		$$(grep -rl --include='*_test.go' WINERY_PYTHON . | grep -v test/interop | xargs -n 1 dirname | sort -u)
	@sed -n 's/.*_test\.go:[0-9]*: interop: \(.*\)\\n"}$$/\1/p' $(INTEROP_LOG)-[12].json | sort

# It installs nothing: tests that need a service, or Python, are left out.
.PHONY: check
check: build ## the quick checks and the tests that need no service and no Python
	@files=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$files" ] || { echo "gofmt these: $$files"; exit 1; }
	$(GO) vet -tags "$(TAGS)" ./...
	@$(GOTEST) -skip 'Python|TestBench$$' $$($(GO) list -tags "$(TAGS)" \
		-f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... | \
		grep -vE '^winery/packaging |winery/test/(pg|ceph|role|fleet|s3)test' | cut -d ' ' -f 1)

.PHONY: lint
lint: deps $(GOLANGCI_LINT) ## shellcheck, go vet and golangci-lint, by .golangci.yml
	shellcheck scripts/* .ci/run packaging/{postinst,prerm,postrm,testdata/complete.bash}
	shellcheck --shell dash systemd/vm/init
	$(GO) vet -tags "$(TAGS)" ./...
	$(GOLANGCI_LINT) run --build-tags "$(TAGS)" ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	@scripts/fuzz $(FUZZTIME) -tags "$(TAGS)"

.PHONY: crash
crash: deps build $(VERSITYGW) ## only the tests that kill, stop or cut off each role everywhere, and a table of what came of it
	@PG_FLAGS=--fast WINERY_VERSITYGW=$(CURDIR)/$(VERSITYGW) scripts/with-services --pg --ceph -- $(GOTEST) -count 1 -v -timeout 20m ./test/crash | \
		grep -Ev '^(=== (RUN|PAUSE|CONT|NAME)| *--- PASS)'

.PHONY: attack
attack: deps build ## only the attacks on a writer, and a table of its memory and of what another client waits
	@scripts/with-services --pg -- $(GOTEST) -count 1 -v -timeout 10m ./test/attack

# Which parts "make bench" measures, all unless it is set, how often, and a folder for CPU profiles of the writer.
ONLY ?=
ROUNDS ?= 5
PROFILES ?=
.PHONY: bench
bench: deps build python ## measure a whole Winery beside Python Winery, and print a table (ONLY=tables,images,packing,memory,mosaic,rbd,production,index, ROUNDS=5, PROFILES=folder)
	@WINERY_PYTHON=$(PYTHON) $(GO) run -tags "$(TAGS)" ./test/cmd/bench -only "$(ONLY)" -rounds "$(ROUNDS)" -profiles "$(PROFILES)"

.PHONY: alerts
alerts: deps build ## only the tests of the alerts: faults and their alerts, and none under normal load (DURATION=30m)
	@WINERY_TEST_ALERTS_DURATION=$(DURATION) scripts/with-services --pg -- $(GOTEST) -count 1 -v -timeout 0 ./test/alerts | \
		grep -Ev '^(=== (RUN|PAUSE|CONT|NAME)| *--- PASS)'

# Which metrics the pictures of the Grafana dashboard show: those of a Prometheus, over a time, until a time (now, unless it is set).
PROMETHEUS ?= http://127.0.0.1:9090
RANGE ?= 30m
TO ?=
OUT ?= docs
DASHBOARD := $(CACHE)/dashboard
.PHONY: dashboard-pictures
dashboard-pictures: $(DASHBOARD)/page.js ## draw the Grafana dashboard into docs/, by npm and chromium (PROMETHEUS=URL, RANGE=30m, TO=2006-01-02T15:04:05Z, OUT=docs)
	node test/dashboard/draw.mjs --prometheus "$(PROMETHEUS)" --range "$(RANGE)" --to "$(TO)" --out "$(OUT)" --bundle $(DASHBOARD)

.PHONY: vm
vm: deps deps-vm package vm-image ## only the tests in a virtual machine: the package, its units, the kernel's rbd driver; with their steps
	scripts/with-services --pg --ceph -- $(GOTEST) -count 1 -v -timeout 30m ./test/vm

.PHONY: powercut
powercut: deps deps-vm build vm-image ## cut the power of a virtual machine with a whole Winery under load (CUTS=20)
	WINERY_TEST_POWER_CUTS=$(CUTS) $(GOTEST) -count 1 -v -timeout 80m -run TestPowerCut ./test/vm

.PHONY: deps deps-vm deps-package deps-package-test
deps: ## install the Debian packages that are missing
	@scripts/install-deps base
deps-vm:
	@scripts/install-deps vm
deps-package:
	@scripts/install-deps package
deps-package-test:
	@scripts/install-deps package-test

.PHONY: vm-image
vm-image: deps-vm
	@scripts/vm-image $(CACHE)/vm

.PHONY: python
python: deps
	@scripts/python-venv $(CACHE)/python >/dev/null

.PHONY: clean
clean: ## remove what was built, and the caches
	rm -rf bin dist $(CACHE)

$(GOLANGCI_LINT):
	GOBIN=$(CURDIR)/$(@D) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

$(GOTESTSUM):
	GOBIN=$(CURDIR)/$(@D) $(GO) install gotest.tools/gotestsum@v1.13.0

$(NFPM):
	GOBIN=$(CURDIR)/$(@D) $(GO) install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0

# A server of S3, for tests.
$(VERSITYGW):
	GOBIN=$(CURDIR)/$(@D) $(GO) install github.com/versity/versitygw/cmd/versitygw@v1.8.0

# Without a package-lock.json: the pictures are made by hand, now and then, and CI does not use it.
$(DASHBOARD)/node_modules: test/dashboard/package.json
	mkdir -p $(DASHBOARD) && cp $< $(DASHBOARD)
	npm install --prefix $(DASHBOARD) --no-package-lock --no-audit --no-fund --loglevel=error
	touch $@

$(DASHBOARD)/page.js: $(DASHBOARD)/node_modules $(wildcard test/dashboard/*.ts*)
	NODE_PATH=$(CURDIR)/$(DASHBOARD)/node_modules $(DASHBOARD)/node_modules/.bin/esbuild test/dashboard/page.tsx --outfile=$@ --log-level=error \
		--bundle --minify --format=esm --jsx=automatic --loader:.ttf=empty
