"""What a look costs beside the search itself. Run: python -m pytest tests/bench/test_watching.py -n0 -s"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alignkit.pairs.demo import load_demo
from alignkit.vectors import top_k
from alignkit.watching.e_process import course_of, normal_scores
from alignkit.watching.searched import NEAREST, SearchedVectors, figures_of

QUERIES, CORPUS, DIM = 200, 100_000, 384
LOOKS = 1_000
MOST_MB = 1_000


def unit(rows, seed):
    vectors = np.random.default_rng(seed).standard_normal((rows, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def seconds(call, rounds=3):
    times = []
    for _ in range(rounds):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return statistics.median(times)


def test_a_look_costs_what_its_searches_cost():
    corpus, teacher, aligned = unit(CORPUS, 0), unit(QUERIES, 1), unit(QUERIES, 2)
    searched = SearchedVectors("here", corpus, DIM)
    both = np.concatenate([teacher, aligned])
    bare = seconds(lambda: top_k(both, corpus, NEAREST + 1))
    ours = seconds(lambda: figures_of(searched, aligned, teacher))
    print(f"\n{2 * QUERIES} searches in {CORPUS:,} x {DIM}: {ours:.2f} s of CPU, {ours / bare:.2f} of the bare search")
    assert ours <= 1.3 * bare


def test_the_thousandth_look_is_judged_in_less_time_than_it_is_searched():
    generator = np.random.default_rng(0)
    before, new = generator.random(LOOKS * QUERIES), generator.random(QUERIES)
    looks = list(generator.standard_normal((LOOKS, QUERIES)))
    judged = seconds(lambda: (normal_scores(new, before, [0]), course_of(looks)))
    corpus, both = unit(CORPUS, 0), unit(2 * QUERIES, 1)
    search = seconds(lambda: top_k(both, corpus, NEAREST + 1))
    print(f"\nranks and evidence of look {LOOKS:,}: {judged:.3f} s, a look's searches {search:.2f} s")
    assert judged <= search


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the peak of a process")
def test_a_look_with_a_teacher_in_process_takes_less_than_a_gigabyte(tmp_path):
    """The student and the teacher are transformers, and 100,000 vectors lie in a file."""
    pytest.importorskip("sentence_transformers")
    np.save(tmp_path / "index.npy", unit(CORPUS, 0))
    texts = [json.dumps({"text": text}) for text in load_demo("two_layer").test.texts]
    (tmp_path / "live.jsonl").write_text("\n".join(texts), encoding="utf-8")

    def run(command, *words):
        # what a parent has held counts as the peak of its child until that begins anew, so the child tells its own
        code = (
            f"import alignkit.{command} as command\ntry:\n    command.main()\nfinally:\n"
            "    print([one.split()[1] for one in open('/proc/self/status') if one.startswith('VmHWM')][0])"
        )
        asked = [sys.executable, "-c", code, *words]
        return subprocess.run(asked, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True).stdout

    run("train", "student=two_layer", "trainer.max_epochs=0", "hydra.run.dir=run", "html=false")
    printed = run("watch", "head=run", "queries=live.jsonl", "corpus=index.npy", f"budget={QUERIES}")
    peak_mb = int(printed.split()[-1]) * 1024 / 1e6
    print(f"\nwatch with {QUERIES} calls of minilm, {CORPUS:,} x {DIM}: at most {peak_mb:.0f} MB")
    assert peak_mb < MOST_MB
