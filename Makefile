# `make test` installs what is missing and runs every test.
TOOLS ?= $(CURDIR)/target/test-tools
# Most whole-program tests wait for something; more of them at once cost no more work.
THREADS ?= $(shell n=$$(nproc); [ $$n -gt 6 ] && echo $$n || echo 6)

.PHONY: test lint bench performance conformance fuzz
test: lint
	OPS_TEST_TOOLS=$(TOOLS) sh tests/setup.sh
	OPS_TEST_TOOLS=$(TOOLS) RUST_TEST_THREADS=$(THREADS) cargo test --quiet
	cargo bench --no-run

lint:
	cargo fmt --check
	cargo clippy --all-targets --quiet -- -D warnings

bench:
	cargo bench

# Runs every bench, in about a quarter of an hour, and writes docs/BENCHMARKS.md. One of them: OPS_BENCH=write cargo bench --bench NAME
performance:
	OPS_BENCH=write cargo bench --no-fail-fast

# Plays the files beside this repository and writes docs/CONFORMANCE.md.
conformance:
	OPS_CONFORMANCE=write cargo test --quiet --test it conformance -- --nocapture

# Fuzzes each target of tests/fuzz for so many seconds. What was found on the way stays in target/fuzz/corpus, what broke in
# target/fuzz.
SECONDS ?= 60
FUZZED = target/fuzz/$(shell rustc -vV | sed -n 's/host: //p')/release
fuzz:
	test -x $(TOOLS)/bin/cargo-fuzz || cargo install --quiet --locked --root $(TOOLS) cargo-fuzz
	CARGO_TARGET_DIR=target/fuzz $(TOOLS)/bin/cargo-fuzz build --fuzz-dir tests/fuzz --sanitizer none
	for target in promql exposition remote_write json; do \
	    mkdir -p target/fuzz/corpus/$$target && \
	    $(FUZZED)/$$target -max_total_time=$(SECONDS) -max_len=4096 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
	        -artifact_prefix=target/fuzz/$$target- target/fuzz/corpus/$$target || exit 1; \
	done
