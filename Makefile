# `make test` installs what is missing and runs every test.
TOOLS ?= $(CURDIR)/target/test-tools
# Most whole-program tests wait for something; more of them at once cost no more work.
THREADS ?= $(shell n=$$(nproc); [ $$n -gt 6 ] && echo $$n || echo 6)

.PHONY: test lint bench performance conformance
test: lint
	OPS_TEST_TOOLS=$(TOOLS) sh tests/setup.sh
	OPS_TEST_TOOLS=$(TOOLS) RUST_TEST_THREADS=$(THREADS) cargo test --quiet
	cargo bench --no-run

lint:
	cargo fmt --check
	cargo clippy --all-targets --quiet -- -D warnings

bench:
	cargo bench

# Runs every bench, in about half an hour, and writes docs/BENCHMARKS.md. One of them: OPS_BENCH=write cargo bench --bench NAME
performance:
	OPS_BENCH=write cargo bench --no-fail-fast

# Plays the files beside this repository and writes docs/CONFORMANCE.md.
conformance:
	OPS_CONFORMANCE=write cargo test --quiet --test it conformance -- --nocapture
