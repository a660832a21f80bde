# Object storage for end-to-end tests: moto for S3, from the same lock file as everything else, and a small GCS.
ARG BUILD_IMAGE=docker.io/library/python:3.13-slim-bookworm
FROM ${BUILD_IMAGE}
ENV UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy
WORKDIR /src
COPY hack/requirements/uv.txt hack/requirements/uv.txt
RUN python3 -m venv /opt/uv && /opt/uv/bin/python -m pip install -q --require-hashes --no-deps -r hack/requirements/uv.txt
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN UV_PROJECT_ENVIRONMENT=/opt/venv /opt/uv/bin/uv sync -q --locked --only-group s3-server --python "$(command -v python3)"
COPY hack/images/s3ctl hack/images/gcs_server.py /usr/local/bin/
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
USER 7474:7474
WORKDIR /tmp
ENV HOME=/tmp PYTHONUNBUFFERED=1
ENTRYPOINT ["s3ctl"]
CMD ["serve"]
