# Two images. `docker build --target slim .` answers with OpenVINO alone; `service`, the default, has TensorFlow, the
# reference engine, beside it. Nothing here needs BuildKit: older engines build it too. Where your packages come from is
# for pip's configuration in the base image to say (PIP_INDEX_URL, PIP_CERT), not for this file.
ARG BASE=python:3.13-slim-trixie

# Python and the packages, in an environment without pip, from wheels alone: nothing is compiled, here or later
FROM ${BASE} AS packages
RUN python3 -m venv --without-pip /opt/cupdisc
COPY requirements/image.txt /opt/cupdisc/requirements/
RUN pip --python /opt/cupdisc/bin/python install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --no-warn-script-location --no-deps --require-hashes --only-binary :all: -r /opt/cupdisc/requirements/image.txt
# The root may be read-only. What is written goes under /tmp, then a tmpfs: versions from Cloud Storage, compiled networks.
# Photographs stay in memory
ENV PATH=/opt/cupdisc/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
ENTRYPOINT ["cupdisc"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
LABEL org.opencontainers.image.title="CupDisc" \
      org.opencontainers.image.description="Optic disc, optic cup and cup-to-disc ratio from eye-fundus photographs; research use only" \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-CupDisc-weights" \
      org.opencontainers.image.base.name="python:3.13-slim-trixie"

# Our own code, without training/, laid out in /layer as it will lie in the image
FROM packages AS code
COPY requirements/build.txt /build/
RUN /usr/local/bin/python3 -m venv --without-pip /opt/build \
 && pip --python /opt/build/bin/python install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --no-deps --require-hashes --only-binary :all: -r /build/build.txt
COPY pyproject.toml README.md LICENSE /source/
COPY examples/normal_left_eye.jpg /source/examples/
COPY model /source/model
COPY service /source/service
RUN pip --python /opt/build/bin/python wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps \
    --wheel-dir /build /source \
 && pip --python /opt/cupdisc/bin/python install --quiet --disable-pip-version-check --root-user-action ignore \
    --no-warn-script-location --no-deps --no-index --root /layer /build/cupdisc-*.whl \
 && rm /layer/opt/cupdisc/bin/cupdisc-train

# In both, what changes most comes last: our code, then its revision
FROM packages AS slim
COPY --from=code /layer/ /
USER 10001:10001
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# (of TensorFlow without 290 MB of C++ headers)
FROM packages AS service
COPY requirements/image-tensorflow.txt /opt/cupdisc/requirements/
RUN pip --python /opt/cupdisc/bin/python install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --no-warn-script-location --no-deps --require-hashes --only-binary :all: -r /opt/cupdisc/requirements/image-tensorflow.txt \
 && rm -r /opt/cupdisc/lib/python3*/site-packages/tensorflow/include
COPY --from=code /layer/ /
USER 10001:10001
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
