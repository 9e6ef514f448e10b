# One line per job; each makes .venv first if it has to.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/bundled
PRESET ?= bundled
HOST ?= 127.0.0.1
PORT ?= 8000

.PHONY: install serve test check train bench docs requirements clean

install: .venv/installed  ## the virtual environment, from the pinned and hashed requirements

.venv/installed: requirements/dev.txt pyproject.toml
	@echo "installing into .venv: about a minute, 2.5 GB"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

serve: install  ## the service on http://127.0.0.1:8000 with the bundled version
	$(BIN)/cupdisc serve --host $(HOST) --port $(PORT)

test: install  ## every test
	$(BIN)/python -m pytest

check: install  ## style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

train: install  ## the bundled version from scratch into runs/registry; goes on where it was stopped
	$(BIN)/cupdisc-train train $(PRESET) --out $(RUN)
	$(BIN)/cupdisc-train publish $(RUN) --registry runs/registry --alias production --left-out training/left_out/drishti-gs1.csv

bench: install  ## measurements, as Markdown
	$(BIN)/python -m benchmarks.first_answer

docs: install  ## the documentation site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

requirements:  ## pin anew; needs uv
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet --upgrade \
	  --custom-compile-command "make requirements" --all-extras --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
	  --custom-compile-command "make requirements" -c requirements/dev.txt pyproject.toml -o requirements/service.txt

clean:
	rm -rf .venv runs/smoke .pytest_cache .mypy_cache .ruff_cache .hypothesis
