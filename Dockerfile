# The operator's image. `docker build .` is all that it takes; another base or a folder of wheels is a matter of
#   docker build --build-arg BASE=registry.example/python:3.13 .      (any base with Python 3.11 to 3.13, venv and ca-certificates)
#   pip download --require-hashes -r requirements.lock -d wheels      (then the build needs no network)
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS packages
COPY requirements.lock wheels* /build/
RUN python3 -m venv /opt/mailtls \
 && /opt/mailtls/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
      $(ls /build/*.whl >/dev/null 2>&1 && echo --no-index --find-links=/build) -r /build/requirements.lock \
 && /opt/mailtls/bin/python -m pip uninstall --quiet --yes pip

FROM ${BASE}
LABEL org.opencontainers.image.title="mailtls" \
      org.opencontainers.image.description="Proves which TLS certificate your mail servers really serve" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=packages /opt/mailtls /opt/mailtls
ENV PATH=/opt/mailtls/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/mailtls/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Numeric: runAsNonRoot cannot judge a name.
USER 65532:65532
ENTRYPOINT ["python", "-m", "mailtls"]
CMD ["run"]
# Last, so that a change of code rebuilds this alone.
COPY operator /opt/mailtls/app
