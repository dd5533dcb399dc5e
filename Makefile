# SPDX-License-Identifier: Apache-2.0
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(TESTBED_CACHE_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dnsingress)
# Where tools/bootstrap puts a Go toolchain, and servers for the tests, if it has to.
export PATH := $(CACHE)/go/go1.26.8/bin:$(PATH):$(subst $() ,:,$(foreach p,prometheus nginx knot nsd unbound-host qemu-user-static dosfstools mtools fdisk,$(CACHE)/debian/$p/bin))
export CGO_ENABLED := 0

COMMANDS := dnsingress testbed loadgen analyze
TOOL := go tool -modfile=go.tool.mod
TWIN := pi-cluster/inventory.twin.yaml

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: quickstart
quickstart: ## From a bare Debian 12 to figures: twin, experiment, report (needs root)
	@tools/quickstart

.PHONY: build
build: ## Build the four binaries into bin/
	go build -trimpath -o bin/ $(COMMANDS:%=./cmd/%)

.PHONY: man
man: build ## Write the manual pages of the four commands into build/man
	@for c in $(COMMANDS); do bin/$$c man build/man; done

.PHONY: images
images: ## dnsingress as container images for amd64 and arm64, with no engine: build/images/
	@$(MAKE) --no-print-directory build COMMANDS=testbed
	@mkdir -p build/images
	for arch in amd64 arm64; do \
	  bin/testbed bundle --arch $$arch --only image/dnsingress -o json >build/images/$$arch.json; \
	  cp "$$(sed -n 's/.*"path": "\(.*\)".*/\1/p' build/images/$$arch.json)" build/images/dnsingress-$$arch.tar; \
	done
	@ls -l build/images/*.tar

.PHONY: test
test: setup ## Set up what the tests need, and run them all
	go test -timeout 20m ./...

.PHONY: test-page
test-page: ## The page of dnsingress in a real browser (needs chromium; make test does it too where there is one)
	TEST_PAGE=1 go test -count=1 -run TestPageInABrowser ./cmd/dnsingress/internal/admin

.PHONY: report-browser
report-browser: ## report.html worked by mouse and keys in a real browser (needs chromium; REPORT_SCREENSHOTS=DIR keeps pictures)
	TEST_PAGE=1 go test -count=1 -v -run TestBrowser ./cmd/analyze/internal/report

.PHONY: verify
verify: ## Check every committed run, and derive every committed figure, number and claim again
	@$(MAKE) --no-print-directory build COMMANDS=analyze
	bin/analyze verify

.PHONY: redraw
redraw: ## Draw figures, tables and reports of every committed run again
	@$(MAKE) --no-print-directory build COMMANDS=analyze
	for m in results/*/*/manifest.json; do \
	  run=$$(dirname "$$m"); set=$$(sed -n 's/^  "figures": "\(.*\)",$$/\1/p' "$$run/figures/derived.json" 2>/dev/null || true); \
	  bin/analyze $${set:+--figures "$$run/figures/$$set"} "$$run" >/dev/null; \
	done

.PHONY: test-outage
test-outage: setup ## The API server away for 5 minutes, and 10 quiet minutes of which every API request is counted
	KUBE_LONG=1 CI=true go test -count=1 -timeout 40m -v -run 'TestCluster/(answers|quiet|API|rights)' ./cmd/dnsingress

.PHONY: test-external-dns
test-external-dns: setup ## external-dns itself, built from its module, writes records through `dnsingress webhook`
	@mkdir -p build/bench-kube
	cd bench/kube/externaldns && go build -o ../../../build/bench-kube/external-dns sigs.k8s.io/external-dns
	EXTERNAL_DNS=$(CURDIR)/build/bench-kube/external-dns CI=true go test -count=1 -timeout 10m -v -run 'TestCluster/webhook' ./cmd/dnsingress

.PHONY: differential
differential: setup ## Ask Knot DNS and NSD what dnsingress is asked, of ZONES generated zones (default 60)
	DIFFERENTIAL=$(or $(ZONES),60) CI=true go test -count 1 -timeout 60m -v -run 'Differential|Interop' ./cmd/dnsingress/internal/server

