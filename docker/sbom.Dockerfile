# What is inside an image, read from inside it: docker build -f docker/sbom.Dockerfile --build-arg IMAGE=cupdisc .
# `make sbom` writes the two lists to out/sbom.
ARG IMAGE=cupdisc
FROM ${IMAGE}
USER 0:0
COPY requirements/sbom.txt /build/
RUN /usr/local/bin/python3 -m venv --without-pip /opt/sbom \
 && pip --python /opt/sbom/bin/python install --quiet --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --no-deps --require-hashes --only-binary :all: -r /build/sbom.txt
RUN mkdir /sbom \
 && /opt/sbom/bin/cyclonedx-py environment --output-reproducible --output-format JSON --output-file /sbom/python.cdx.json \
    /opt/cupdisc/bin/python \
 && { printf 'package\tversion\tarchitecture\tsource\n'; \
      dpkg-query --show --showformat '${Package}\t${Version}\t${Architecture}\t${source:Package}\n'; } > /sbom/debian.tsv
ENTRYPOINT ["tar", "--create", "--directory", "/sbom", "python.cdx.json", "debian.tsv"]
CMD []
HEALTHCHECK NONE
