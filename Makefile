# `make test` installs what is missing and runs every test.
TOOLS ?= $(CURDIR)/target/test-tools

.PHONY: test lint bench
test: lint
	OPS_TEST_TOOLS=$(TOOLS) sh tests/setup.sh
	OPS_TEST_TOOLS=$(TOOLS) cargo test --quiet
	cargo bench --no-run

lint:
	cargo fmt --check
	cargo clippy --all-targets --quiet -- -D warnings

bench:
	cargo bench
