# Everything that a contributor does. `make help` lists it; `make test` and `make demo` need nothing but root on a
# Debian-like machine: they fetch and build the rest once, into ${XDG_CACHE_HOME:-~/.cache}/mailtls.

PYTHON ?= python3
# An existing cluster for `make demo`, by its kubeconfig context; empty: the embedded one.
CONTEXT ?=
# Where that cluster finds the images, as in IMAGES=registry.example.com/mail; empty: loaded on its nodes by you.
IMAGES ?=
# Another minor version of Kubernetes than the newest for the embedded cluster, as 1.36: see tests/testbed/versions.
KUBERNETES ?=
# What `make kubectl`, `make helm`, `make pytest`, `make bench` and `make compare` pass on.
ARGS ?=
# How many tests run at a time: without a cluster as many as processors, with it a few more, for they mostly wait.
JOBS ?= auto
CLUSTER_JOBS ?= 4
# How long each target of `make fuzz` is fuzzed, in seconds.
FUZZ_SECONDS ?= 60

ENVIRONMENT := $(shell $(PYTHON) tests/testbed/bootstrap.py folder)
READY := $(ENVIRONMENT)/.complete
BIN := $(ENVIRONMENT)/bin
TESTBED = PYTHONPATH=operator:tests $(BIN)/python -m testbed
PYTEST = PATH="$$($(TESTBED) tools):$$PATH" $(BIN)/python -m pytest
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export PYTHONUNBUFFERED := 1
export MAILTLS_KUBERNETES := $(KUBERNETES)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ See it work

.PHONY: demo
demo: $(READY) ## From nothing to a certificate that all pods serve, in a real cluster (CONTEXT=name: in a cluster of yours)
	PYTHONPATH=operator:tests $(BIN)/python -m demo $(if $(CONTEXT),--context=$(CONTEXT)) $(if $(IMAGES),--images=$(IMAGES))

.PHONY: cluster
cluster: $(READY) ## Bring up the embedded cluster, with Pebble and BIND, and keep it
	@$(TESTBED) up

.PHONY: cluster-down
cluster-down: $(READY) ## Take the embedded cluster down; nothing of it stays
	@$(TESTBED) down

.PHONY: kubectl
kubectl: $(READY) ## Run kubectl in the embedded cluster: make kubectl ARGS="get pods -A"
	@$(TESTBED) kubectl $(ARGS)

.PHONY: helm
helm: $(READY) ## Run Helm in the embedded cluster: make helm ARGS="list -A"
	@$(TESTBED) helm $(ARGS)

.PHONY: shell
shell: $(READY) ## Open a shell in the embedded cluster's network, with kubectl and helm at hand
	@$(TESTBED) run

.PHONY: image
image: $(READY) ## Build the operator's image, and load it where the embedded cluster is up
	@$(TESTBED) image

##@ Prove it

.PHONY: test
test: $(READY) ## Everything: check, unit, functional, contracts, and the real cluster
	@$(TESTBED) test

.PHONY: check
check: $(READY) ## Linters, strict types, import contracts, CRD and chart, generated files
	@$(MAKE) --no-print-directory lint contracts

.PHONY: lint
lint: $(READY) ## The part of `check` that only reads the code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	PYTHONPATH=operator $(BIN)/lint-imports

.PHONY: unit
unit: $(READY) ## Tests of decisions: no I/O, seconds
	$(BIN)/python -m pytest -q -n $(JOBS) tests/unit

# How many runs `make simulate` makes; each is a new one.
SIMULATIONS ?= 500

.PHONY: simulate
simulate: $(READY) ## Run the controller through random accidents in a simulated world (SIMULATIONS=500)
	MAILTLS_SIMULATIONS=$(SIMULATIONS) $(BIN)/python -m pytest -q -n0 --timeout 0 tests/unit/controller/test_reconciler_simulation.py

.PHONY: fuzz
fuzz: $(READY) ## Fuzz all that reads a stranger's bytes, led by coverage (FUZZ_SECONDS=60 each)
	PYTHONPATH=operator:tests $(BIN)/python -m fuzz dialog $(FUZZ_SECONDS)
	PYTHONPATH=operator:tests $(BIN)/python -m fuzz certificate $(FUZZ_SECONDS)

.PHONY: functional
functional: $(READY) tools ## Tests against real programs (Pebble, BIND, Postfix) without a cluster
	PYTHONPATH=operator:tests $(PYTEST) -q -n $(JOBS) -m "not cluster" tests/functional

.PHONY: contracts
contracts: $(READY) tools ## CRD, chart, alert rules, documentation and generated files against each other
	$(PYTEST) -q -n $(JOBS) -m "not cluster" tests/contracts

