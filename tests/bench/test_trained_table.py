"""How many short sentences a trained table embeds: python -m pytest tests/bench -n0 -s."""

import statistics
import subprocess
import sys
import time

import pytest

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.base import embed_all
from alignkit.pairs.demo import load_demo
from alignkit.resources.demo_pack import TABLE


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What `distill` leaves of the demo's table after an epoch."""
    folder = tmp_path_factory.mktemp("trained")
    words = ["student=table", f"student.path={TABLE}", "trainer.max_epochs=1", "confidence=false", "html=false",
             "check_on=null", f"hydra.run.dir={folder / 'run'}"]  # fmt: skip
    subprocess.run([sys.executable, "-m", "alignkit.distill", *words], cwd=folder, check=True, capture_output=True)
    return folder / "run"


def test_a_trained_table_embeds_fifty_thousand_sentences_a_second(run):
    pack = load_demo("table")
    texts = [f"{text} {number}" for number in range(10) for part in pack.parts for text in part.texts]
    embedder = AlignedEmbedder.load(run)
    rates = {}
    for name, work in (
        ("the table", lambda: embed_all(embedder.student, texts, "query")),
        ("with its linear head", lambda: embedder.encode(texts)),
    ):
        figures = []
        for _ in range(3):
            start = time.process_time()
            work()
            figures.append(len(texts) / (time.process_time() - start))
        rates[name] = statistics.median(figures)
    print("; ".join(f"{name}: {rate:,.0f} sentences/s of CPU" for name, rate in rates.items()))
    assert min(rates.values()) >= 50_000
