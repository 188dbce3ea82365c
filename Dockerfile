# A server with the decks and answers that come with the project:
#   docker build -t tsukurioki . && docker run --rm --read-only --tmpfs /tmp -p 8000:8000 tsukurioki
# Another event, the ledger, Valkey, and what of this was tried where: docs/where-it-runs.md
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE wsgi.py ./
COPY app app
COPY precompute precompute
RUN python -m venv /opt/tsukurioki && /opt/tsukurioki/bin/pip install --no-cache-dir '.[tools,redis]'

FROM python:3.12-slim
ENV PATH=/opt/tsukurioki/bin:/usr/local/bin:/usr/bin:/bin
ENV TSUKURIOKI_DATA=/srv/tsukurioki/data
ENV TSUKURIOKI_LEDGER=/srv/tsukurioki/ledger
ENV TSUKURIOKI_HOST=0.0.0.0
WORKDIR /srv/tsukurioki
COPY --from=build /opt/tsukurioki /opt/tsukurioki
COPY data/decks data/decks
# The answers in the box. All of this belongs to root: the server may write the ledger alone.
RUN precompute build --provider written --n 1000 && mkdir ledger && chown 10001:10001 ledger
USER 10001:10001
VOLUME /srv/tsukurioki/ledger
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('TSUKURIOKI_PORT', '8000') + '/healthz', timeout=4)"]
CMD ["python", "-m", "app"]
