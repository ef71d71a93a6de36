# `make run` builds, gets the real modules and serves on 6379 with them loaded; `make test` tests everything.
MODULES = target/reference/lib
LOAD = $(foreach m,rediscompat redisearch redistimeseries rejson redisbloom,--loadmodule $(MODULES)/$(m).so)
BIN = $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

.PHONY: build run test bench modules diff matrix lint clean clients fuzz rust-modules

build:
	cargo build --release

modules:
	tools/get-modules

run: build modules
	$(BIN)/release/backplane --enable-module-command local $(LOAD) $(ARGS)

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# What commands leave in the append-only file. Not the scripts that show client ids or the replication offset: the
# reference counts both in another way when it has such a file.
AOF_DIFFS = $(filter-out %/native-server.txt %/native-lists.txt %/search.txt %/tracking.txt,$(wildcard tests/diff/*.txt))

test: modules lint
	cargo build --bins
	cargo test
	$(MAKE) rust-modules
	$(BIN)/debug/backplane-diff --server-b $(BIN)/debug/backplane tests/diff/*.txt
	$(BIN)/debug/backplane-diff --server-b $(BIN)/debug/backplane --aof $(AOF_DIFFS)
	$(BIN)/debug/backplane-diff --server-b $(BIN)/debug/backplane --commands
	$(BIN)/debug/backplane-diff --server-b $(BIN)/debug/backplane --generate 100000
	$(BIN)/debug/backplane matrix --seconds 5

diff: build modules
	$(BIN)/release/backplane-diff tests/diff/*.txt

# Every check on every real module; ARGS takes its options, such as --seconds and --suites.
matrix: build modules
	$(BIN)/release/backplane matrix --json $(BIN)/matrix.json --html $(BIN)/matrix.html $(ARGS)

bench: build modules
	$(MAKE) -s -C modules-test OUT=$(abspath $(BIN))/own-modules $(abspath $(BIN))/own-modules/empty.so
	$(BIN)/release/backplane-bench --server-threads 1,2 $(ARGS)

# Programs with the real client packages, which are fetched into the build folder.
CLIENTS = $(abspath $(BIN))/clients
clients:
	cargo build --bins
	python3 -m venv $(CLIENTS)/python && $(CLIENTS)/python/bin/pip install -q redis
	npm install --silent --no-audit --no-fund --prefix $(CLIENTS)/node ioredis
	cargo build --manifest-path tests/clients/rust/Cargo.toml --target-dir $(CLIENTS)/rust
	CLIENTS_PYTHON=$(CLIENTS)/python/bin/python CLIENTS_NODE_DIR=$(CLIENTS)/node \
	CLIENTS_RUST=$(CLIENTS)/rust/debug/basic cargo test --test clients

# Test modules made with the crates redis-module and valkey-module, which are no dependencies of the server. Their bindings
# are made by libclang, which comes as a Python package; its own headers are the C compiler's.
RUST_MODULES = $(abspath $(BIN))/rust-modules
rust-modules: modules
	test -x $(RUST_MODULES)/python/bin/pip || python3 -m venv $(RUST_MODULES)/python
	$(RUST_MODULES)/python/bin/pip install -q libclang
	for crate in redis valkey; do \
	LIBCLANG_PATH=$$(echo $(RUST_MODULES)/python/lib/python3*/site-packages/clang/native) \
	BINDGEN_EXTRA_CLANG_ARGS="-isystem $$(cc -print-file-name=include)" \
	cargo build --manifest-path modules-test/rust-$$crate/Cargo.toml --locked --target-dir $(RUST_MODULES) || exit 1; done
	RUST_MODULES=$(RUST_MODULES)/debug cargo test --test rust_modules

# Mutated input for FUZZ_SECONDS each (20 minutes by default).
fuzz:
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),1200) cargo test --test fuzz -- --nocapture

clean:
	cargo clean
