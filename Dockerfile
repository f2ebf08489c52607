# The operator's image. `docker build .` is all that it takes; `make release` builds it for each architecture.
#   docker build --platform linux/arm64 .                             (nothing of that architecture runs while it is built)
#   docker build --build-arg BASE=registry.example.com/python:3.13 .  (any base with Python 3.11 to 3.13, venv and ca-certificates)
#   pip download --require-hashes -r requirements.lock -d wheels      (then the build needs no network)
# The digest is that of the index of all architectures.
ARG BASE=docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
# The base for the machine that builds; another name only where one name cannot stand for several architectures.
ARG BUILDER=${BASE}

FROM --platform=${BUILDPLATFORM} ${BUILDER} AS packages
ARG TARGETARCH
COPY requirements.lock wheels* /build/
# An environment without pip is links and Python code, and wheels are unpacked for the target: no emulator is needed.
# Bytecode that names the hash of its source, not its time, is the same in each build.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/mailtls \
 && target=$(/opt/mailtls/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && machine=$(case "${TARGETARCH:-$(uname -m)}" in amd64) echo x86_64;; arm64) echo aarch64;; *) echo "${TARGETARCH:-$(uname -m)}";; esac) \
 && /opt/pip/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes --no-deps \
      --only-binary=:all: --no-compile --target="${target}" \
      --platform="manylinux_2_34_${machine}" --platform="manylinux_2_28_${machine}" \
      --platform="manylinux_2_17_${machine}" --platform="manylinux2014_${machine}" \
      $(ls /build/*.whl >/dev/null 2>&1 && echo --no-index --find-links=/build) -r /build/requirements.lock \
 && rm -rf "${target}/bin" \
 && PYTHONHASHSEED=0 /opt/mailtls/bin/python -m compileall -q --invalidation-mode unchecked-hash "${target}"

# Named, since older buildahs take the platform of the stage before for this one too.
FROM --platform=${TARGETPLATFORM} ${BASE}
LABEL org.opencontainers.image.title="mailtls" \
      org.opencontainers.image.description="Verifies which TLS certificate your mail servers really serve" \
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
