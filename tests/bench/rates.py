"""What each command does in a second on one core: python tests/bench/rates.py [RATES.json]

Measures with one thread, in seconds of processor time, so that a busy machine tells the same; then writes the rates and
prints the tables of SCALING.md, which are computed from the rates alone. With a file of rates that is there already
nothing is measured. Needs the extra `local`, 3 GB of disk and about three minutes of a core.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from alignkit.artifact import Artifact
from alignkit.cache import VectorCache
from alignkit.cache.index_file import FILE_NAME
from alignkit.checking.index_reading import batches_of_file, read_whole
from alignkit.embedders.base import EmbeddedBatch, embed_all
from alignkit.embedders.minilm import MinilmEmbedder
from alignkit.embedders.static import StaticEmbedder
from alignkit.embedders.two_layer import TwoLayerEmbedder
from alignkit.heads.base import Head
from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead
from alignkit.migration.moving import migrate
from alignkit.neighbours import top_k
from alignkit.pairs.base import Pairs
from alignkit.pairs.vectors import load_vectors
from alignkit.pairs.views import RowIds
from alignkit.sentences.grammar import generate
from alignkit.sentences.seeds import read_seeds
from alignkit.training.solver_batches import SolverBatches

MEASURED = Path(__file__).with_name("rates_measured.json")
STUDENT_DIM, TEACHER_DIM = 1_024, 3_584
ROWS, KEYS, TEXTS = 16_384, 100_000, 512
SEARCHED, QUERIES = 4_096, 1_024
DISK_BYTES = 512 * 1024 * 1024


class Given:
    """Vectors that are there already: what is left is the cache's own time."""

    dim = STUDENT_DIM

    def __init__(self) -> None:
        self._vectors = np.random.default_rng(0).standard_normal((2_048, self.dim), dtype=np.float32)

    def settings(self, role: str = "document") -> dict[str, Any]:
        return {"model": "given"}

    identity = settings

    def provenance(self) -> dict[str, Any]:
        return {}

    def embed(self, texts: list[str], role: str = "document") -> Any:
        for start in range(0, len(texts), len(self._vectors)):
            stop = min(start + len(self._vectors), len(texts))
            yield EmbeddedBatch(np.arange(start, stop), self._vectors[: stop - start])

    def close(self) -> None:
        pass


def rate(count: float, work: Callable[[], Any], rounds: int = 3) -> float:
    """So many in a second of this core, the best of some rounds: what else the machine does only slows."""
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return count / min(seconds)


def measured(folder: Path) -> dict[str, float]:
    """Rates by name: rows, texts or keys a second and core; bytes a second of the disk."""
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    generator = np.random.default_rng(0)
    paths = {}
    for side, width in (("student", STUDENT_DIM), ("teacher", TEACHER_DIM)):
        paths[side] = folder / f"{side}.npy"
        np.save(paths[side], generator.standard_normal((ROWS, width), dtype=np.float32).astype(np.float16))
    student, teacher = (np.load(path, mmap_mode="r") for path in paths.values())

    found |= _of_disk(folder)
    vectors = {"student": str(paths["student"]), "teacher": str(paths["teacher"])}
    found["pairs opened"] = rate(ROWS, lambda: load_vectors(**vectors))
    pairs = Pairs(RowIds(np.arange(ROWS)), student, teacher)
    head = LinearHead(STUDENT_DIM, TEACHER_DIM)
    found["ridge, a pass"] = rate(
        ROWS, lambda: head.solve(SolverBatches(pairs, device=torch.device("cpu")), chosen={"ridge_lambda": 1e-3}), 1
    )
    for name, one in (("linear", head), ("mlp", MlpHead(STUDENT_DIM, TEACHER_DIM))):
        found[f"migrate, {name}"] = rate(ROWS, lambda one=one: _moved(folder, paths["student"], one), 2)
    found["search, row and query"] = _searched(folder, generator)
    found["check index"] = rate(ROWS, lambda: read_whole(batches_of_file(teacher, None), ROWS), 2)

    texts = [f"please book a table for {number} people tonight" for number in range(KEYS)]
    with VectorCache(folder / "cache") as cache:
        found["cache, filled"] = rate(KEYS, lambda: cache.fill(Given(), texts), 1)
        found["cache, looked up"] = rate(KEYS, lambda: cache.missing({"model": "given"}, texts))
        found["cache, read"] = rate(KEYS / 4, lambda: cache.gather({"model": "given"}, texts[::4]))
        with VectorCache(folder / "larger") as other:
            found["cache, merged"] = rate(KEYS, lambda: other.merge(folder / "cache"), 1)
    found["bytes of index a key"] = (folder / "cache" / FILE_NAME).stat().st_size / KEYS

    samples = 2_000
    found["build, a sample"] = rate(samples, lambda: list(generate([read_seeds("en")], samples, 0)), 1)
    found["embed, static"] = rate(20 * TEXTS, lambda: embed_all(StaticEmbedder(), texts[: 20 * TEXTS]))
    found |= _of_transformers(texts[:TEXTS])
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def _of_transformers(texts: list[str]) -> dict[str, float]:
    found = {}
    for name, make in (("two_layer", TwoLayerEmbedder), ("minilm", MinilmEmbedder)):
        with contextlib.closing(make(device="cpu")) as embedder:
            embed_all(embedder, texts[:8])
            found[f"embed, {name}"] = rate(len(texts), lambda embedder=embedder: embed_all(embedder, texts), 1)
    return found


def _searched(folder: Path, generator: np.random.Generator) -> float:
    """By what more rows cost: settling the order of the first hits costs the same however many rows there are."""
    rows, count = SEARCHED, QUERIES
    more = np.lib.format.open_memmap(folder / "more.npy", "w+", np.float16, (2 * rows, TEACHER_DIM))
    for start in range(0, len(more), rows):
        more[start : start + rows] = generator.standard_normal((rows, TEACHER_DIM), dtype=np.float32)
    queries = generator.standard_normal((count, TEACHER_DIM), dtype=np.float32)
    few, many = (rate(1, lambda end=end: top_k(queries, more[:end], 100), 2) for end in (rows, 2 * rows))
    return rows * count / (1 / many - 1 / few)


def _moved(folder: Path, vectors: Path, head: Head) -> None:
    out = folder / "moved.npy"
    out.unlink(missing_ok=True)
    migrate(vectors, Artifact({"query_head": head.eval().requires_grad_(False)}), out, dtype="float16")


def _of_disk(folder: Path) -> dict[str, float]:
    """Bytes a second, written until they lie on the disk and read from it."""
    path, block = folder / "disk", np.random.default_rng(0).bytes(8 * 1024 * 1024)
    started = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(DISK_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        written = time.perf_counter() - started
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    started = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.read(len(block)):
            pass
    read = time.perf_counter() - started
    path.unlink()
    return {"disk, written": DISK_BYTES / written, "disk, read": DISK_BYTES / read}


def about() -> dict[str, str]:
    """Which machine this was."""
    chip = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        chip = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), chip)
    return {
        "chip": chip,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def main(path: Path = MEASURED) -> None:
    """Measure where there is no such file, and print the tables."""
    import scaling

    if not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            rates: Mapping[str, Any] = {"about": about(), "rates": measured(Path(folder))}
        path.write_text(json.dumps(rates, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(scaling.tables(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
