# Two stages: the first makes a virtual environment by the steps of the Makefile, the second only carries it.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /build
RUN python -m venv /opt/zonekeeper
# The lock first, so that a change of the code alone does not install everything again.
COPY requirements.lock ./
RUN sed '/^# development$/,$d' requirements.lock > runtime.lock \
 && /opt/zonekeeper/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY srv srv/
COPY rpc rpc/
COPY store store/
COPY migrations migrations/
RUN /opt/zonekeeper/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation . \
 && /opt/zonekeeper/bin/python -m pip uninstall --quiet --yes setuptools pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="zonekeeper" \
  org.opencontainers.image.description="A small daemon that keeps the conversations of AI agents, durably, behind JSON-RPC." \
  org.opencontainers.image.licenses="Apache-2.0"
# The user has a fixed number, so that a volume keeps its owner from one image to the next.
RUN useradd --system --user-group --uid 10001 --no-create-home zonekeeper \
 && install --directory --owner zonekeeper --group zonekeeper --mode 0700 /data
COPY --from=build /opt/zonekeeper /opt/zonekeeper
ENV PATH=/opt/zonekeeper/bin:$PATH
# For `docker exec`: the commands find the daemon through its data directory. The socket is the way in from outside, as the
# daemon listens on the container's own loopback address only.
ENV ZONEKEEPER_DATA_DIR=/data
ENV ZONEKEEPER_UNIX_SOCKET=/data/run/zonekeeper.sock
USER 10001:10001
VOLUME /data
EXPOSE 8377
# While old data is migrated nothing listens yet: failures within the start period do not count. On the socket the answer is the
# same whatever the port, the token and the certificate are.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 \
  CMD ["python", "-c", "import http.client as h, os, socket as s; c = h.HTTPConnection('localhost'); c.sock = s.socket(s.AF_UNIX); c.sock.settimeout(4); c.sock.connect(os.environ['ZONEKEEPER_UNIX_SOCKET']); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
# It is process 1: it heeds SIGTERM, and waits for the processes that it starts itself.
ENTRYPOINT ["zonekeeper"]
CMD ["serve", "--data-dir", "/data"]
