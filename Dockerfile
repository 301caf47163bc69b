# The server in an image:
#
#     docker build --tag graphql-app .
#     docker run --publish 127.0.0.1:3000:3000 --env GRAPHQL_APP_JWT_SECRET graphql-app
#
# It asks everybody for a token; GRAPHQL_APP_OPEN=true in the place of the secret lets anybody in.
# docs/how-to/deploy-behind-a-proxy.md says more.

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
      "graphql-app[sql,redis,llm] @ file://$(echo /built/*.whl)" \
 && /venv/bin/pip uninstall --quiet --yes pip setuptools

FROM python:3.11-slim
COPY --from=package /venv /venv
# /data is for SQLite; /app is where --completion looks for code of your own.
RUN useradd --system --no-create-home --shell /usr/sbin/nologin chat \
 && install --directory --owner chat --group chat /data
WORKDIR /app
USER chat
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GRAPHQL_APP_HOST=0.0.0.0
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/healthz', timeout=4)"]
ENTRYPOINT ["graphql-app"]
CMD ["serve"]