.PHONY: e2e
e2e: $(READY) ## Tests on the real cluster; it stays up for the next run (KUBERNETES=1.36: of that minor version)
	@$(TESTBED) prepare
	$(BIN)/python -m pytest -n $(CLUSTER_JOBS) --dist=loadgroup -m "cluster and not upgrade" tests

# Which commit or tag is upgraded from; empty: the newest release behind this commit.
FROM ?=

.PHONY: upgrade
# A name that no other run has: each takes down what it has brought up.
upgrade: export MAILTLS_TESTBED := up$(shell echo $$PPID)
upgrade: export MAILTLS_UPGRADE_FROM := $(FROM)
upgrade: $(READY) ## Upgrade a cluster of its own from an earlier version, with resources at work (FROM=v0.1.0)
	@trap '$(TESTBED) down' EXIT; $(BIN)/python -m pytest -q -n0 -m upgrade tests/e2e

.PHONY: pytest
pytest: $(READY) ## Run some tests: make pytest ARGS="tests/e2e -k renewal -x"
	$(BIN)/python -m pytest $(ARGS)

.PHONY: bench
bench: $(READY) ## Measure against the targets: prints a table and writes build/bench.json (ARGS=operator, probe, isolation, rollout or page: that part only)
	PYTHONPATH=operator:tests $(BIN)/python -m bench $(ARGS)

.PHONY: compare
compare: $(READY) ## Let posttls-finger, testssl.sh and openssl look at the tests' mail servers; writes docs/explanation/comparison.md
	PYTHONPATH=operator:tests $(BIN)/python -m comparison $(ARGS)

##@ Publish it

# Where the image and the release will be published, and of which architectures images are made (none: no images).
IMAGE ?= localhost/mailtls
HOMEPAGE ?= https://forge.example.com/mailtls
ARCHITECTURES ?= amd64 arm64
# Which version the site is of; what is no number is shown last.
DOCS_VERSION ?= dev
# Another base image than the Dockerfile's; `debian`: made here from Debian's packages, for those without a registry.
BASE ?=
# The tag that is released, as v1.2.3; without one the changelog's unreleased part is taken.
TAG ?=

.PHONY: docs
docs: $(READY) ## Make the documentation's site in build/site, strictly (DOCS_VERSION=0.1.0: the folder of that version)
	PYTHONPATH=packaging $(BIN)/python -m docsite --version $(DOCS_VERSION)

.PHONY: docs-serve
docs-serve: docs ## Make the site and serve it at http://127.0.0.1:8000/
	PYTHONPATH=packaging $(BIN)/python -m docsite serve

.PHONY: release
release: $(READY) tools ## Make all that is published in dist/, reproducibly: see docs/contributing/releasing.md (ARGS=--snapshot: uncommitted too)
	PATH="$$($(TESTBED) tools):$$PATH" PYTHONPATH=operator:tests:packaging $(BIN)/python -m release --repository=$(IMAGE) \
	  --homepage=$(HOMEPAGE) $(if $(BASE),--base=$(BASE)) $(if $(TAG),--tag=$(TAG)) --architectures $(ARCHITECTURES) $(ARGS)

# Who knows of vulnerabilities: empty for PyPI itself, or the query address of an OSV API; and in which files they are looked for.
ADVISORIES ?=
LOCKS ?= requirements.lock

.PHONY: audit
audit: ## Look for known vulnerabilities in what is shipped (asks PyPI; ADVISORIES=the query address of an OSV API)
	$(PYTHON) -m venv $(ENVIRONMENT)-audit
	$(ENVIRONMENT)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	PYTHONPATH=packaging $(ENVIRONMENT)-audit/bin/python -m release.audit $(if $(ADVISORIES),--advisories=$(ADVISORIES)) $(LOCKS)

##@ Keep house

.PHONY: tools
tools: $(READY) ## Build Kubernetes, Helm and Pebble, unless they are built
	@$(TESTBED) tools >/dev/null

.PHONY: format
format: $(READY) ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: lock
lock: ## Pin the dependencies of pyproject.toml anew (needs uv)
	uv pip compile -q --upgrade pyproject.toml --extra otel --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header -o requirements.lock
	uv pip compile -q --upgrade pyproject.toml --extra otel --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header -c requirements.lock -o requirements-dev.lock
	uv pip compile -q --upgrade --group fuzz --universal --python-version 3.11 --generate-hashes \
	  --only-binary :all: --no-emit-index-url --no-header -o requirements-fuzz.lock

.PHONY: clean
clean: ## Take the cluster down and remove what was built in the checkout; the cache stays
	@if [ -e $(READY) ]; then $(TESTBED) down; fi
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.PHONY: clean-cache
clean-cache: clean ## Remove the cache too: the next run builds everything again
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/mailtls"

$(READY):
	@$(PYTHON) tests/testbed/bootstrap.py make
