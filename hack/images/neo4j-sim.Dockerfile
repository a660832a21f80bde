# The simulated Neo4j as an image, for end-to-end tests on real clusters. Like Neo4j's own images it has no Python
# on its PATH; the interpreter of the simulation is a relocatable one in a corner of its own.
ARG BUILD_IMAGE=docker.io/library/python:3.13-slim-bookworm
ARG NEO4J_BASE_IMAGE=docker.io/library/debian:bullseye-slim

FROM ${BUILD_IMAGE} AS build
ARG NEO4J_VERSION=5.26.12
ENV UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy
WORKDIR /src
COPY hack/requirements/uv.txt hack/requirements/uv.txt
RUN python3 -m venv /opt/uv && /opt/uv/bin/python -m pip install -q --require-hashes --no-deps -r hack/requirements/uv.txt
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN UV_PROJECT_ENVIRONMENT=/opt/venv /opt/uv/bin/uv sync -q --locked --no-dev --no-install-project --python "$(command -v python3)"
COPY controller controller
COPY hack/agent_bundle.py hack/__init__.py hack/
COPY hack/devcluster/__init__.py hack/devcluster/__init__.py
COPY hack/devcluster/neo4j_sim hack/devcluster/neo4j_sim
RUN /opt/venv/bin/python hack/agent_bundle.py /sim/opt/sim/python \
 && printf '#!/bin/sh\nexec /opt/sim/python/lib/ld.so --library-path /opt/sim/python/lib /opt/sim/python/bin/python3 "$@"\n' > /sim/opt/sim/interpreter \
 && chmod 755 /sim/opt/sim/interpreter \
 && python3 -m hack.devcluster.neo4j_sim install /sim --version "$NEO4J_VERSION" --python /opt/sim/interpreter \
 && mkdir -p /sim/data /sim/logs && chown -R 7474:7474 /sim/var/lib/neo4j /sim/data /sim/logs

FROM ${NEO4J_BASE_IMAGE}
RUN groupadd --gid 7474 neo4j && useradd --uid 7474 --gid 7474 --home-dir /var/lib/neo4j --no-create-home neo4j
COPY --from=build /sim/ /
ENV PATH=/var/lib/neo4j/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NEO4J_EDITION=enterprise
VOLUME ["/data", "/logs"]
USER 7474:7474
WORKDIR /var/lib/neo4j
ENTRYPOINT ["/startup/docker-entrypoint.sh"]
CMD ["neo4j"]
