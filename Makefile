# Koinon's entry points. `make` alone lists them.

# release or dev
PROFILE ?= dev
CLUSTER ?=

TARGET  = $(or $(CARGO_TARGET_DIR),target)
BINS    = $(TARGET)/$(if $(filter release,$(PROFILE)),release,debug)
DEMO    = $(BINS)/koinon-demo
NEXTEST = $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: help setup build demo demo-lose demo-return demo-stop test check tests bench

help:
	@echo 'make demo                 set up what is missing, build, start a hub and three clusters, place a workload'
	@echo 'make demo-lose CLUSTER=x  take a cluster of the demo away and watch its workload move'
	@echo 'make demo-return CLUSTER=x  bring it back'
	@echo 'make demo-stop            end the demo'
	@echo 'make test                 set up what is missing, then every check and every test'
	@echo 'make check                format, lints, shape of the tree'
	@echo 'make bench                measure, and print one table'
	@echo 'make build, make setup    what the others begin with'
	@echo
	@echo 'PROFILE=release builds optimised binaries (slower to build).'

# Postgres, etcd, kube-apiserver …: found, or fetched once into a cache folder.
setup:
	@deploy/setup.sh

build:
	@echo "build  cargo build --profile $(PROFILE): hub, klusterlet, koinon, demo"
ifeq ($(PROFILE),release)
	@cargo build --quiet --workspace --exclude koinon-klusterlet --bins --release
	@cargo build --quiet --config .cargo/klusterlet.toml --profile klusterlet -p koinon-klusterlet
	@ln -f $(TARGET)/klusterlet/koinon-klusterlet $(BINS)/
else
	@cargo build --quiet --workspace --bins --profile $(PROFILE)
endif

demo: setup build
	@$(DEMO) up

demo-lose demo-return:
	@test -x $(DEMO) || { echo 'no demo is running; start one with: make demo' >&2; exit 3; }
	@$(DEMO) $(@:demo-%=%) '$(CLUSTER)'

demo-stop:
	@test ! -x $(DEMO) || $(DEMO) stop

test: setup check tests

check:
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	cargo test --quiet --workspace --test tree

# The end-to-end tests start the real binaries, so those are built first, in the
# one build that the tests use too.
tests: setup
	cargo build --quiet --workspace --all-targets
ifeq ($(NEXTEST),yes)
	cargo nextest run --workspace --no-fail-fast
else
	cargo test --workspace --no-fail-fast
endif

bench:
	@$(MAKE) --no-print-directory setup build PROFILE=release
	@$(TARGET)/release/koinon-bench
