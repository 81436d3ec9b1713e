# Everything one does with this project. Needs Python 3.11 or newer, git and make; the rest is installed into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE :=

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --no-input --quiet
PACKAGES := recorder sip media storage admin_api personal
SECONDS ?= 60
BENCH ?= capacity
# Most tests wait most of their time, so there are more processes than cores. More than 4 have too few ports each.
JOBS ?= 4
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: help setup extras demo unit test pictures dashboard lint bench fuzz torture interop package deb deb-test
.PHONY: docs-test image image-test lock clean dev debian

help:
	@echo 'make setup    create .venv and install the recorder from its lock file'
	@echo 'make extras   the same with its optional parts: PostgreSQL, age, PKCS#11'
	@echo 'make demo     the same, then record two calls and show them'
	@echo 'make unit     the tests that need only Python: no root, no Debian package, no network'
	@echo 'make test     all tests; as root it installs the Debian packages that they need'
	@echo 'make pictures make the pictures of docs/administrator.md again'
	@echo 'make dashboard  make config/grafana.json again'
	@echo 'make lint     ruff, mypy, import contracts'
	@echo 'make bench    calls per core, CPU a packet, memory a call; BENCH=setup: INVITEs a second'
	@echo 'make fuzz     random and damaged input for SECONDS=60 or longer'
	@echo 'make torture  malformed and hostile messages, and many kills (as root)'
	@echo 'make interop  only the tests against other implementations'
	@echo 'make package  wheel and source archive in dist/'
	@echo 'make deb      the Debian package in dist/; RELEASE=bookworm, ARCH=arm64: for a different machine (as root)'
	@echo 'make deb-test build it twice, and test it on an empty, booted Debian (as root)'
	@echo 'make image    the container image in dist/, from the Debian package; make image-test tries it (as root)'
	@echo 'make docs-test run the commands of the documents on such a Debian (as root; 6 minutes)'
	@echo 'make lock     resolve the lock files again (needs uv)'
	@echo 'make clean    remove everything that was made here'

# --- installation ---
$(BIN)/python:
	@python=$$(sh .ci/python) && echo "creating $(VENV) with $$python" && $$python -m venv $(VENV)

$(VENV)/run-time: $(BIN)/python requirements.lock pyproject.toml setup.py media/stream/fast_path.c media/stream/fast_path.h
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@test -e media/stream/_fast_path.abi3.so || echo 'NO C COMPILER with Python headers (Debian: apt-get install gcc python3-dev): each packet will cost a third more CPU'
	$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

$(VENV)/development: $(VENV)/run-time requirements-dev.lock
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# Once installed, the optional parts are renewed with the rest.
$(VENV)/extras: $(VENV)/run-time requirements-extras.lock
	$(PIP) install --require-hashes -r requirements-extras.lock
	@touch $@

setup: $(VENV)/run-time $(wildcard $(VENV)/extras)
extras: $(VENV)/extras
dev: $(VENV)/development

debian:
	@sh .ci/debian

# --- daily work ---
demo: setup
	$(BIN)/recorder demo

unit: dev
	$(PYTEST) -m unit $(ARGS)

test: dev debian
	$(PYTEST) $(ARGS)

pictures: dev debian
	PICTURES=docs/pictures $(BIN)/python -m pytest tests/page/test_pictures.py

dashboard: dev
	$(BIN)/python config/grafana.py

lint: dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: dev
	$(BIN)/python -m bench.$(BENCH) $(ARGS)

fuzz: dev
	@.ci/fuzz $(SECONDS) $(ARGS)

torture: dev debian
	$(BIN)/python -m pytest -m '' -k 'torture or malformed or hostile' $(ARGS)

interop: dev
	@sh .ci/debian interop
	@sh .ci/peers
	$(BIN)/python -m pytest -m interop $(ARGS)

package: dev
	rm -rf dist build
	$(PIP) wheel --no-deps --no-build-isolation --no-index --wheel-dir build/wheel .
	PATH="$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/wheel/*.whl
	$(BIN)/python setup.py --quiet sdist
	$(BIN)/twine check --strict dist/*
	rm -rf build

deb:
	@sh .ci/debian package
	RELEASE='$(RELEASE)' ARCH='$(ARCH)' debian/build dist $(VERSION)

deb-test: dev
	@sh .ci/debian package
	RELEASE='$(RELEASE)' $(BIN)/python -m pytest -m torture tests/test_$(or $(ARCH),debian)_package.py $(ARGS)

image:
	@sh .ci/debian package
	@sh .ci/debian image
	debian/image "$$(debian/build dist $(VERSION) | tail -n 1)" dist

image-test: dev
	@sh .ci/debian package
	@sh .ci/debian image
	$(BIN)/python -m pytest -m torture tests/test_image.py $(ARGS)

docs-test: dev
	@sh .ci/debian package
	$(BIN)/python -m pytest -m torture -s tests/documents $(ARGS)

lock:
	.ci/lock

clean:
	rm -rf .venv .venv-* build dist *.egg-info media/stream/_fast_path.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
