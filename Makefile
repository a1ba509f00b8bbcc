# Two commands need nothing but Python 3.11+ and a C++20 compiler: `make demo` and `make test`.
# Everything they make lives in $(VENV), build/ and demo/. A stamp file per extra keeps a second run from installing again;
# a change of pyproject.toml, CMakeLists.txt or csrc/ builds again. The package is installed editable: an edited Python file
# is in use at once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
THREADS ?=
# Installed first and by itself: a range such as "torch>=2.7", asked for by another package, takes the newest release, on
# Linux a CUDA build of several GB. Another build: make demo TORCH="torch==2.13.0 --index-url <an index of CPU builds>".
TORCH ?= torch==2.13.0

# larq compute engine in an environment of its own: the versions that belong together, on a Python that has its wheel.
LCE_BASE ?= $(PYTHON)
LCE_PACKAGES ?= larq-compute-engine==0.16.0 larq==0.14.0 tensorflow==2.16.2 tf-keras==2.16.0
LCE_PYTHON ?= $(wildcard build/lce/bin/python)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
INSTALL := $(PIP) install --no-build-isolation --editable
CSRC := $(shell find csrc -type f 2>/dev/null)
NATIVE := pyproject.toml CMakeLists.txt $(CSRC)
NATIVE_TESTS := $(shell find tests/native -type f 2>/dev/null)
CROSS_CXX ?= aarch64-linux-gnu-g++
CROSS_ROOT ?= /usr/aarch64-linux-gnu

.PHONY: help setup demo test test-only lint format bench lce sanitize cross smoke ci clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.train  ## create the virtual environment with the training extra

demo: $(VENV)/.train  ## train on digits, pack, check equality, measure; about a minute after the installation
	@$(BIN)/featherbit demo --out $(OUT)

test: $(VENV)/.dev test-only  ## run every test

test-only:
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev  ## ruff, mypy and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev  ## format and fix what ruff can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.bench  ## measure against torch, ONNX Runtime and, after make lce, larq: make bench CASES="gemm-4096" THREADS=2
	@mkdir -p build
	@$(LCE_PYTHON:%=FEATHERBIT_LCE_PYTHON=%) $(BIN)/featherbit bench $(CASES) $(THREADS:%=--threads %) --json build/bench.json --plot build/plots

lce: build/lce/.ready  ## create the environment of larq compute engine for the benchmarks, 2 GB with TensorFlow

build/lce/.ready:
	@$(LCE_BASE) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
	  echo "larq compute engine 0.16 needs Python 3.10 to 3.12, but $(LCE_BASE) is $$($(LCE_BASE) -V 2>&1); try: make lce LCE_BASE=python3.11" >&2; exit 1; }
	@echo "installing larq compute engine and TensorFlow into build/lce, once"
	@mkdir -p build
	@$(LCE_BASE) -m venv build/lce
	@build/lce/bin/python -m pip -qq --disable-pip-version-check install $(LCE_PACKAGES)
	@touch $@

sanitize: $(NATIVE) $(NATIVE_TESTS)  ## run the kernels under the address and undefined-behavior sanitizers
	@mkdir -p build
	@cmake -S tests/native -B build/sanitize -DCMAKE_BUILD_TYPE=RelWithDebInfo -DFEATHERBIT_SANITIZE=ON >build/sanitize.log
	@cmake --build build/sanitize --parallel >>build/sanitize.log || { cat build/sanitize.log; exit 1; }
	@ctest --test-dir build/sanitize --output-on-failure

cross: $(NATIVE) $(NATIVE_TESTS)  ## compile the NEON kernels for aarch64, and run their tests where an emulator is installed
	@command -v $(CROSS_CXX) >/dev/null || { echo "cross: skipped, $(CROSS_CXX) is not installed (apt-get install g++-aarch64-linux-gnu)"; exit 0; }; \
	mkdir -p build; emulator=$$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true); \
	cmake -S tests/native -B build/cross -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	  -DCMAKE_CXX_COMPILER=$(CROSS_CXX) -DCMAKE_CROSSCOMPILING_EMULATOR="$${emulator:+$$emulator;-L;$(CROSS_ROOT)}" >build/cross.log; \
	cmake --build build/cross --parallel >>build/cross.log || { cat build/cross.log; exit 1; }; \
	if [ -n "$$emulator" ]; then ctest --test-dir build/cross --output-on-failure; else echo "cross: compiled; not run, qemu-aarch64 is not installed"; fi

smoke: $(VENV)/.train  ## the demo, two epochs long, by the installed command
	@$(BIN)/featherbit --version
	@$(BIN)/featherbit kernels
	@$(BIN)/featherbit demo --smoke --out build/smoke

ci: $(VENV)/.bench lint test sanitize cross smoke  ## what .ci/run runs

clean:  ## remove what the commands above made
	rm -rf $(VENV) build demo

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "featherbit needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V 2>&1); try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@for cxx in "$${CXX:-c++}" g++ clang++; do command -v $$cxx >/dev/null && exit 0; done; \
	  echo "featherbit needs a C++20 compiler (GCC 11+ or Clang 14+), found none; on Debian: apt-get install g++" >&2; exit 1
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

# The build tools live in the environment (no isolation), so that a rebuild compiles only what changed.
$(VENV)/.tools: $(VENV)/.python
	@echo "installing torch and the build tools into $(VENV), once"
	@$(PIP) install $(TORCH)
	@$(PIP) install cmake ninja $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')
	@touch $@

# A larger extra contains the smaller ones, so its stamp stands for theirs.
$(VENV)/.train: $(VENV)/.tools $(NATIVE)
	@echo "building featherbit, installing what training needs"
	@$(INSTALL) '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.tools $(NATIVE)
	@echo "building featherbit, installing what training and development need"
	@$(INSTALL) '.[train,dev]'
	@touch $(VENV)/.train $@

$(VENV)/.bench: $(VENV)/.tools $(NATIVE)
	@echo "building featherbit, installing what training, development and benchmarks need"
	@$(INSTALL) '.[train,dev,bench]'
	@touch $(VENV)/.train $(VENV)/.dev $@
