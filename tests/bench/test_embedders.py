"""Speed of the embedders, as ratios or as processor time of this process, so that a busy machine matters less."""

import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from alignkit.cache import VectorCache
from alignkit.embedders.base import embed_all
from alignkit.embedders.minilm import MinilmEmbedder, packaged_folder
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.embedders.static import StaticEmbedder

URL = os.environ.get("ALIGNKIT_TEST_SERVER", "http://127.0.0.1:18080/v1")
MODEL = "all-minilm-l6-v2"
WORDS = (
    "please reset my password book a table for two tomorrow at seven how much is left on card order late refund "
    "open account what is the weather like in paris next week can you call bank about the loan i need help with visa"
).split()


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 14, count)
    words = iter(rng.choice(WORDS, int(lengths.sum())).tolist())
    # the number makes each text one of its kind
    return [" ".join(itertools.islice(words, int(length))) + f" {number}" for number, length in enumerate(lengths)]


def seconds(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def processor_seconds(work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.fixture(scope="module")
def instant_server():
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("instant_server.py"))], stdout=subprocess.PIPE, text=True
    )
    with process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


@pytest.mark.parametrize(("form", "most_ms"), [("json", 0.25), ("base64", 0.12)], ids=["json", "base64"])
def test_client_and_cache_cost_little_a_text(instant_server, tmp_path, form, most_ms, record_property):
    texts = sentences(3200)
    figures = []
    for attempt in range(4):
        if form == "json":
            embedder = OllamaEmbedder("tiny", instant_server, batch_size=32, concurrency=4)
        else:
            embedder = OpenAIEmbedder("tiny", f"{instant_server}/v1", batch_size=32, concurrency=4)
        with VectorCache(tmp_path / str(attempt)) as cache:
            figures.append(processor_seconds(lambda: cache.fill(embedder, texts)) / len(texts) * 1e3)  # noqa: B023
        client = processor_seconds(lambda: [None for _ in embedder.embed(texts)]) / len(texts) * 1e3  # noqa: B023
        embedder.close()
    print(f"{form}: {statistics.median(figures[1:]):.3f} ms a text with the cache, {client:.3f} without")
    record_property("ms", statistics.median(figures[1:]))
    assert statistics.median(figures[1:]) <= most_ms


def test_static_with_the_cache(tmp_path):
    texts = sentences(60_000)
    embedder = StaticEmbedder()
    embed_all(embedder, texts[:100])
    alone = statistics.median(len(texts) / processor_seconds(lambda: list(embedder.embed(texts))) for _ in range(3))
    rates = []
    for attempt in range(3):
        with VectorCache(tmp_path / str(attempt)) as cache:
            rates.append(len(texts) / processor_seconds(lambda: cache.fill(embedder, texts)))  # noqa: B023
    print(f"static: {statistics.median(rates):,.0f} sentences/s with the cache, {alone:,.0f} without")
    assert statistics.median(rates) >= 50_000


def test_minilm_against_its_own_encode(tmp_path, record_property):
    from sentence_transformers import SentenceTransformer

    texts = sentences(1500)
    own = SentenceTransformer(str(packaged_folder()), device="cpu", local_files_only=True)
    embedder = MinilmEmbedder(device="cpu")
    embed_all(embedder, texts[:64])
    own.encode(texts[:64])
    ratios = []
    for attempt in range(3):
        theirs = seconds(lambda: own.encode(texts, batch_size=32, show_progress_bar=False))
        with VectorCache(tmp_path / str(attempt)) as cache:
            ratios.append(theirs / seconds(lambda: cache.fill(embedder, texts)))  # noqa: B023
    record_property("ratio", statistics.median(ratios))
    print(f"minilm behind the cache: {statistics.median(ratios):.3f} of sentence-transformers' own rate ({ratios})")
    assert statistics.median(ratios) >= 0.95


@pytest.mark.skipif(sys.platform == "win32", reason="os.times tells nothing of children there")
def test_busy_neighbours_do_not_multiply_what_minilm_takes(tmp_path, record_property):
    """Threads that spin while a neighbour delays the others took five times the processor time of one thread."""
    (tmp_path / "texts.txt").write_text("\n".join(sentences(600)), encoding="utf-8")
    cores = os.cpu_count() or 1

    def command_s(threads: int, cache_dir: Path) -> float:
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "alignkit.embed", "which=student", "student=minilm", "sentences=texts.txt",
             f"cache_dir={cache_dir}"],
            cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, check=True, capture_output=True,
        )  # fmt: skip
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        seconds = {threads: command_s(threads, tmp_path / str(threads)) for threads in (1, cores)}
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    ratio = seconds[cores] / seconds[1]
    record_property("ratio", ratio)
    print(f"minilm beside {cores} busy neighbours: {ratio:.2f} of one thread's processor time ({seconds})")
    assert ratio <= 1.3


@pytest.mark.server
def test_a_real_server_is_kept_as_busy_as_by_a_bare_loop():
    try:
        httpx.get(f"{URL}/models", timeout=2, trust_env=False).raise_for_status()
    except httpx.HTTPError:
        pytest.skip(f"no embedding server answers at {URL}")
    texts = sentences(512)
    batches = [texts[start : start + 32] for start in range(0, len(texts), 32)]

    async def bare() -> None:
        waiting = iter(batches)
        async with httpx.AsyncClient(base_url=URL, timeout=120, trust_env=False) as client:

            async def work() -> None:
                for batch in waiting:
                    body = {"model": MODEL, "input": batch, "encoding_format": "float"}
                    (await client.post("embeddings", json=body)).raise_for_status()

            await asyncio.gather(*(work() for _ in range(4)))

    embedder = OpenAIEmbedder(MODEL, URL, batch_size=32, concurrency=4)
    embed_all(embedder, texts[:64])
    ratios = []
    for turn in range(3):
        # turn about, so that neither side gains by a load that grows or falls
        if turn % 2:
            loop_s, ours_s = seconds(lambda: asyncio.run(bare())), seconds(lambda: embed_all(embedder, texts))
        else:
            ours_s, loop_s = seconds(lambda: embed_all(embedder, texts)), seconds(lambda: asyncio.run(bare()))
        ratios.append(loop_s / ours_s)
    embedder.close()
    print(f"real server: {statistics.median(ratios):.3f} of the bare loop's rate ({ratios})")
    assert statistics.median(ratios) >= 0.95
