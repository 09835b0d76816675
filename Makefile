# `make` alone lists the targets. A target's line of help is what follows its `##`.

VENV ?= .venv
PACKAGES = $(wildcard srv rpc store migrations tests bench)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test soak check fmt types bench lock clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.installed $(VENV)/.node  ## put what the locks pin, and the zonekeeper command, into .venv and tests/node
	@:

# Who only runs the daemon needs nothing of npm.
run: $(VENV)/.installed  ## start the daemon; options go in ARGS, as in make run ARGS="--port 0"
	@exec $(VENV)/bin/zonekeeper serve $(ARGS)

# A worker for each core, but not more servers and browsers than four at once.
test: setup  ## run the tests; make test ARGS="-k archive" runs some of them, ARGS="-n 0" one after the other
	@$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

soak: setup  ## kill daemons under load, send them rubbish, cut the power at every instant, each five minutes or ZONEKEEPER_SOAK_SECONDS
	@$(VENV)/bin/python -m tests.faults.soak
	@$(VENV)/bin/python -m tests.postgres.soak
	@$(VENV)/bin/python -m tests.fuzz.soak
	@ZONEKEEPER_SOAK_SECONDS=$${ZONEKEEPER_SOAK_SECONDS:-300} $(VENV)/bin/python -m pytest --timeout 3600 \
	  tests/faults/test_power_loss.py tests/faults/test_io_errors.py

check: setup  ## lint, format, types and the rule of which package may import which
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy --strict $(PACKAGES)
	@$(VENV)/bin/python -m pytest tests/test_layering.py

fmt: setup  ## put the code into its form
	@$(VENV)/bin/ruff check --fix --select I .
	@$(VENV)/bin/ruff format .

types: setup  ## write what follows from the table of methods: the OpenRPC document, the JavaScript client and its types
	@$(VENV)/bin/python -m rpc.openrpc
	@$(VENV)/bin/python -m rpc.javascript

bench: setup  ## measure the daemon beside its yardsticks; make bench ARGS="--only appends" takes some rows
	@$(VENV)/bin/python -m bench $(ARGS)

# The part above the marker is what the daemon runs with, over either engine; the Dockerfile takes that part only.
lock: setup  ## take the newest versions that pyproject.toml and tests/node/package.json allow into the locks
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	compile="$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra build --extra postgres pyproject.toml"; \
	$$compile --extra dev --output-file "$$work/all"; \
	$$compile --constraint "$$work/all" --output-file "$$work/runtime"; \
	{ echo '# Made by `make lock`. Holds for CPython 3.11 to 3.14 on Linux and macOS.'; \
	  echo '# runtime'; \
	  cat "$$work/runtime"; \
	  echo '# development'; \
	  awk 'NR == FNR { if (/^[^ ]/) runtime[$$0]; next } /^[^ ]/ { keep = !($$0 in runtime) } keep' \
	    "$$work/runtime" "$$work/all"; \
	} > "$$work/lock"; \
	cp "$$work/lock" requirements.lock
	@$(VENV)/bin/npm update --prefix tests/node --package-lock-only >&2

clean:  ## remove .venv and everything else that was made
	@rm -rf $(VENV) tests/node/node_modules build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find $(PACKAGES) -type d -name __pycache__ -prune -exec rm -rf {} +

# Each step's stamp is written last, so a step that was interrupted is done again from its beginning. All its words go
# to standard error: with `make run`, standard output belongs to the daemon.
$(VENV)/.locked: requirements.lock
	@set -e; rm -rf $(VENV); \
	for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "make: $$python cannot make virtual environments; install its venv package" >&2; exit 1; }; \
	  echo "making $(VENV) with $$("$$python" --version)" >&2; \
	  exec "$$python" -m venv $(VENV) >&2; \
	done; \
	echo "make: zonekeeper needs Python 3.11 or newer, and neither python3 nor python3.11 to python3.14 is that" >&2; exit 1
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock >&2
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
	@touch $@

$(VENV)/.node: $(VENV)/.locked tests/node/package-lock.json
	@$(VENV)/bin/npm ci --prefix tests/node >/dev/null
	@touch $@
