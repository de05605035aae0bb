"""A process that fills a cache; run by tests that kill it, starve it of disk, or start it twice.

python embed_worker.py FOLDER TEXTS SENT_LOG [dim=16] [digest=d1] [wait_s=0.001] [file_bytes=0] [most=N] [go=FILE]
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from hash_embedder import HashEmbedder

from alignkit.cache import VectorCache
from alignkit.errors import AlignkitError

BATCH_SIZE = 8


def texts_of(count: int) -> list[str]:
    return [f"sentence number {number}" for number in range(count)]


class LoggingEmbedder(HashEmbedder):
    """Writes down each text before it is embedded, as a server would see it.

    Args:
        path: of the log.
        wait_s: for each batch.
        most: texts, after which it hangs until it is killed.
        go: a file that must be there first.
    """

    def __init__(self, path, wait_s, most, go, **settings):
        super().__init__(batch_size=BATCH_SIZE, **settings)
        self._log = open(path, "ab", buffering=0)
        self._wait_s = wait_s
        self._most = most
        self._go = go

    def embed(self, texts, role="document"):
        while self._go and not Path(self._go).exists():
            time.sleep(0.01)
        for start in range(0, len(texts), BATCH_SIZE):
            while start >= self._most:
                time.sleep(1)
            part = texts[start : start + BATCH_SIZE]
            self._log.write("".join(f"{text}\n" for text in part).encode("utf-8"))
            time.sleep(self._wait_s)
            for batch in super().embed(part, role):
                yield type(batch)(start + batch.indices, batch.vectors, batch.failures)


def main() -> int:
    folder, count, log = sys.argv[1:4]
    given = dict(argument.split("=") for argument in sys.argv[4:])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    if file_bytes := int(given.get("file_bytes", 0)):
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    embedder = LoggingEmbedder(
        log,
        float(given.get("wait_s", 0.001)),
        float(given.get("most", "inf")),
        given.get("go"),
        dim=int(given.get("dim", 16)),
        digest=given.get("digest", "d1"),
    )
    print("ready", flush=True)
    try:
        with VectorCache(folder) as cache:
            report = cache.fill(embedder, texts_of(int(count)))
    except AlignkitError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return 1
    print(f"new {report.new}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
