# make help prints what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

AGENSIUM_VENVS ?= $(CURDIR)/.cache/venvs
export AGENSIUM_VENVS
RUN_VENV := $(CURDIR)/.cache/run
VENVS := celery-latest celery-5.5 celery-5.2
FUZZTIME ?= 20s
SOAK ?= 10m
BENCH ?=
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# The race detector needs a C compiler; a machine without one runs the same tests without it.
RACE := $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && [ "$$(go env CGO_ENABLED)" = 1 ] && echo -race)
TEST := go test -timeout 20m

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/agensium and bin/agensium-bench
	@mkdir -p bin
	go build -trimpath -ldflags '-X main.release=$(VERSION)' -o bin/ ./cmd/...

.PHONY: run
run: build $(RUN_VENV)/.requirements ## the quickstart: embedded Redis, a Celery application, a Celery client, results
	@examples/quickstart/run bin/agensium "$(RUN_VENV)"

.PHONY: test
test: needs ## all tests, race detector for the packages with goroutines of their own
	@[ -n "$(RACE)" ] || echo 'test: no C compiler, so without the race detector' >&2
	$(TEST) $(RACE) ./celery/... ./pool/... ./supervisor/...
	$(TEST) ./cmd/... ./examples/...

.PHONY: race
race: needs ## all tests with the race detector
	$(TEST) -race ./...

.PHONY: contract
contract: needs ## the contract suites of the seams, on real Redis
	$(TEST) -count=1 -v -run Contract ./celery/... ./pool/...

.PHONY: e2e
e2e: needs ## end to end: real Celery clients, our binary, real Redis
	$(TEST) -count=1 -v ./cmd/agensium/...

.PHONY: soak
soak: needs ## all faults mixed on a stream of tasks for SOAK; prints a ledger, fails if anything is lost or doubled without a cause
	AGENSIUM_SOAK=$(SOAK) go test -timeout 2h -count=1 -v -run '^TestSoak$$' ./cmd/agensium

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME
	@for dir in $$(git grep -lE '^func Fuzz' -- '*_test.go' | xargs -rn1 dirname | sort -u); do \
		for target in $$(go test -list '^Fuzz' "./$$dir" | grep '^Fuzz'); do \
			echo "$$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$dir"; \
		done; \
	done

# staticcheck: all checks but these.
#   ST1000  a package comment in each package: main packages of examples speak through their README
#   ST1003  names with underscores: names of Celery's protocol are kept as they are written there
STATICCHECK := go tool staticcheck -checks 'all,-ST1000,-ST1003'

.PHONY: lint
lint: ## gofmt, go vet (for macOS, too), staticcheck; Python and shell files as far as the machine can
	@unformatted=$$(git ls-files -z '*.go' | xargs -0r gofmt -l); \
		[ -z "$$unformatted" ] || { echo "not gofmt'ed: $$unformatted" >&2; exit 1; }
	go vet ./...
	GOOS=darwin go vet ./...
	$(STATICCHECK) ./...
	@git ls-files -z '*.py' ':!pool/python/testdata/zoo/syntax_error.py' | xargs -0r python3 -c 'import sys; [compile(open(f, "rb").read(), f, "exec") for f in sys.argv[1:]]'
	@for file in .ci/run .ci/need .ci/venv examples/quickstart/run; do bash -n "$$file"; done
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run .ci/need .ci/venv examples/quickstart/run; fi

.PHONY: bench
bench: build $(AGENSIUM_VENVS)/celery-latest/.requirements ## agensium beside celery worker on one Redis, in turns (BENCH="flags", see bin/agensium-bench -h)
	@.ci/need redis-server
	bin/agensium-bench -venv "$(AGENSIUM_VENVS)/celery-latest" -out .cache/bench $(BENCH)

.PHONY: bench-autoscale
bench-autoscale: ## the simulator's table: what each scaling rule costs and keeps, on the same loads
	go run ./supervisor/autoscale/simulate/cmd/bench-autoscale

.PHONY: bench-handlers
bench-handlers: $(AGENSIUM_VENVS)/celery-latest/.requirements ## Go handlers beside asynq, celery worker and what Redis allows, in one run
	@.ci/need redis-server
	go test -run '^$$' -bench . -benchtime 200000x -timeout 30m ./examples/go-handlers

.PHONY: venvs
venvs: $(VENVS:%=$(AGENSIUM_VENVS)/%/.requirements) ## virtual environments with three releases of Celery

$(AGENSIUM_VENVS)/%/.requirements: .ci/requirements/%.txt
	@.ci/venv "$(AGENSIUM_VENVS)/$*" $<

$(RUN_VENV)/.requirements: examples/quickstart/requirements.txt
	@.ci/venv "$(RUN_VENV)" $<

# What the tests use. Where it cannot be had they skip and say so, unless AGENSIUM_REQUIRE names it.
.PHONY: needs
needs:
	@.ci/need redis-server || [[ "$${AGENSIUM_REQUIRE:-}" != *redis* ]]
	@$(MAKE) venvs || [[ "$${AGENSIUM_REQUIRE:-}" != *celery* ]]

.PHONY: clean
clean: ## binaries, virtual environments, what the benchmark saved
	rm -rf bin .cache
