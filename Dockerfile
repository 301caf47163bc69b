# The server in an image:
#
#     docker build --tag graphql-app .
#     docker run --read-only --tmpfs /tmp --publish 127.0.0.1:3000:3000 --env GRAPHQL_APP_OPEN=true graphql-app
#
# docs/how-to/docker.md says more.

FROM node:20-slim AS pages
WORKDIR /source/client
COPY client/package.json client/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY client ./
RUN npm run build

FROM python:3.11-slim AS package
WORKDIR /source
COPY requirements.txt ./
# All that is locked, the tools that build the package among it, each file checked by its hash.
RUN pip download --quiet --require-hashes --dest /locked -r requirements.txt \
 && pip install --quiet --no-index --find-links /locked build hatchling
COPY pyproject.toml README.md LICENSE ./
COPY graphql_app graphql_app
COPY --from=pages /source/graphql_app/static graphql_app/static
# What is installed for the final image comes from the locked files, and is only what it needs.
RUN python -m build --quiet --wheel --no-isolation --outdir /built \
 && python -m venv /venv \
 && /venv/bin/pip install --quiet --no-index --find-links /locked \
      "graphql-app[sql,redis,llm,otel] @ file://$(echo /built/*.whl)" \
 && /venv/bin/pip uninstall --quiet --yes pip setuptools

FROM python:3.11-slim
LABEL org.opencontainers.image.title="graphql-app" \
      org.opencontainers.image.description="A chat backend whose answers survive" \
      org.opencontainers.image.licenses="MIT"
COPY --from=package /venv /venv
# /data is for SQLite; /app is where --completion looks for code of your own. Nothing else than /data and
# /tmp is ever written.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin chat \
 && install --directory --owner chat --group chat --mode 700 /data
WORKDIR /app
# A number, so that Kubernetes' runAsNonRoot can see that it is not root.
USER 10001
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GRAPHQL_APP_HOST=0.0.0.0
VOLUME /data
EXPOSE 3000
# Not by way of a proxy that a variable may name for the model.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:3000/healthz', timeout=4)"]
ENTRYPOINT ["graphql-app"]
CMD ["serve"]
