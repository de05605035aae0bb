# An endpoint for one head: docker build -t alignkit . && docker run -p 127.0.0.1:8088:8088 -e ALIGNKIT_TOKEN=... \
#   -v "$PWD/outputs/my_run:/head:ro" alignkit
# Any other command: docker run --rm -v "$PWD:/work" alignkit train data=vectors data.student=… data.teacher=…

FROM python:3.13-slim AS build
WORKDIR /source
RUN python -m venv /opt/alignkit
ENV PATH=/opt/alignkit/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# torch without CUDA, a tenth of the size; its own layer, for it changes least
RUN pip install "torch>=2.9,<2.14" --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE ./
COPY conf conf
COPY alignkit alignkit
COPY hydra_plugins hydra_plugins
# the student's libraries and the server's; other students and engines: --build-arg EXTRAS=local,serve,pgvector
ARG EXTRAS=local,serve
RUN pip install ".[${EXTRAS}]"

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home alignkit
COPY --from=build /opt/alignkit /opt/alignkit
ENV PATH=/opt/alignkit/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /work
RUN chown alignkit /work
USER alignkit
EXPOSE 8088
# answers without the token; /ready, with it, also says whether the student answers
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8088/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["alignkit"]
CMD ["serve", "head=/head", "host=0.0.0.0", "port=8088", "token_env=ALIGNKIT_TOKEN"]