.PHONY: race
race: setup ## The tests of concurrent packages under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race -timeout 20m ./cmd/dnsingress/... ./cmd/loadgen/... ./cmd/testbed/... ./internal/...

.PHONY: setup
setup: ## Install what building, testing and the twin need (apt needs root)
	@tools/bootstrap test
	@$(MAKE) --no-print-directory kube-binaries
	@go -C tools/deploy build tool
	@mkdir -p build && go -C tools/coredns build -o ../../build/coredns ./coredns

.PHONY: kube-binaries
kube-binaries: ## Build the pinned Kubernetes (KUBE_BIN_DIR skips it)
	@$(MAKE) --no-print-directory build COMMANDS=testbed
	bin/testbed bundle --only kubernetes

.PHONY: check
check: ## What a reviewer would run: format, vet, staticcheck, module files, ansible-lint
	@tools/bootstrap build
	@out=$$($(TOOL) gofumpt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not formatted (hint: make fmt):"; echo "$$out"; exit 1; }
	go vet ./...
	$(TOOL) staticcheck ./...
	go mod tidy -diff
	@$(MAKE) --no-print-directory generate && git diff --exit-code -- api deploy/dnsingress/crd.yaml '*/zz_generated.deepcopy.go'
	go test -count=1 ./internal/walls
	@$(MAKE) --no-print-directory lint-ansible

.PHONY: generate
generate: KUBE_APIS := cmd/dnsingress/internal/kube
generate: ## Write what is generated from api/: deep copies and the CustomResourceDefinition
	$(TOOL) controller-gen object paths=./api/... paths=./$(KUBE_APIS)/externaldns paths=./$(KUBE_APIS)/kuadrant
	for f in api/v1alpha1 $(KUBE_APIS)/externaldns $(KUBE_APIS)/kuadrant; do sed -i '1i // SPDX-License-Identifier: Apache-2.0\n' $$f/zz_generated.deepcopy.go; done
	$(TOOL) controller-gen crd:allowDangerousTypes=true paths=./api/... output:crd:stdout > deploy/dnsingress/crd.yaml

.PHONY: fmt
fmt: ## Format the Go files
	$(TOOL) gofumpt -w $$(git ls-files '*.go')

.PHONY: e2e
e2e: ## A short run end to end on a twin of its own, removed afterwards (needs root)
	@tools/e2e

.PHONY: e2e-clusters
e2e-clusters: ## Likewise with three clusters, one of which dies and one is cut off (needs root; six minutes)
	@tools/e2e pi-cluster/inventory.clusters.yaml experiments/clusters-ci.yaml

.PHONY: image-cloud-init
image-cloud-init: ## Debian's cloud-init does a first boot with what testbed image build writes (needs root, and a twin's base system)
	@tools/bootstrap test
	TEST_CLOUD_INIT=$$(ls -d $(CACHE)/base/*/ | head -n 1) CI=true go test -count=1 -timeout 30m -v -run '^TestCloudInit$$' ./cmd/testbed/internal/image

.PHONY: twin22
twin22: ## The twin at full size: time from nothing, memory, and a second up that changes nothing (needs root; KEEP=1 leaves it standing)
	@tools/bootstrap twin
	@$(MAKE) --no-print-directory build COMMANDS=testbed
	@tools/twin22

.PHONY: rehearse
rehearse: ## Re-imaging over the network in a virtual machine: blank, again, an image that does not boot, power cut (needs root; minutes)
	@$(MAKE) --no-print-directory build COMMANDS=testbed
	@tools/rehearsal/rehearse bin/testbed

.PHONY: rehearse-up
rehearse-up: ## `testbed up` on a rack of two blank virtual machines until the worker has joined (needs root; 14 minutes: processors are emulated; UNTIL=boot)
	@$(MAKE) --no-print-directory build COMMANDS=testbed
	bin/testbed up --until base
	@tools/rehearsal/up bin/testbed $(if $(UNTIL),--until $(UNTIL))

.PHONY: bundle-arm64
bundle-arm64: ## All that nodes need, built or fetched for arm64, each program started once by qemu-user (long; ONLY=kubernetes,image/envoy)
	@tools/bootstrap arm64
	TESTBED_ARM64=$(or $(ONLY),all) go test -count=1 -timeout 3h -v -run '^TestArm64$$' ./cmd/testbed/internal/bundle

.PHONY: ansible-arm64
ansible-arm64: ## Ansible's roles, unmodified, on a Debian for arm64 under qemu-user (long; needs root)
	@tools/bootstrap arm64
	TESTBED_ARM64=all go test -count=1 -timeout 2h -v -run '^TestRolesOnArm64$$' ./cmd/testbed/internal/provision

.PHONY: lint-ansible
lint-ansible: ## ansible-lint, pinned, on ansible/
	@tools/ansible-lint/lint

.PHONY: faults
faults: ## Every fault on a twin of its own: done, seen by the nodes' own clocks, undone (needs root; FAULT=KIND: one; 15 minutes)
	@tools/faults

.PHONY: faults-vm
faults-vm: ## The faults that the twin cannot have, clock-skew and packet-delay, in a virtual machine (needs root; an emulated processor: quiet machine)
	@$(MAKE) --no-print-directory build COMMANDS=testbed
	@tools/rehearsal/faults bin/testbed

.PHONY: poison
poison: ## Trials on a twin of its own, each poisoned in another way: found every time (needs root; six minutes)
	@tools/poison

.PHONY: recovery
recovery: ## SIGKILL testbed during up, during a fault and during a trial: what stands is said, and mended (needs root; five minutes)
	@tools/recovery

.PHONY: bench
bench: ## Benchmarks of the hot paths
	go test -run '^$$' -bench . -benchmem ./cmd/dnsingress/internal/zone ./cmd/dnsingress/internal/zonefile ./cmd/dnsingress/internal/server ./cmd/loadgen/...

.PHONY: truth
truth: ## Ten minutes of changes under a load of queries, every answer checked, twice (TRUTH=10m)
	TRUTH=$(or $(TRUTH),10m) go test -run '^TestTruth$$' -v -timeout 2h ./cmd/dnsingress/internal/server

.PHONY: bench-dns
bench-dns: ## dnsingress beside Knot, NSD, gdnsd and CoreDNS: build/dns/tables.md (ROUNDS, SETS; needs gcc)
	bench/dns/bench-dns $(or $(ROUNDS),5) $(SETS)

.PHONY: bench-load
bench-load: ## loadgen beside vegeta, fortio, hey, wrk and dnsperf: build/load/tables.md (ROUNDS, PARTS="truth cost dns")
	bench/load/bench-load $(or $(ROUNDS),5) $(PARTS)

.PHONY: load-truth
load-truth: ## loadgen on a quiet machine: percentiles within 1 % of what the server knows, for each pacing, also while it is stopped
	LOADGEN_STRICT=1 go test -count=1 -run 'TestReportsWhatTheServerDid' -v ./cmd/loadgen

.PHONY: load-millions
load-millions: ## 24 million requests in one run of loadgen: memory, file and summary (REQUESTS, RATE)
	LOADGEN_REQUESTS=$(or $(REQUESTS),24000000) LOADGEN_RATE=$(or $(RATE),60000) go test -count=1 -timeout 2h -run '^TestMillions$$' -v ./cmd/loadgen

.PHONY: bench-steer
bench-steer: ## What 1,000 policies over 100,000 pods cost beside a real Prometheus (TIME=60s a case, of four)
	DNSINGRESS_SCALE=$(or $(TIME),60s) go test -count=1 -timeout 1h -run '^TestScale$$' -v ./cmd/dnsingress/internal/pool

.PHONY: bench-registration
bench-registration: ## Registration storms: 50 leaves with 1,000 zones, of 4 and of 50 name servers each, as an upper starts and starts again
	for s in 1000,50,4 1000,50,50; do DNSINGRESS_STORM=$$s go test -count=1 -timeout 30m -v -run TestRegistrationStorm ./cmd/dnsingress | grep -v level= || exit 1; done

.PHONY: systems
systems: ## Every system in every setup of its factors, one after the other, on a standing cluster (ARGS=INVENTORY; DNSINGRESS_ONLY='envoy*'; half an hour)
	DNSINGRESS_SYSTEMS=$(abspath $(or $(ARGS),pi-cluster/inventory.ci.yaml)) go test -count=1 -timeout 2h -v -run '^TestSystemsStand$$' ./cmd/testbed/internal/system

.PHONY: bench-kube
bench-kube: ## How soon DNS answers what changed in Kubernetes, beside CoreDNS and external-dns (ARGS=--services=1000,10000)
	@$(MAKE) --no-print-directory kube-binaries build COMMANDS="testbed dnsingress"
	@mkdir -p build/bench-kube
	cd bench/kube/coredns && go build -o ../../../build/bench-kube/coredns .
	cd bench/kube/externaldns && go build -o ../../../build/bench-kube/external-dns sigs.k8s.io/external-dns
	go run ./bench/kube --kube-bin "$${KUBE_BIN_DIR:-$$(ls -d $${TESTBED_CACHE_DIR:-$$HOME/.cache/dnsingress}/kubernetes/v* | tail -1)}" $(ARGS)

.PHONY: stats-reference
stats-reference: ## What scipy, statsmodels and ruptures say of the data sets that package stats is tested with, written anew
	@[ -x build/stats-venv/bin/python ] || python3 -m venv build/stats-venv
	@build/stats-venv/bin/pip install -q -r tools/stats-reference/requirements.txt
	build/stats-venv/bin/python tools/stats-reference/reference.py internal/stats/testdata/reference.json

.PHONY: bench-analyze
bench-analyze: ## analyze beside pandas and matplotlib on one run of SAMPLES samples (default 10000000): build/analyze/tables.md
	bench/analyze/bench-analyze $(or $(SAMPLES),10000000)

.PHONY: stats-coverage
stats-coverage: ## How often 95 % intervals cover what they should, simulated: build/stats-coverage.md (REPETITIONS=2000)
	@mkdir -p build
	STATS_COVERAGE=$(or $(REPETITIONS),2000) go test -count=1 -timeout 1h -run '^TestCoverageTable$$' -v ./internal/stats

.PHONY: gateway-conformance
gateway-conformance: ## Gateway API's own conformance suite, as far as it needs no proxy
	@$(MAKE) --no-print-directory kube-binaries build COMMANDS="testbed dnsingress"
	cd tools/conformance && DNSINGRESS=$(CURDIR)/bin/dnsingress KUBE_BIN_DIR="$${KUBE_BIN_DIR:-$$(ls -d $(CACHE)/kubernetes/v* | tail -1)}" go test -count=1 -timeout 20m -v .

.PHONY: dnsviz
dnsviz: ## DNSViz judges signed zones that dnsingress serves (apt and PyPI once, then a minute)
	@tools/dnsviz

.PHONY: paper
paper: ## The paper from the committed runs: build/paper/paper.pdf (needs TeX: tools/bootstrap paper)
	@$(MAKE) --no-print-directory build COMMANDS=analyze
	@tools/paper

.PHONY: paper-numbers
paper-numbers: ## Write paper/numbers.tex from the newest runs and hold the paper's claims against them; no TeX
	@$(MAKE) --no-print-directory build COMMANDS=analyze
	@tools/paper numbers

.PHONY: fuzz
fuzz: ## Fuzz every parser, FUZZTIME each (default 30s)
	@for f in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
	  for t in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9]+).*/\1/p' $$f); do \
	    go test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(or $(FUZZTIME),30s) ./$$(dirname $$f); done; done

.PHONY: clean-twin
clean-twin: ## Remove the twin and all that it left: mounts, namespaces, links, processes, cgroups
	@[ -x bin/testbed ] || $(MAKE) --no-print-directory build COMMANDS=testbed
	bin/testbed down -i $(TWIN)
