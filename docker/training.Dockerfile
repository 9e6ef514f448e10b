# `cupdisc-train` with every extra, for a CPU: docker build -f docker/training.Dockerfile -t cupdisc-training .
# docs/deployment.md shows how to run it on photographs of yours.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS packages
RUN python3 -m venv --without-pip /opt/cupdisc
COPY requirements/training.txt /opt/cupdisc/requirements/
RUN pip --python /opt/cupdisc/bin/python install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --no-warn-script-location --no-deps --require-hashes --only-binary :all: -r /opt/cupdisc/requirements/training.txt \
 && rm -r /opt/cupdisc/lib/python3*/site-packages/tensorflow/include

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
ENV PATH=/opt/cupdisc/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
LABEL org.opencontainers.image.title="CupDisc training" \
      org.opencontainers.image.description="Makes versions of the optic-disc and optic-cup networks; research use only" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-CupDisc-weights"
USER 10001:10001
WORKDIR /runs
STOPSIGNAL SIGTERM
ENTRYPOINT ["cupdisc-train"]
CMD ["--help"]
