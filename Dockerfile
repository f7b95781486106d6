# ftsdk serve for an unprivileged user; the root file system may be read-only. docs/how-to/run-the-server.md
# says how to run it. No key is part of the image: give keys to the container.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY ftsdk ftsdk
COPY examples/data examples/data
# `local` as well, to serve models on this machine: --build-arg EXTRAS=serve,openai,together,replicate,local
ARG EXTRAS=serve,openai,together,replicate
RUN python -m venv /opt/ftsdk \
    && /opt/ftsdk/bin/pip install --no-cache-dir --disable-pip-version-check ".[${EXTRAS}]"

FROM python:3.12-slim
COPY --from=build /opt/ftsdk /opt/ftsdk
# A fixed number, so that who mounts a folder knows whom to give it to.
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin ftsdk \
    && install -d -o 10001 -g 10001 -m 0700 /data
ENV PATH=/opt/ftsdk/bin:$PATH \
    HOME=/data \
    FTSDK_HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/health', timeout=4)"]
ENTRYPOINT ["ftsdk"]
# Inside a container, 0.0.0.0 is the container's own network: publish the port on 127.0.0.1, or to a proxy.
CMD ["serve", "--host", "0.0.0.0", "--behind-proxy"]
