# `cupdisc-train` with every extra, for a CPU: docker build -f docker/training.Dockerfile -t cupdisc-training .
# Mount photographs, presets and a place for runs:
#   docker run --rm -v /photographs:/data:ro -v /runs:/runs -e CUPDISC_SHARED=/ --user "$(id -u):$(id -g)" cupdisc-training \
#     train bundled --out /runs/bundled
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv --without-pip /opt/cupdisc
COPY requirements/training.txt /build/
RUN pip --python /opt/cupdisc/bin/python install --quiet --require-hashes --only-binary :all: -r /build/training.txt

FROM packages AS code
COPY requirements/build.txt /build/
RUN python3 -m venv --without-pip /opt/build \
 && pip --python /opt/build/bin/python install --quiet --require-hashes --only-binary :all: -r /build/build.txt
COPY pyproject.toml README.md LICENSE /source/
COPY examples/normal_left_eye.jpg /source/examples/
COPY model /source/model
COPY service /source/service
COPY training /source/training
RUN pip --python /opt/build/bin/python wheel --quiet --no-build-isolation --no-deps --wheel-dir /build /source \
 && pip --python /opt/cupdisc/bin/python install --quiet --no-deps --no-index --no-warn-script-location --root /layer \
    /build/cupdisc-*.whl

FROM ${BASE}
COPY --from=packages /opt/cupdisc /opt/cupdisc
COPY --from=code /layer/ /
ENV PATH=/opt/cupdisc/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
LABEL org.opencontainers.image.title="CupDisc training" \
      org.opencontainers.image.description="Makes versions of the optic-disc and optic-cup networks; research use only" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-CupDisc-weights"
USER 10001:10001
WORKDIR /runs
STOPSIGNAL SIGTERM
ENTRYPOINT ["cupdisc-train"]
CMD ["--help"]
