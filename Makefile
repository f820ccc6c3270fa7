# SPDX-License-Identifier: Apache-2.0
# The build itself is CMake's; these are the commands worth remembering.
#   make        build/lappet          make test   everything that is tested
#   make demo   nearest sentences     make bench  the table of docs/performance.md
JOBS ?= $(shell n=$$(nproc); [ $$n -gt 2 ] && echo $$n || echo 2)
CTEST = ctest --output-on-failure --no-tests=error -j $(JOBS)

.PHONY: all setup debug test test-release test-asan tsan fuzz demo bench install clean

all: setup
	@[ -f build/build.ninja ] || cmake --preset release
	cmake --build build -j $(JOBS)

# Installs what Debian has and this machine lacks; quiet when nothing is missing.
setup:
	@scripts/setup.sh

debug: setup
	@[ -f build/debug/build.ninja ] || cmake --preset debug
	cmake --build build/debug -j $(JOBS)

test: test-asan test-release

test-release: all
	$(CTEST) --test-dir build

test-asan: setup
	@[ -f build/asan/build.ninja ] || cmake --preset asan
	cmake --build build/asan -j $(JOBS)
	$(CTEST) --test-dir build/asan -L 'unit|hostile|cli|aot'

tsan: setup
	@[ -f build/tsan/build.ninja ] || cmake --preset tsan
	cmake --build build/tsan -j $(JOBS)
	$(CTEST) --test-dir build/tsan -R 'threads|exec'

fuzz: setup
	@scripts/setup.sh fuzz
	@[ -f build/fuzz/build.ninja ] || cmake --preset fuzz
	cmake --build build/fuzz -j $(JOBS)

demo: all
	examples/sentence-encoder/demo.sh

bench: all
	bench/run.sh

install: all
	cmake --install build

clean:
	rm -rf build
