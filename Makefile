# `make run` builds, gets the real modules and serves on 6379 with them loaded; `make test` tests everything.
MODULES = target/reference/lib
LOAD = $(foreach m,rediscompat redisearch redistimeseries rejson redisbloom,--loadmodule $(MODULES)/$(m).so)
BIN = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

.PHONY: build run test bench modules diff lint clean

build:
	cargo build --release

modules:
	tools/get-modules

run: build modules
	$(BIN)/release/backplane --enable-module-command local $(LOAD) $(ARGS)

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

test: modules lint
	cargo build --bins
	cargo test
	$(BIN)/debug/backplane-diff --server-b $(BIN)/debug/backplane tests/diff/*.txt
	$(BIN)/debug/backplane-diff --server-b $(BIN)/debug/backplane --commands
	$(BIN)/debug/backplane-diff --server-b $(BIN)/debug/backplane --generate 100000

diff: build modules
	$(BIN)/release/backplane-diff tests/diff/*.txt

bench: build modules
	$(BIN)/release/backplane-bench --server-threads 1,2 $(ARGS)

clean:
	cargo clean
