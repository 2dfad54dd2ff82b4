# The code location: a gRPC server for the webserver, the daemon and the runs. Runs and steps use the same image, and so
# can the webserver and the daemon (`dagster-webserver`, `dagster-daemon run`).
# Any Linux with Python 3.11 or newer, pip and useradd is a base.
ARG BASE=python:3.11-slim
FROM ${BASE}

WORKDIR /opt/gorgias_assets
COPY constraints.txt pyproject.toml README.md ./
COPY gorgias_assets gorgias_assets
ARG PACKAGES=""
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[bigquery,deployment,overview]' $PACKAGES

# DuckDB's file or Dagster's storage, if kept here, needs a volume. Neither can be shared by several nodes.
RUN useradd --uid 10001 --user-group --create-home dagster && install -d -o dagster -g dagster /data /opt/dagster/dagster_home
COPY --chown=dagster:dagster deploy/dagster.yaml /opt/dagster/dagster_home/
ENV DAGSTER_HOME=/opt/dagster/dagster_home PYTHONUNBUFFERED=1
USER 10001
WORKDIR /data

EXPOSE 4000
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s CMD ["dagster", "api", "grpc-health-check", "-p", "4000"]
CMD ["dagster", "api", "grpc", "-h", "0.0.0.0", "-p", "4000", "-m", "gorgias_assets.definitions"]
