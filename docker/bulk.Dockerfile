# The workers of `cupdisc bulk` on Dataflow or Flink: docker build -f docker/bulk.Dockerfile -t cupdisc-bulk .
# Beam's own image lends the program that starts a worker; docs/bulk.md says how the image is named to a runner.
ARG BASE=python:3.13-slim-trixie
ARG BEAM=apache/beam_python3.13_sdk:2.77.0

FROM ${BEAM} AS beam

FROM ${BASE} AS packages
RUN python3 -m venv --without-pip /opt/cupdisc
COPY requirements/bulk.txt /opt/cupdisc/requirements/
RUN pip --python /opt/cupdisc/bin/python install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --no-warn-script-location --no-deps --require-hashes --only-binary :all: -r /opt/cupdisc/requirements/bulk.txt

# Our own code, laid out in /layer as it will lie in the image
FROM packages AS code
COPY requirements/build.txt /build/
RUN /usr/local/bin/python3 -m venv --without-pip /opt/build \
 && pip --python /opt/build/bin/python install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --no-deps --require-hashes --only-binary :all: -r /build/build.txt
COPY pyproject.toml README.md LICENSE /source/
COPY examples/normal_left_eye.jpg /source/examples/
COPY model /source/model
COPY service /source/service
COPY training /source/training
RUN pip --python /opt/build/bin/python wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps \
    --wheel-dir /build /source \
 && pip --python /opt/cupdisc/bin/python install --quiet --disable-pip-version-check --root-user-action ignore \
    --no-warn-script-location --no-deps --no-index --root /layer /build/cupdisc-*.whl

FROM packages
COPY --from=code /layer/ /
COPY --from=beam /opt/apache/beam /opt/apache/beam
ENV PATH=/opt/cupdisc/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
LABEL org.opencontainers.image.title="CupDisc bulk" \
      org.opencontainers.image.description="A worker of Apache Beam that segments optic disc and optic cup; research use only" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-CupDisc-weights"
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/apache/beam/boot"]
