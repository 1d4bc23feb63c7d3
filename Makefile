# The ways in. Each target installs what it needs first (Debian packages, by deploy/setup), and does nothing that is
# done already. CARGO_TARGET_DIR is respected.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
HOMEOSTAT := $(TARGET)/release/homeostat
SETUP := deploy/setup
# Reading cgroup files and log files of containers takes root, and so does an engine that answers to root alone.
AS_ROOT := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo -E)
# The tests with several hosts, which have engines of their own.
HOSTS_TESTS := hosts balancer canary failover pair cut_off emptied crash trouble
# Test programs run as root through cargo's own runner, so that cargo itself, and what it builds, stay the caller's.
RUNNER := $(if $(AS_ROOT),CARGO_TARGET_$(shell uname -m | tr a-z A-Z)_UNKNOWN_LINUX_GNU_RUNNER="$(AS_ROOT)")
LOCKED := $(if $(CI),--locked)

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: need-docker build image ## Show the whole loop on a demo stack; leaves nothing behind (DEMO_SECONDS bounds it)
	@deploy/demo/demo.sh $(HOMEOSTAT)

.PHONY: up
up: need-docker build ## Watch this machine's own containers, touching none
	@$(AS_ROOT) $(HOMEOSTAT) up --mode observe

.PHONY: build
build: need-build ## Build the release binary
	@cargo build --release $(LOCKED) -p homeostat

.PHONY: image
image: need-build need-docker
	@deploy/demo/image.sh

.PHONY: test
test: need-build need-docker need-kafka need-tests need-faults need-hosts image ## Run every test, on a real engine and a real Kafka
	@$(SETUP)/fuzz.sh
	@HOSTS_TESTS="$(HOSTS_TESTS)" $(SETUP)/test.sh $(LOCKED)

.PHONY: e2e-hosts
e2e-hosts: need-build need-kafka need-hosts ## Run the tests with several hosts on this machine, each with an engine of its own
	@cargo build $(LOCKED) -p homeostat
	@$(RUNNER) cargo test $(LOCKED) -p e2e $(addprefix --test ,$(HOSTS_TESTS))

.PHONY: fuzz
fuzz: need-build ## Fuzz what reads bytes from outside; FUZZ_RUNS and FUZZ_SECONDS bound each target
	@$(SETUP)/fuzz.sh

.PHONY: check
check: need-build ## Run what a change must pass before it is taken: format, lints, documentation, tidy, dependencies
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace $(LOCKED) --quiet
	@cargo test $(LOCKED) --quiet -p tidy
	@$(SETUP)/deny.sh

.PHONY: bench
bench: need-docker need-kafka build image ## Measure what it costs and how fast it reacts
	@cargo build --release $(LOCKED) -p bench
	@$(AS_ROOT) $(TARGET)/release/bench

.PHONY: bench-collector
bench-collector: need-docker need-kafka need-netdata build ## Measure the collector against Netdata and a bare read (PARTS="cpu logs" for some)
	@cargo build --release $(LOCKED) -p bench
	@$(AS_ROOT) $(TARGET)/release/bench collector $(PARTS)

.PHONY: bench-detect
bench-detect: need-build ## Measure how fast the models read the stream
	@cargo build --release $(LOCKED) -p bench
	@$(TARGET)/release/bench detect

.PHONY: bench-control
bench-control: need-build ## Measure what a decision over a whole fleet costs, by its size
	@cargo build --release $(LOCKED) -p bench
	@$(TARGET)/release/bench control

.PHONY: bench-hosts
bench-hosts: need-build need-kafka need-hosts ## Measure how soon what ran on a lost host runs elsewhere, and how soon a second controller leads
	@cargo build --release $(LOCKED) -p homeostat -p bench
	@$(AS_ROOT) $(TARGET)/release/bench hosts

.PHONY: bench-faults
bench-faults: need-docker need-faults build image ## Put faults into a live stack: which are found, when, and their causes (FAULTS="cpu-hog ..." for some)
	@cargo build --release $(LOCKED) -p bench
	@$(AS_ROOT) $(TARGET)/release/bench faults $(FAULTS)

.PHONY: bench-ordinary
bench-ordinary: need-docker build image ## Count the false signals of an hour of ordinary life (SECONDS_OF_LIFE=600 for less)
	@cargo build --release $(LOCKED) -p bench
	@$(AS_ROOT) $(TARGET)/release/bench ordinary $(if $(SECONDS_OF_LIFE),--seconds $(SECONDS_OF_LIFE))

.PHONY: clean
clean: ## Remove what was built, the demo's containers and its image
	@if command -v docker >/dev/null; then deploy/demo/stack.sh down demo --image; fi
	@cargo clean

.PHONY: need-build need-docker need-kafka need-tests need-netdata need-faults need-hosts
need-build need-docker need-kafka need-tests need-netdata need-faults need-hosts:
	@$(SETUP)/$@.sh
