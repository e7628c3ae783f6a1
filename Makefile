# Two commands: `make run` serves, `make test` proves. Everything is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements/lock.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test check format bench lock clean help

run: $(VENV)/.installed  ## build the environment and serve on 127.0.0.1:8000
	@$(BIN)/dragoman serve

test: $(VENV)/.installed-test  ## run every test
	$(BIN)/python -m pytest -n $${TEST_WORKERS:-4} --dist worksteal $(TESTS)

check: $(VENV)/.installed-test  ## format, lint, types, import contracts
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-test  ## mend what can be mended by a machine
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix src tests bench

bench: $(VENV)/.installed-test  ## what a request costs, beside nginx
	$(BIN)/python -m bench

lock: $(VENV)/.installed-test  ## refresh the versions that CI uses
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q --no-header --no-annotate --no-emit-index-url --universal --extra test --extra check pyproject.toml -o $(LOCK)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml $(LOCK)
	@echo "Installing Dragoman into $(VENV) (about half a minute, once) …"
	@$(BIN)/python -m pip install -q -c $(LOCK) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing the test tools into $(VENV) …"
	@$(BIN)/python -m pip install -q -c $(LOCK) -e '.[test,check]'
	@touch $@

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

help:
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10
