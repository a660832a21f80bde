# The operator's image: operator, runner, and the agent bundle that the sidecar's init container copies.
#
#   docker build -t neo4j-backup-operator .
#
# The bases are arguments because registries differ. Both must carry the same Python 3.11+ at the same path, since the
# virtual environment made in the first is used in the second; any Debian-based image with python3 and venv does.
ARG BUILD_IMAGE=docker.io/library/python:3.13-slim-bookworm
ARG RUNTIME_IMAGE=docker.io/library/python:3.13-slim-bookworm

FROM ${BUILD_IMAGE} AS build
ENV UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY hack/requirements/uv.txt hack/requirements/uv.txt
RUN python3 -m venv /opt/uv && /opt/uv/bin/python -m pip install -q --require-hashes --no-deps -r hack/requirements/uv.txt
# Dependencies in a layer of their own: the project changes daily, the lock file does not.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN UV_PROJECT_ENVIRONMENT=/opt/venv /opt/uv/bin/uv sync -q --locked --no-dev --no-install-project --python "$(command -v python3)"
COPY controller controller
COPY hack/agent_bundle.py hack/agent_bundle.py
RUN UV_PROJECT_ENVIRONMENT=/opt/venv /opt/uv/bin/uv sync -q --locked --no-dev --no-editable --python "$(command -v python3)" \
 && /opt/venv/bin/python hack/agent_bundle.py /opt/agent-bundle \
 && find /opt/venv -name '*.dist-info' -prune -o -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +

FROM ${RUNTIME_IMAGE}
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/agent-bundle /opt/agent-bundle
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Neo4j's own uid: what the runner leaves on a PVC is then readable by neo4j-admin when someone restores by hand.
USER 7474:7474
WORKDIR /tmp
ENTRYPOINT ["/opt/venv/bin/python", "-m", "controller"]
CMD ["operator"]
